//! What browsers must not do to an API without tokens, and what they are told about every answer.

use std::net::{IpAddr, Ipv6Addr};

use axum::{
    extract::{self, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri, Version,
        header::{self, Entry},
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};

use crate::{Error, State, client::Client};

const ANSWER_HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    // Pages of other sites neither embed what is here nor hold a handle on its window.
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Where a proxy says that it is one, besides the headers that begin with `x-forwarded-`.
const PROXY_HEADERS: [HeaderName; 3] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-real-ip"),
];

/// Refuses what a web page of somebody else could make a browser ask for and, where no tokens are asked for, whoever comes
/// from another machine through a proxy on this one.
pub(crate) async fn refuse_foreign_pages(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    if state.loopback_only && !names_loopback(request.headers()) {
        return Err(Error::ForbiddenHost);
    }
    if state.loopback_only && came_through_proxy(&request) {
        return Err(Error::BehindProxy);
    }
    if !request.method().is_safe() && comes_from_elsewhere(request.headers()) {
        return Err(Error::ForbiddenOrigin);
    }
    Ok(next.run(request).await)
}

/// Completes the headers of an answer with the strictest that a handler did not set itself.
pub(crate) async fn add_answer_headers(mut response: Response) -> Response {
    for (name, value) in ANSWER_HEADERS {
        if let Entry::Vacant(entry) = response.headers_mut().entry(name) {
            entry.insert(HeaderValue::from_static(value));
        }
    }
    response
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    headers.get(header::HOST)?.to_str().ok()?.parse().ok()
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = host(headers) else {
        return false;
    };
    let host = host.host();
    let v6 = || {
        let v6 = host.strip_prefix('[')?.strip_suffix(']')?;
        v6.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    };
    let literal = host.parse::<IpAddr>().ok().or_else(v6);
    host.eq_ignore_ascii_case("localhost")
        || literal.is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether somebody on another machine may be behind a request that comes from this one. Proxies that send the Host they were
/// configured with pass [`names_loopback`].
fn came_through_proxy(request: &Request) -> bool {
    let headers = request.headers();
    let is_forwarded = |name: &HeaderName| name.as_str().starts_with("x-forwarded-");
    !Client::of_request(request.extensions()).address.is_loopback()
        || PROXY_HEADERS.iter().any(|name| headers.contains_key(name))
        || headers.keys().any(is_forwarded)
        // All that nginx before 1.29.7 shows of itself unless it is told to add headers. No browser speaks it.
        || request.version() < Version::HTTP_11
}

/// Whether a browser says that the request is the doing of a page that is not ours. Others send no `Origin`.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin: Option<Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
    let Some((origin, host)) = origin.as_ref().and_then(Uri::authority).zip(host(headers)) else {
        return true;
    };
    *origin != host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_loopback_is_loopback() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:8080",
            "127.0.0.2:8080",
            "[::1]:80",
            "[::1]",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(names_loopback(&headers(host, None)), "{host}");
        }
        for host in [
            "example.org",
            "localhost.example.org:8080",
            "[::2]",
            "127.0.0.1.nip.io",
            "192.168.1.1",
            "",
        ] {
            assert!(!names_loopback(&headers(host, None)), "{host}");
        }
        assert!(!names_loopback(&HeaderMap::new()));
    }

    fn request(address: &str, header: Option<&'static str>, version: Version) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        *request.version_mut() = version;
        request.extensions_mut().insert(Client {
            address: address.parse().unwrap(),
            is_https: false,
        });
        if let Some(name) = header {
            let value = HeaderValue::from_static("203.0.113.9");
            request.headers_mut().insert(name, value);
        }
        request
    }

    #[test]
    fn whoever_comes_through_a_proxy_shows() {
        for address in ["127.0.0.1", "127.0.0.2", "::1"] {
            let direct = request(address, Some("x-requested-with"), Version::HTTP_11);
            assert!(!came_through_proxy(&direct), "{address}");
        }
        for (address, header, version) in [
            ("203.0.113.9", None, Version::HTTP_11),
            ("127.0.0.1", None, Version::HTTP_10),
            ("127.0.0.1", Some("forwarded"), Version::HTTP_11),
            ("127.0.0.1", Some("via"), Version::HTTP_11),
            ("127.0.0.1", Some("x-real-ip"), Version::HTTP_11),
            ("127.0.0.1", Some("x-forwarded-for"), Version::HTTP_11),
            ("127.0.0.1", Some("x-forwarded-proto"), Version::HTTP_11),
            ("127.0.0.1", Some("x-forwarded-server"), Version::HTTP_11),
        ] {
            let proxied = request(address, header, version);
            assert!(
                came_through_proxy(&proxied),
                "{address} {header:?} {version:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_is_for_our_own_pages_unless_a_handler_says_otherwise() {
        let mut response = Response::default();
        let policy = HeaderValue::from_static("default-src 'self'");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        let answered = add_answer_headers(response).await;
        for (name, expected) in ANSWER_HEADERS {
            let value = &answered.headers()[&name];
            if name == header::CONTENT_SECURITY_POLICY {
                assert_eq!(value, policy);
            } else {
                assert_eq!(value, expected, "{name}");
            }
        }
    }

    #[test]
    fn only_our_own_pages_may_change_something() {
        for origin in [
            None,
            Some("http://localhost:8080"),
            Some("https://LOCALHOST:8080"),
        ] {
            assert!(
                !comes_from_elsewhere(&headers("localhost:8080", origin)),
                "{origin:?}"
            );
        }
        for origin in [
            "null",
            "http://localhost:9090",
            "http://example.org",
            "http://localhost",
            "file://",
            "",
        ] {
            assert!(
                comes_from_elsewhere(&headers("localhost:8080", Some(origin))),
                "{origin}"
            );
        }
    }
}
