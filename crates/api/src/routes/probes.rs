//! Probes and metrics.

use std::time::Duration;

use axum::{
    Json, extract,
    http::{HeaderName, StatusCode, header},
};
use serde::Serialize;
use store::{Mailbox, Store};
use utoipa::ToSchema;

use crate::{Error, State, error::Problem};

/// How long metrics wait for the database: less than a scrape may take, which is ten seconds by default.
const METRICS_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the service can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready` or `unavailable`.
    #[schema(example = "ready")]
    status: &'static str,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, example = json!(null))]
    missing: Option<&'static str>,
}

/// Whether the process lives
#[utoipa::path(
    get, path = "/healthz", tag = "Operation",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the service can do its work
#[utoipa::path(
    get, path = "/readyz", tag = "Operation",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "Not at the moment; `missing` says what for", body = Readiness)
    )
)]
pub(super) async fn readyz(
    extract::State(state): extract::State<State>,
) -> (StatusCode, Json<Readiness>) {
    let missing = match state.store().ready().await {
        Ok(true) => None,
        Ok(false) => Some("the database has an older schema than this program needs"),
        Err(error) => {
            tracing::debug!(%error, "not ready");
            Some("the database does not answer, or has no schema yet")
        }
    };
    let (code, status) = match missing {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    (code, Json(Readiness { status, missing }))
}

/// Metrics
///
/// Those of mailboxes and of the rollup are left out while the database is away.
#[utoipa::path(
    get, path = "/metrics", tag = "Operation",
    responses(
        (status = 200, description = "The text format of Prometheus", body = String, content_type = "text/plain"),
        Problem
    )
)]
pub(super) async fn metrics(
    extract::State(state): extract::State<State>,
) -> Result<([(HeaderName, &'static str); 1], String), Error> {
    let in_progress = state.config.uploads_max - state.uploads.available_permits();
    let content_type = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    let store = state.store();
    let mailboxes = known_mailboxes(store).await;
    // Asked only when the database has just answered in time.
    let backlog = tokio::time::timeout(METRICS_TIMEOUT, store.arrived_sum_count()).await;
    let backlog = backlog.ok().and_then(Result::ok);
    let text = state
        .metrics
        .text(in_progress, Some((store, backlog)), &mailboxes);
    Ok(([content_type], text))
}

/// The mailboxes, or none if the database does not tell in time: the other metrics must not wait for it.
async fn known_mailboxes(store: &Store) -> Vec<Mailbox> {
    match tokio::time::timeout(METRICS_TIMEOUT, store.mailboxes()).await {
        Ok(Ok(mailboxes)) => mailboxes,
        Ok(Err(error)) => {
            tracing::debug!(%error, "metrics without mailboxes");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!("metrics without mailboxes: the database does not answer in time");
            Vec::new()
        }
    }
}
