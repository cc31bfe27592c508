//! Uploads: reports in.

use std::io;

use axum::{
    Json,
    body::Body,
    extract::{self, FromRequest as _, Multipart, Request, multipart::MultipartError},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ingest::{Accepted, Delivery, Spool};
use serde::Serialize;
use serde_json::json;
use store::{Action, Change, Outcome, OutcomeRow};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use uuid::Uuid;

use super::outcome::Document;
use crate::{Error, State, access::Viewer, body, error::Problem};

/// Files of one request at most.
const FILES_MAX: usize = 1000;

/// Files of one request that are taken in at a time.
const FILES_AT_A_TIME: usize = 4;

/// What became of an upload.
#[derive(Serialize, ToSchema)]
pub(super) struct Upload {
    /// The delivery, by which the upload can be found again.
    delivery_id: Uuid,
    /// The deliveries of an upload of several files; left out for a single one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    delivery_ids: Vec<Uuid>,
    /// The outcome of each document in it.
    reports: Vec<Document>,
}

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only described: bytes are streamed")]
pub(super) struct Bytes(Vec<u8>);

/// A form; names of its fields do not matter.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only described: the files of a form are taken one by one"
)]
struct Form {
    #[schema(min_items = 1, max_items = 1000)]
    file: Vec<Bytes>,
}

/// Upload reports
///
/// The body is a report as XML, gzip or zip, or a whole mail message; what it is shows from its bytes alone, whatever its
/// `Content-Type`. The exception is `multipart/form-data`, each file of which is a delivery of its own.
///
/// The answer comes after the commit. Uploading the same again is harmless: it is found to be a duplicate.
/// Example: `curl --data-binary @report.xml.gz http://localhost:8080/api/v1/reports`
#[utoipa::path(
    post, path = "/api/v1/reports", operation_id = "upload_reports", tag = "Uploads",
    request_body(
        content((Bytes = "application/octet-stream"), (Form = "multipart/form-data")),
        description = "XML, gzip, zip, a mail message, or files in a form"
    ),
    responses(
        (status = 201, description = "A report was stored", body = Upload),
        (status = 200, description = "Nothing new: duplicates, or no aggregate reports", body = Upload),
        (status = 409, description = "Nothing stored: another report with the same identity was stored before", body = Upload),
        (status = 422, description = "Nothing stored, and something was rejected", body = Upload),
        (status = 408, description = "`timeout`: the body took too long", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`busy` or `unavailable`: try again after `Retry-After` seconds", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn upload(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    request: Request,
) -> Result<Response, Error> {
    let state = viewer.restrict(state);
    let (parts, mut body) = request.into_parts();
    let result = receive(&state, &parts, &mut body).await;
    let (permits, deliveries) = result.inspect_err(|error| {
        state.metrics.count_refusal(error.code());
        let awaits_continue = parts.headers.contains_key(header::EXPECT);
        if matches!(error, Error::Busy | Error::TooLarge { .. }) && !awaits_continue {
            state.tasks.spawn(body::discard(std::mem::take(&mut body)));
        }
    })?;
    finish(state.clone(), accept_all(state, permits, deliveries)).await
}

/// Takes a delivery in again, lets go of its bytes if nothing needs them any more, and answers as an upload.
pub(super) async fn retry(
    state: &State,
    viewer: Viewer,
    permits: Permits,
    delivery: Delivery,
) -> Result<Response, Error> {
    let state = viewer.restrict(state.clone());
    finish(state.clone(), async move {
        let accepted = accept(&state, delivery).await?;
        let change = Change::new(Action::DeliveryRetried)
            .of(accepted.delivery_id)
            .with(json!({"outcome": accepted.outcome().as_str()}));
        state.store().record_change(&viewer.actor, &change).await?;
        if !accepted.documents.iter().any(needs_bytes) {
            state.store().discard(accepted.delivery_id).await?;
        }
        drop(permits);
        Ok(vec![accepted])
    })
    .await
}

/// Whether something of a document is not in the store. Skipped records are not, though their report be a duplicate now.
fn needs_bytes(document: &OutcomeRow) -> bool {
    match document.outcome {
        Outcome::Rejected | Outcome::Conflict => true,
        Outcome::Stored | Outcome::Duplicate => {
            document.skipped_count.is_some_and(|skipped| skipped > 0)
        }
        Outcome::NotAggregate => false,
    }
}

/// What bounds the work in progress, for as long as it is held.
pub(super) type Permits = Vec<OwnedSemaphorePermit>;

/// The permits to load a kept delivery, which may be large, and take it in again.
pub(super) async fn retry_permits(state: &State) -> Result<Permits, Error> {
    Ok(vec![permit(state)?, large_permit(state).await])
}

fn permit(state: &State) -> Result<OwnedSemaphorePermit, Error> {
    let permit = state.uploads.clone().try_acquire_owned();
    permit.map_err(|_| Error::Busy)
}

async fn large_permit(state: &State) -> OwnedSemaphorePermit {
    let large_uploads = state.large_uploads.clone();
    let permit = large_uploads.acquire_owned().await;
    permit.expect("the semaphore is never closed")
}

/// Reads the body and tells what deliveries it is.
async fn receive(
    state: &State,
    parts: &Parts,
    body: &mut Body,
) -> Result<(Permits, Vec<Delivery>), Error> {
    let mut permits = vec![permit(state)?];
    let body = body::read(body, &state.config).await?;
    if matches!(body, report::Body::File(_)) {
        permits.push(large_permit(state).await);
    }
    let deliveries = if is_multipart(&parts.headers) {
        split(state, parts, body).await?
    } else {
        vec![delivery(state, None, body)]
    };
    Ok((permits, deliveries))
}

fn is_multipart(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// The files of a form.
async fn split(state: &State, parts: &Parts, body: report::Body) -> Result<Vec<Delivery>, Error> {
    let bad = |error: MultipartError| {
        if error.status().is_server_error() {
            // Reading our own file failed, which is no fault of the form.
            Error::Spool(io::Error::other(error.body_text()))
        } else {
            Error::BadMultipart(error.body_text())
        }
    };
    let mut request = Request::new(body::replay(body));
    *request.headers_mut() = parts.headers.clone();
    *request.extensions_mut() = parts.extensions.clone();
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| Error::BadMultipart(error.body_text()))?;
    let mut deliveries = Vec::new();
    while let Some(mut field) = form.next_field().await.map_err(bad)? {
        let Some(name) = field.file_name().map(str::to_owned) else {
            continue;
        };
        if deliveries.len() == FILES_MAX {
            let detail = format!("a form has at most {FILES_MAX} files");
            return Err(Error::BadMultipart(detail));
        }
        let mut spool = Spool::default();
        while let Some(piece) = field.chunk().await.map_err(bad)? {
            spool.write(&piece).await?;
        }
        deliveries.push(delivery(state, Some(name), spool.finish().await?));
    }
    if deliveries.is_empty() {
        return Err(Error::BadMultipart("the form has no file".into()));
    }
    Ok(deliveries)
}

fn delivery(state: &State, name: Option<String>, body: report::Body) -> Delivery {
    Delivery {
        delivery_id: Uuid::now_v7(),
        origin: "http".into(),
        name,
        received_at: (state.clock)(),
        body,
        authenticity: None,
    }
}

async fn accept_all(
    state: State,
    permits: Permits,
    deliveries: Vec<Delivery>,
) -> Result<Vec<Accepted>, Error> {
    let accepted = stream::iter(deliveries)
        .map(|delivery| accept(&state, delivery))
        .buffered(FILES_AT_A_TIME)
        .try_collect()
        .await;
    drop(permits);
    accepted
}

/// Sees the work through, whether or not the client waits for the answer; only a stop that has waited long enough breaks it
/// off. What is not committed then is rolled back, and was not acknowledged.
async fn finish(
    state: State,
    work: impl Future<Output = Result<Vec<Accepted>, Error>> + Send + 'static,
) -> Result<Response, Error> {
    let work = state.abort.clone().run_until_cancelled_owned(work);
    let accepted = state.tasks.spawn(work).await?;
    let accepted = accepted.unwrap_or(Err(store::Error::Closed.into()));
    let accepted = accepted.inspect_err(|error| state.metrics.count_refusal(error.code()))?;
    Ok(answer(accepted))
}

async fn accept(state: &State, delivery: Delivery) -> Result<Accepted, Error> {
    let size_bytes = body::size_bytes(&delivery.body)?;
    let accepted = ingest::accept(&state.intake, delivery).await?;
    let outcome = accepted.outcome().as_str();
    state.metrics.count_upload(outcome);
    tracing::info!(delivery.id = %accepted.delivery_id, size_bytes, outcome, "an upload was taken in");
    Ok(accepted)
}

/// The answer to a request of one delivery or more.
fn answer(accepted: Vec<Accepted>) -> Response {
    let mut delivery_ids: Vec<Uuid> = accepted.iter().map(|one| one.delivery_id).collect();
    let delivery_id = delivery_ids[0];
    if delivery_ids.len() == 1 {
        delivery_ids.clear();
    }
    let documents: Vec<OutcomeRow> = accepted.into_iter().flat_map(|one| one.documents).collect();
    let status = status(documents.iter().map(|document| document.outcome));
    let upload = Upload {
        delivery_id,
        delivery_ids,
        reports: documents.into_iter().map(Document::from).collect(),
    };
    (status, Json(upload)).into_response()
}

/// The status of an upload with these outcomes. What was stored counts most: the client need not come back.
fn status(outcomes: impl Iterator<Item = Outcome>) -> StatusCode {
    let mut status = StatusCode::OK;
    for outcome in outcomes {
        status = match (outcome, status) {
            (Outcome::Stored, _) => return StatusCode::CREATED,
            (Outcome::Rejected, _) => StatusCode::UNPROCESSABLE_ENTITY,
            (Outcome::Conflict, StatusCode::OK) => StatusCode::CONFLICT,
            (Outcome::Conflict | Outcome::Duplicate | Outcome::NotAggregate, _) => status,
        };
    }
    status
}

#[cfg(test)]
mod tests {
    use store::Outcome::{Conflict, Duplicate, NotAggregate, Rejected, Stored};

    use super::*;

    #[test]
    fn bytes_are_kept_as_long_as_something_of_them_is_not_stored() {
        let document = |outcome, skipped_count| OutcomeRow {
            skipped_count,
            ..OutcomeRow::without_report(String::new(), outcome, "code", None)
        };
        for (outcome, skipped_count, expected) in [
            (Stored, Some(0), false),
            (Stored, Some(1), true),
            (Duplicate, Some(1), true),
            (Duplicate, Some(0), false),
            (NotAggregate, None, false),
            (Rejected, None, true),
            (Conflict, Some(0), true),
        ] {
            assert_eq!(
                needs_bytes(&document(outcome, skipped_count)),
                expected,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn the_status_tells_whether_anything_was_stored_or_lost() {
        for (outcomes, expected) in [
            (&[Rejected, Conflict, Stored][..], 201),
            (&[Duplicate, NotAggregate], 200),
            (&[], 200),
            (&[Duplicate, Conflict], 409),
            (&[Rejected, Conflict], 422),
            (&[Conflict, Rejected, Duplicate], 422),
        ] {
            assert_eq!(
                status(outcomes.iter().copied()).as_u16(),
                expected,
                "{outcomes:?}"
            );
        }
    }
}
