//! What the OpenAPI document says of access: the same as [`NEEDS`](super::NEEDS).

use axum::http::Method;
use utoipa::openapi::{
    ContentBuilder, OpenApi, PathItem, Ref, ResponseBuilder,
    path::Operation,
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

use super::Need;

/// Adds to each operation what it needs, and how it is refused.
pub(crate) fn describe(document: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("ruad_<id>_<secret>")
        .description(Some("A token: see `ruad token create --help`"))
        .build();
    let session = ApiKey::Cookie(ApiKeyValue::with_description(
        "ruad_session",
        "The session of a browser, from `POST /api/v1/session` or `GET /api/v1/session/oidc`; over HTTPS the cookie is called `__Host-ruad_session`. Requests that change something need the header `X-CSRF-Token` as \
         well",
    ));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            describe_operation(operation, Need::of(&method, Some(path)));
        }
    }
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn describe_operation(operation: &mut Operation, need: Need) {
    let (need, refusals) = match need {
        Need::Nothing => return,
        Need::AnyToken => ("any token", "`csrf`"),
        Need::Read => (
            "a token with the scope `read`",
            "`forbidden`: the token has another scope",
        ),
        Need::ReadAll => (
            "a token with the scope `read` that is not restricted to some domains",
            "`forbidden`: the token has another scope, or is restricted to some domains",
        ),
        Need::Ingest => (
            "a token with the scope `ingest`",
            "`forbidden`: the token has another scope; `csrf`",
        ),
        Need::Admin => (
            "a token with the scope `admin`",
            "`forbidden`: the token has another scope; `csrf`",
        ),
        Need::AdminAll => (
            "a token with the scope `admin` that is not restricted to some domains",
            "`forbidden`: the token has another scope, or is restricted to some domains; `csrf`",
        ),
    };
    let description = operation.description.get_or_insert_default();
    if !description.is_empty() {
        description.push_str("\n\n");
    }
    description.push_str(&format!("Needs {need}, unless access is open."));
    operation.security = Some(
        ["token", "session"]
            .map(|scheme| SecurityRequirement::new(scheme, [] as [&str; 0]))
            .into(),
    );
    let refused = format!("{refusals}; or from a page of another origin (`forbidden_origin`)");
    for (status, description) in [
        (
            "401",
            "`unauthenticated`: there is no token, or it is unknown, expired or revoked",
        ),
        ("403", refused.as_str()),
        (
            "429",
            "`too_many_requests`: try again after `Retry-After` seconds",
        ),
    ] {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content)
            .build();
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_owned())
            .or_insert(response.into());
    }
}
