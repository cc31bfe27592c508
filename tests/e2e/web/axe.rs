//! Accessibility, as far as a program can check it: axe-core finds nothing on any page, light or dark, wide or narrow.

use std::path::Path;

use serde_json::Value;

use super::{
    Filled, filled,
    flows::{show_trouble, show_uploads},
};
use crate::harness::{Browser, DESK, Look, OpenId, PHONE, Service};

/// `scripts/axe` fetches it.
fn axe() -> String {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../axe-core/axe.min.js");
    std::fs::read_to_string(&place)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/axe", place.display()))
}

const RUN: &str = "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })\
    .then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')}`))";

/// Opens everything that is folded and asks axe.
async fn violations(browser: &Browser, axe: &str) -> Value {
    browser
        .value("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        .await;
    browser
        .value(&format!("if (!window.axe) {{ {axe} }}; 0"))
        .await;
    browser.value(RUN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_violation() {
    let axe = axe();
    let filled: Filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    for width in [DESK, PHONE] {
        for (name, path) in filled.pages() {
            browser.look(Look { width, dark: false }).await;
            browser.open(&path).await;
            for dark in [false, true] {
                browser.look(Look { width, dark }).await;
                let found = violations(&browser, &axe).await;
                assert_eq!(found, serde_json::json!([]), "{name} {width} dark: {dark}");
            }
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_always_on_a_page_has_no_violation() {
    let axe = axe();
    let service = Service::start().await;
    let guarded = Service::guarded().await;
    for (width, dark) in [(DESK, false), (PHONE, true)] {
        let browser = Browser::start(service.address).await;
        browser.look(Look { width, dark }).await;
        browser.open("/tokens").await;
        browser.click("Make the token").await;
        browser.shows("Copy it now.").await;
        assert_eq!(violations(&browser, &axe).await, serde_json::json!([]));
        browser.click("Revoke").await;
        browser.until("document.querySelector('dialog')").await;
        assert_eq!(violations(&browser, &axe).await, serde_json::json!([]));
        browser.close().await;
        let browser = Browser::start(guarded.address).await;
        browser.look(Look { width, dark }).await;
        browser.open("/tokens").await;
        browser.shows("This page needs a token").await;
        assert_eq!(violations(&browser, &axe).await, serde_json::json!([]));
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_has_no_violation() {
    let axe = axe();
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    for (width, dark) in [(DESK, false), (DESK, true), (PHONE, false)] {
        browser.look(Look { width, dark }).await;
        for path in ["/", "/mailboxes", "/reports", "/deliveries", "/audit"] {
            browser.open(path).await;
            let found = violations(&browser, &axe).await;
            assert_eq!(found, serde_json::json!([]), "{path} dark: {dark}");
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_of_something_has_no_violation() {
    let axe = axe();
    let service = Service::start().await;
    for (width, dark) in [(DESK, false), (PHONE, true)] {
        let browser = Browser::start(service.address).await;
        browser.look(Look { width, dark }).await;
        show_uploads(&browser).await;
        let found = violations(&browser, &axe).await;
        assert_eq!(found, serde_json::json!([]), "uploads {width}");
        show_trouble(&browser).await;
        let found = violations(&browser, &axe).await;
        assert_eq!(found, serde_json::json!([]), "trouble {width}");
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_elsewhere_has_no_violation() {
    let axe = axe();
    let provider = OpenId::start().await;
    let service = provider.service(&[], serde_json::json!({})).await;
    let browser = Browser::start(service.address).await;
    for (width, dark) in [(DESK, false), (PHONE, true)] {
        browser.look(Look { width, dark }).await;
        for path in ["/", "/?sign_in=not_granted"] {
            browser.open(path).await;
            browser.shows("With a token").await;
            let found = violations(&browser, &axe).await;
            assert_eq!(found, serde_json::json!([]), "{path} {width}");
        }
    }
    browser.close().await;
}
