//! Probes and metrics.

use std::time::{Duration, Instant};

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

/// How long it counts that the database does well, and that it does not: whoever waits for it wants to know soon.
const READY_FOR: Duration = Duration::from_secs(1);
const UNREADY_FOR: Duration = Duration::from_millis(100);

/// A mailbox that is not in this configuration, and that no process has worked on for so long, was taken out of all of them: it
/// is no trouble any more. One that was given back is not waited for.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

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
    let missing = match readiness(&state).await {
        store::Readiness::Ready => None,
        store::Readiness::NoSchema => Some("the database has no schema yet"),
        store::Readiness::OlderSchema => {
            Some("the database has an older schema than this program needs")
        }
        store::Readiness::Busy => Some("the database is busy and does not answer in time"),
        store::Readiness::Unreachable => Some("the database cannot be reached"),
    };
    let (code, status) = match missing {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    (code, Json(Readiness { status, missing }))
}

/// How the database does, or did a moment ago: anybody may ask, as often as they like.
async fn readiness(state: &State) -> store::Readiness {
    let mut last = state.readiness.lock().await;
    if let Some((readiness, at)) = *last {
        let is_ready = readiness == store::Readiness::Ready;
        let kept_for = if is_ready { READY_FOR } else { UNREADY_FOR };
        if at.elapsed() < kept_for {
            return readiness;
        }
    }
    let readiness = state.store().readiness().await;
    *last = Some((readiness, Instant::now()));
    readiness
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
    let mut mailboxes = known_mailboxes(store).await;
    let since = (state.clock)() - FORGOTTEN_AFTER;
    mailboxes.retain(|mailbox| {
        let was_held = mailbox.lease_until.is_some_and(|until| until > since);
        was_held || state.mailboxes.contains(&mailbox.name)
    });
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
