//! The OpenAPI document, and a page to read it on.

use std::sync::LazyLock;

use axum::{
    http::{HeaderName, header},
    response::Html,
};

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    super::openapi()
        .to_pretty_json()
        .expect("the document is strings and numbers")
});

/// This document
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "Operation",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value, content_type = "application/json"))
)]
pub(super) async fn document() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], &DOCUMENT)
}

/// This document, to be read
#[utoipa::path(
    get, path = "/docs", tag = "Operation",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> Html<&'static str> {
    Html(&DOCUMENT)
}

pub(super) async fn style() -> &'static str {
    ""
}
