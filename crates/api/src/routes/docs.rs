//! The OpenAPI document, and a page to read it on.

mod html;

use std::sync::LazyLock;

use axum::{
    Json,
    http::{HeaderName, header},
    response::Html,
};
use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(super::openapi()).expect("the document has strings for keys")
});

static PAGE: LazyLock<String> = LazyLock::new(|| html::render(&DOCUMENT));

/// The page has no scripts and loads nothing but its own style.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'";

/// This document
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "openapi", tag = "Operation",
    responses((status = 200, description = "OpenAPI 3.1", body = Value, content_type = "application/json"))
)]
pub(super) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// This document, to be read
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = "Operation",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> ([(HeaderName, &'static str); 1], Html<&'static str>) {
    (
        [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)],
        Html(&PAGE),
    )
}

/// The style of the page.
pub(super) async fn style() -> ([(HeaderName, &'static str); 1], &'static str) {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("docs/style.css"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let page = PAGE.as_str();
        let links = page.split("href=\"#").skip(1);
        let targets: Vec<&str> = links.map(|link| link.split('"').next().unwrap()).collect();
        assert!(targets.len() > 50);
        for target in targets {
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }

    #[test]
    fn every_operation_has_its_place() {
        for path in DOCUMENT["paths"].as_object().unwrap().keys() {
            assert!(PAGE.contains(&format!("<code>{path}</code>")), "{path}");
        }
    }
}
