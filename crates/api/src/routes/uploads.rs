//! Uploads: reports in.

use axum::{
    Json,
    body::Body,
    extract::{self, FromRequest as _, Multipart, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ingest::{Accepted, Delivery};
use serde::Serialize;
use store::{Outcome, OutcomeRow};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use uuid::Uuid;

use super::outcome::Document;
use crate::{Error, State, body, error::Problem};

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

/// Upload reports
///
/// The body is a report as XML, gzip or zip, or a whole mail message; what it is shows from its bytes alone, whatever its
/// `Content-Type`. The exception is `multipart/form-data`, each file of which is a delivery of its own.
///
/// The answer comes after the commit. Uploading the same again is harmless: it is found to be a duplicate.
/// Example: `curl --data-binary @report.xml.gz http://localhost:8080/api/v1/reports`
#[utoipa::path(
    post, path = "/api/v1/reports", tag = "Uploads",
    request_body(content(
        (Vec<u8> = "application/octet-stream"), (Vec<u8> = "multipart/form-data")
    ), description = "XML, gzip, zip, a mail message, or files in a form"),
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
    request: Request,
) -> Result<Response, Error> {
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

/// Keeps what is in progress bounded, for as long as it is in progress.
struct Permits {
    _upload: OwnedSemaphorePermit,
    _multipart: Option<OwnedSemaphorePermit>,
}

/// Takes a delivery in again, lets go of its bytes if nothing needs them any more, and answers as an upload.
pub(super) async fn retry(state: &State, delivery: Delivery) -> Result<Response, Error> {
    let permit = permit(state)?;
    let state = state.clone();
    finish(state.clone(), async move {
        let accepted = accept(&state, delivery).await?;
        if !accepted.documents.iter().any(needs_bytes) {
            state.store().discard(accepted.delivery_id).await?;
        }
        drop(permit);
        Ok(vec![accepted])
    })
    .await
}

/// Whether something of a document is not in the store. Skipped records are not, though their report be a duplicate now.
fn needs_bytes(document: &OutcomeRow) -> bool {
    match document.outcome {
        Outcome::Rejected | Outcome::Conflict => true,
        Outcome::Stored | Outcome::Duplicate => document.skipped_count.is_some_and(|skipped| skipped > 0),
        Outcome::NotAggregate => false,
    }
}

fn permit(state: &State) -> Result<OwnedSemaphorePermit, Error> {
    state.uploads.clone().try_acquire_owned().map_err(|_| Error::Busy)
}

/// Reads the body and tells what deliveries it is.
async fn receive(state: &State, parts: &Parts, body: &mut Body) -> Result<(Permits, Vec<Delivery>), Error> {
    let upload = permit(state)?;
    let body = body::read(body, &state.config).await?;
    if !is_multipart(&parts.headers) {
        let permits = Permits {
            _upload: upload,
            _multipart: None,
        };
        return Ok((permits, vec![delivery(state, None, body)]));
    }
    let multipart = state.multiparts.clone().acquire_owned().await;
    let permits = Permits {
        _upload: upload,
        _multipart: Some(multipart.map_err(|_| Error::Busy)?),
    };
    let deliveries = split(state, parts, body).await?;
    Ok((permits, deliveries))
}

fn is_multipart(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// The files of a form. It is in memory when it is split, so that a form which is all header is scanned but once.
async fn split(state: &State, parts: &Parts, body: report::Body) -> Result<Vec<Delivery>, Error> {
    let bad = |error: &dyn ToString| Error::BadMultipart(error.to_string());
    let mut request = Request::new(Body::from(body::in_memory(body).await?));
    *request.headers_mut() = parts.headers.clone();
    *request.extensions_mut() = parts.extensions.clone();
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| bad(&error.body_text()))?;
    let mut deliveries = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| bad(&error.body_text()))? {
        let Some(name) = field.file_name().map(str::to_owned) else {
            continue;
        };
        if deliveries.len() == FILES_MAX {
            return Err(Error::BadMultipart(format!("a form has at most {FILES_MAX} files")));
        }
        let bytes = field.bytes().await.map_err(|error| bad(&error.body_text()))?;
        deliveries.push(delivery(state, Some(name), report::Body::Memory(bytes)));
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
    }
}

async fn accept_all(state: State, permits: Permits, deliveries: Vec<Delivery>) -> Result<Vec<Accepted>, Error> {
    let accepted = stream::iter(deliveries)
        .map(|delivery| accept(&state, delivery))
        .buffered(FILES_AT_A_TIME)
        .try_collect()
        .await;
    drop(permits);
    accepted
}

/// Sees the work through, whether or not the client waits for the answer.
async fn finish(
    state: State,
    work: impl Future<Output = Result<Vec<Accepted>, Error>> + Send + 'static,
) -> Result<Response, Error> {
    let accepted = state.tasks.spawn(work).await?;
    let accepted = accepted.inspect_err(|error| state.metrics.count_refusal(error.code()))?;
    Ok(answer(accepted))
}

async fn accept(state: &State, delivery: Delivery) -> Result<Accepted, Error> {
    let delivery_id = delivery.delivery_id;
    let accepted = ingest::accept(&state.intake, delivery).await?;
    let outcome = accepted.outcome().as_str();
    state.metrics.count_upload(outcome);
    tracing::info!(delivery.id = %delivery_id, outcome, "an upload was taken in");
    Ok(accepted)
}

fn answer(accepted: Vec<Accepted>) -> Response {
    let delivery_ids: Vec<Uuid> = accepted.iter().map(|accepted| accepted.delivery_id).collect();
    let documents = accepted.into_iter().flat_map(|accepted| accepted.documents);
    let documents: Vec<OutcomeRow> = documents.collect();
    let status = status(documents.iter().map(|document| document.outcome));
    let upload = Upload {
        delivery_id: delivery_ids[0],
        delivery_ids: if delivery_ids.len() > 1 { delivery_ids } else { Vec::new() },
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
    fn the_status_tells_whether_anything_was_stored_or_lost() {
        for (outcomes, expected) in [
            (&[Rejected, Conflict, Stored][..], 201),
            (&[Duplicate, NotAggregate], 200),
            (&[], 200),
            (&[Duplicate, Conflict], 409),
            (&[Rejected, Conflict], 422),
            (&[Conflict, Rejected, Duplicate], 422),
        ] {
            assert_eq!(status(outcomes.iter().copied()).as_u16(), expected, "{outcomes:?}");
        }
    }
}
