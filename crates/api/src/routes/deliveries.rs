//! The ledger of deliveries, and what is kept of them.

use std::pin::pin;

use axum::{
    Json,
    body::Body,
    extract,
    http::{HeaderName, StatusCode, header, request::Parts},
    response::Response,
};
use futures_util::{Stream, TryStreamExt as _, stream};
use ingest::{Delivery as Intake, Spool};
use serde::{Deserialize, Serialize};
use store::{DeliveryFilter, DeliveryRow, RawDelivery};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    mail::Mail,
    outcome::{Document, Outcome},
    uploads::{self, Bytes, Upload},
};
use crate::{
    Error, State,
    access::{self, Viewer},
    cursor::{self, Limit},
    error::Problem,
    extract::{Path, Query},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only those with this outcome.
    #[param(inline)]
    outcome: Option<Outcome>,
    /// Only those that came this way: `imap:<mailbox>`, `lmtp`, `http` or `file`.
    #[param(example = "imap:dmarc")]
    origin: Option<String>,
    /// Only mail that passes, or only mail that fails, a DMARC check of its own; what was not checked is neither.
    mail_dmarc_pass: Option<bool>,
    /// Only those whose bytes are kept: what was rejected, in conflict, or stored without some of its records; or only others.
    raw_kept: Option<bool>,
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Deliveries, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryList {
    items: Vec<Delivery>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// One thing handed over: a message, an upload, a file.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    delivery_id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    /// `imap:<mailbox>`, `lmtp`, `http` or `file`. To a token that is restricted to domains and does not see all of the
    /// delivery, `imap` without the mailbox.
    #[schema(example = "http")]
    origin: String,
    /// File name or the like; null to such a token.
    #[schema(example = "google.com!example.org!1717027200!1717113599.xml.gz")]
    name: Option<String>,
    /// As delivered; null to such a token.
    #[schema(example = 1890)]
    size_bytes: Option<i64>,
    /// Of its bytes as delivered; null for a mail that was too large to be fetched, and to such a token.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: Option<String>,
    /// The most serious outcome of its documents.
    outcome: Outcome,
    /// Who sent it; null where it is no mail or was not checked, and to such a token.
    mail: Option<Mail>,
    /// Whether its bytes are kept, so that it can be downloaded and tried again; false to such a token.
    raw_kept: bool,
    documents: Vec<Document>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            delivery_id: row.delivery_id,
            received_at: row.received_at,
            origin: row.origin,
            name: row.name,
            size_bytes: row.size_bytes,
            sha256: row.sha256.as_deref().map(store::hex),
            outcome: row.outcome.into(),
            mail: row.authenticity.map(Mail::from),
            raw_kept: row.raw_kept,
            documents: row.documents.into_iter().map(Document::from).collect(),
        }
    }
}

/// All deliveries
///
/// Newest first, by the time they carry: that of arrival in the mailbox for mail from there, that of the last change for files
/// from a watched directory, else that of receipt. `outcome=rejected` lists what could not be stored, with reasons;
/// `raw_kept=true` lists the quarantine: all that can be downloaded, tried again and discarded;
/// `mail_dmarc_pass=false` lists mail that is not shown to come from where it says. A page also ends, with `next`, where it would
/// become too large: at 4 MiB.
#[utoipa::path(
    get, path = "/api/v1/deliveries", operation_id = "list_deliveries", tag = "Deliveries", params(ListQuery),
    responses((status = 200, description = "Deliveries", body = DeliveryList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<DeliveryList>, Error> {
    let filter = DeliveryFilter {
        outcome: query.outcome.map(store::Outcome::from),
        origin: query.origin,
        mail_dmarc_pass: query.mail_dmarc_pass,
        raw_kept: query.raw_kept,
        before: cursor::decode(query.cursor.as_deref())?,
        domains: viewer.domains,
    };
    let page = state
        .store()
        .deliveries(&filter, query.limit.rows())
        .await?;
    let (rows, next) = query.limit.cut_page(page, |row| row.delivery_id);
    Ok(Json(DeliveryList {
        items: rows.into_iter().map(Delivery::from).collect(),
        next,
    }))
}

/// One delivery
#[utoipa::path(
    get, path = "/api/v1/deliveries/{delivery_id}", operation_id = "get_delivery", tag = "Deliveries",
    params(("delivery_id" = Uuid, Path, description = "The delivery")),
    responses(
        (status = 200, description = "The delivery", body = Delivery),
        (status = 404, description = "`unknown_delivery`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(delivery_id): Path<Uuid>,
) -> Result<Json<Delivery>, Error> {
    let delivery = find(&state, &viewer, delivery_id).await?;
    Ok(Json(delivery.into()))
}

/// A delivery, as far as it exists for the viewer.
async fn find(state: &State, viewer: &Viewer, delivery_id: Uuid) -> Result<DeliveryRow, Error> {
    let delivery = state.store().delivery(delivery_id).await?;
    let delivery = match &viewer.domains {
        Some(domains) => delivery.and_then(|delivery| delivery.seen_within(domains)),
        None => delivery,
    };
    delivery.ok_or(Error::UnknownDelivery(delivery_id))
}

/// Asserts that the bytes of a delivery are kept, and that the viewer may see all that is in them.
async fn check_kept(state: &State, viewer: &Viewer, delivery_id: Uuid) -> Result<(), Error> {
    match find(state, viewer, delivery_id).await?.raw_kept {
        true => Ok(()),
        false => Err(Error::NotKept(delivery_id)),
    }
}

async fn find_raw(state: &State, viewer: &Viewer, delivery_id: Uuid) -> Result<RawDelivery, Error> {
    check_kept(state, viewer, delivery_id).await?;
    let raw = state.store().raw(delivery_id).await?;
    raw.ok_or(Error::NotKept(delivery_id))
}

/// The bytes of a delivery
///
/// They are kept, for a time, where something of the delivery was rejected, in conflict or skipped.
#[utoipa::path(
    get, path = "/api/v1/deliveries/{delivery_id}/raw", operation_id = "download_delivery", tag = "Deliveries",
    params(("delivery_id" = Uuid, Path, description = "The delivery")),
    responses(
        (status = 200, description = "The bytes as delivered", body = Bytes, content_type = "application/octet-stream"),
        (status = 404, description = "`unknown_delivery` or `not_kept`", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn raw(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(delivery_id): Path<Uuid>,
    request: Parts,
) -> Result<([(HeaderName, String); 3], Body), Error> {
    let raw = find_raw(&state, &viewer, delivery_id).await?;
    let file_name = safe_file_name(raw.name.as_deref(), delivery_id);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, raw.size_bytes.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{file_name}\""),
        ),
    ];
    let pieces = pieces(state.clone(), delivery_id, raw.size_bytes);
    let pieces = pieces.and_then(move |piece| {
        let (state, mut request) = (state.clone(), request.clone());
        async move {
            access::readmit(&state, &mut request).await?;
            Ok(piece)
        }
    });
    Ok((headers, Body::from_stream(pieces)))
}

/// The bytes of a delivery, piece by piece: many may be asked for at a time. It is an error if they are discarded meanwhile.
fn pieces(
    state: State,
    delivery_id: Uuid,
    size_bytes: u64,
) -> impl Stream<Item = Result<bytes::Bytes, Error>> {
    stream::try_unfold(0, move |offset_bytes| {
        let state = state.clone();
        async move {
            if offset_bytes == size_bytes {
                return Ok(None);
            }
            let piece = state.store().raw_piece(delivery_id, offset_bytes).await?;
            let piece = piece.filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(Error::NotKept(delivery_id))?;
            let next = offset_bytes + piece.len() as u64;
            Ok(Some((piece, next)))
        }
    })
}

/// A name that means nothing to any shell, browser or file system: what was delivered is not to be trusted.
fn safe_file_name(name: Option<&str>, delivery_id: Uuid) -> String {
    const LENGTH_MAX: usize = 100;
    let name = name
        .unwrap_or_default()
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let safe: String = name
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() || "-_.!@".contains(char) {
                char
            } else {
                '_'
            }
        })
        .take(LENGTH_MAX)
        .collect();
    let safe = safe.trim_start_matches('.');
    if safe.is_empty() {
        delivery_id.to_string()
    } else {
        safe.to_owned()
    }
}

/// Try a delivery again
///
/// Takes the kept bytes in once more, under the same id, and answers like an upload. They are kept no longer when nothing
/// of them is rejected, in conflict or skipped any more.
///
/// What was rejected as `not_authentic` is taken in: trying it again is the decision that it is wanted, so its sender is not
/// checked again. Reports rejected as `domain_not_allowed` are stored if the configuration allows their domain by now.
#[utoipa::path(
    post, path = "/api/v1/deliveries/{delivery_id}/retry", operation_id = "retry_delivery", tag = "Deliveries",
    params(("delivery_id" = Uuid, Path, description = "The delivery")),
    responses(
        (status = 201, description = "A report was stored", body = Upload),
        (status = 200, description = "Nothing new: duplicates, or no aggregate reports", body = Upload),
        (status = 404, description = "`unknown_delivery` or `not_kept`", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Nothing stored: another report with the same identity was stored before", body = Upload),
        (status = 422, description = "Nothing stored, and something was rejected; or `bad_path`",
            content((Upload = "application/json"), (Problem = "application/problem+json"))),
        (status = 503, description = "`busy` or `unavailable`: try again after `Retry-After` seconds", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn retry(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(delivery_id): Path<Uuid>,
) -> Result<Response, Error> {
    // Whoever asks for nothing keeps nobody from uploading; and another retry may come first while this one waits.
    check_kept(&state, &viewer, delivery_id).await?;
    let permits = uploads::retry_permits(&state).await?;
    let raw = find_raw(&state, &viewer, delivery_id).await?;
    let mut spool = Spool::default();
    let mut pieces = pin!(pieces(state.clone(), delivery_id, raw.size_bytes));
    while let Some(piece) = pieces.try_next().await? {
        spool.write(&piece).await?;
    }
    let delivery = Intake {
        delivery_id,
        origin: raw.origin,
        name: raw.name,
        received_at: raw.received_at,
        body: spool.finish().await?,
        authenticity: raw.authenticity,
    };
    uploads::retry(&state, viewer, permits, delivery).await
}

/// Discard the bytes of a delivery
///
/// Its entry in the ledger stays.
#[utoipa::path(
    delete, path = "/api/v1/deliveries/{delivery_id}", operation_id = "discard_delivery", tag = "Deliveries",
    params(("delivery_id" = Uuid, Path, description = "The delivery")),
    responses(
        (status = 204, description = "The bytes are gone"),
        (status = 404, description = "`unknown_delivery` or `not_kept`", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn discard(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(delivery_id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    check_kept(&state, &viewer, delivery_id).await?;
    let discarded = state.store().discard_for(delivery_id, &viewer.actor);
    if !discarded.await? {
        return Err(Error::NotKept(delivery_id));
    }
    tracing::info!(delivery.id = %delivery_id, "the bytes of a delivery were discarded");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_harmless() {
        let id = Uuid::from_u128(7);
        for (name, expected) in [
            (
                Some("google.com!example.org!1!2.xml.gz"),
                "google.com!example.org!1!2.xml.gz",
            ),
            (Some("../../etc/passwd"), "passwd"),
            (Some("C:\\a\\b.zip"), "b.zip"),
            (Some("a\"; b=\r\nü.xml"), "a___b____.xml"),
            (Some(".profile"), "profile"),
            (Some("a/"), "00000000-0000-0000-0000-000000000007"),
            (None, "00000000-0000-0000-0000-000000000007"),
        ] {
            assert_eq!(safe_file_name(name, id), expected);
        }
    }
}
