//! The table of contents: every route, in reading order.

mod deliveries;
mod docs;
mod domains;
mod mail;
mod mailboxes;
mod outcome;
mod policies;
mod policy;
mod probes;
mod records;
mod reporters;
mod reports;
mod source;
mod source_records;
mod sources;
mod uploads;
mod web;

use std::fmt::Write as _;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Error, State, error::Problem, guard, metrics};

/// What the document says of the API as a whole; the rest of it is collected from the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "ruad",
        description = "Takes DMARC aggregate reports in and answers who sends mail in the name of your domains.\n\n\
            Times are RFC 3339 in UTC, days are `YYYY-MM-DD` in UTC. Ranges `from` and `to` include both days; the default \
            is the last day with data for what is asked, and the 29 days before it; the answer states both. Lists have \
            `items` and `next`: give `next` back as `cursor`, with the other parameters as they were, for the items that \
            follow. Errors are problem documents (RFC 9457) with a stable `code`; after an answer 503, try again in as many \
            seconds as `Retry-After` says."
    ),
    components(schemas(Problem)),
    tags(
        (name = "Uploads", description = "Reports in"),
        (name = "Domains", description = "Who sends mail in the name of a domain"),
        (name = "Sources", description = "What an address sends"),
        (name = "Reports", description = "Reports and their records, as they came"),
        (name = "Deliveries", description = "What was handed over, what became of it, and what is kept of it"),
        (name = "Mailboxes", description = "Where mail is taken from, and how that goes"),
        (name = "Operation", description = "Probes, metrics and this document")
    )
)]
struct Document;

fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(uploads::upload))
        .routes(routes!(domains::list))
        .routes(routes!(domains::summary))
        .routes(routes!(sources::list))
        .routes(routes!(source_records::list))
        .routes(routes!(reporters::list))
        .routes(routes!(policies::list))
        .routes(routes!(source::get))
        .routes(routes!(reports::list))
        .routes(routes!(reports::get))
        .routes(routes!(records::list))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::get, deliveries::discard))
        .routes(routes!(deliveries::raw))
        .routes(routes!(deliveries::retry))
        .routes(routes!(mailboxes::list))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .route("/docs.css", get(docs::style))
}

/// The whole of the HTTP side.
pub fn router(state: State) -> Router {
    Router::from(routes())
        .merge(web::pages())
        .fallback(async || Error::UnknownRoute)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        // Uploads have their own limit, which holds while they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(
            state.clone(),
            guard::refuse_foreign_pages,
        ))
        .layer(middleware::map_response(guard::add_answer_headers))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            metrics::count_requests,
        ))
        .with_state(state)
}

/// The OpenAPI document, collected from the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        })
}
