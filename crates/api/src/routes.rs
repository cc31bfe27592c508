//! The table of contents: every route, in reading order.

mod audit;
mod deliveries;
mod docs;
mod domains;
mod mail;
mod mailboxes;
mod oidc;
mod outcome;
mod policies;
mod policy;
mod probes;
mod records;
mod reporters;
mod reports;
mod session;
mod source;
mod source_records;
mod sources;
mod tokens;
mod uploads;
mod web;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Error, State, access, client, error::Problem, export, guard, metrics};

/// What the document says of the API as a whole; the rest of it is collected from the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "ruad",
        description = "Takes DMARC aggregate reports in and answers who sends mail in the name of your domains.\n\n\
            Times are RFC 3339 in UTC, days are `YYYY-MM-DD` in UTC. Ranges `from` and `to` include both days; the default \
            is the last day with data for what is asked, and the 29 days before it; the answer states both. Lists have \
            `items` and `next`: give `next` back as `cursor`, with the other parameters as they were, for the items that \
            follow. Every list also comes as CSV and as NDJSON (`format`, or the header `Accept`): then it is the whole list \
            from the cursor on, unless `limit` is given. An export that breaks off ends without its last chunk, so that \
            clients see an error; docs/exports.md has the columns. Errors are problem documents (RFC 9457) with a stable `code`; after an answer 503, try again in as many \
            seconds as `Retry-After` says.\n\n\
            Unless access is open, each request needs a token as `Authorization: Bearer`, or the session of a browser. A token \
            may be restricted to policy domains: what is outside of them does not exist for it, and sums are without it."
    ),
    components(schemas(Problem)),
    tags(
        (name = "Uploads", description = "Reports in"),
        (name = "Domains", description = "Who sends mail in the name of a domain"),
        (name = "Sources", description = "What an address sends"),
        (name = "Reports", description = "Reports and their records, as they came"),
        (name = "Deliveries", description = "What was handed over, what became of it, and what is kept of it"),
        (name = "Mailboxes", description = "Where mail is taken from, and how that goes"),
        (name = "Access", description = "Who may do what, and who did"),
        (name = "Operation", description = "Probes, metrics and this document")
    )
)]
struct Document;

/// What each of them needs of whoever calls it stands in `access.rs`.
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
        .routes(routes!(session::get, session::sign_in, session::sign_out))
        .routes(routes!(oidc::begin))
        .routes(routes!(oidc::callback))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .route("/docs.css", get(docs::style))
}

/// The whole of the HTTP side.
pub(crate) fn router(state: State) -> Router {
    Router::from(routes())
        .merge(web::pages())
        .fallback(async || Error::UnknownRoute)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        // Innermost: a list is asked for each page as if the client had asked.
        .layer(middleware::from_fn_with_state(
            state.clone(),
            export::export,
        ))
        // Uploads have their own limit, which holds while they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(state.clone(), access::admit))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            guard::refuse_foreign_pages,
        ))
        .layer(middleware::map_response(guard::add_answer_headers))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            metrics::count_requests,
        ))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            client::identify,
        ))
        .with_state(state)
}

/// The OpenAPI document, collected from the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    access::describe(&mut document);
    export::describe(&mut document);
    document
}
