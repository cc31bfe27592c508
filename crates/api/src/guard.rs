//! What browsers must not do to an API without tokens, and what they are told about every answer.

use std::net::Ipv6Addr;

use axum::{
    extract::{self, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri,
        header::{self, Entry},
        uri::Authority,
    },
    middleware::Next,
    response::Response,
};

use crate::{Error, State};

const ANSWER_HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Refuses what a web page of somebody else could make a browser ask for.
pub(crate) async fn refuse_foreign_pages(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    if state.loopback_only && !names_loopback(request.headers()) {
        return Err(Error::ForbiddenHost);
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
        host.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
    };
    host.eq_ignore_ascii_case("localhost")
        || host == "127.0.0.1"
        || v6().is_some_and(|v6| v6.is_loopback())
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
            "[::1]:80",
            "[::1]",
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
