//! The page as HTTP sees it: what may run on it, what a browser may keep, and that it loads nothing from elsewhere.

use http_body_util::Full;
use hyper::{Method, Request};

use crate::harness::{Browser, Response, Service};

const PAGES: [&str; 11] = [
    "/",
    "/domains/example.com",
    "/sources/192.0.2.1",
    "/reports",
    "/reports/919ae60b-ded1-e3b0-f1b0-5d3c41b92593",
    "/deliveries",
    "/deliveries/919ae60b-ded1-e3b0-f1b0-5d3c41b92593",
    "/mailboxes",
    "/upload",
    "/tokens",
    "/audit",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_the_shell_under_a_strict_policy() {
    let service = Service::start().await;
    for path in PAGES {
        let page = service.request(Method::GET, path).await;

        assert_eq!(page.status, 200, "{path}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = page.header("content-security-policy").unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

async fn asked_again(service: &Service, path: &str, etag: &str) -> Response {
    let request = Request::get(path)
        .header("host", service.address.to_string())
        .header("if-none-match", etag)
        .body(Full::default())
        .unwrap();
    service.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sent_once() {
    let service = Service::start().await;
    let script = service.request(Method::GET, "/assets/app.js").await;
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let etag = script.header("etag").unwrap();

    let again = asked_again(&service, "/assets/app.js", etag).await;
    let other = asked_again(&service, "/assets/dom.js", etag).await;

    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(etag));
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_not_found() {
    let service = Service::start().await;
    for path in [
        "/assets/",
        "/assets/nothing.js",
        "/assets/..%2fsrc%2flib.rs",
        "/nothing",
    ] {
        let answer = service.request(Method::GET, path).await;
        assert_eq!(answer.problem(404), "unknown_route", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_a_page_loads_is_ours_and_small() {
    const BYTES_MAX: i64 = 300_000;
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;

    browser.open("/").await;

    let loaded = browser
        .value("performance.getEntriesByType('resource').map(({ name, decodedBodySize }) => [name, decodedBodySize])")
        .await;
    let loaded: Vec<(String, i64)> = serde_json::from_value(loaded).unwrap();
    assert!(loaded.len() > 10, "{loaded:?}");
    let origin = format!("http://{}/", service.address);
    for (name, _) in &loaded {
        assert!(name.starts_with(&origin), "{name}");
    }
    let bytes: i64 = loaded.iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < BYTES_MAX, "{bytes}: {loaded:?}");
    browser.close().await;
}
