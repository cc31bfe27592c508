//! Who changed what.

use axum::{Json, extract};
use serde::Serialize;
use serde_json::Value;
use store::AuditRow;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    Error, State,
    cursor::{self, PageQuery},
    error::Problem,
    extract::Query,
};

/// What was done, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditList {
    items: Vec<AuditEntry>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A change that somebody made, or a sign-in.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEntry {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// The `token_id` of who did it, `oidc:` and the subject of an identity; `cli` for the command line, `open` where no token is asked for, `serve` for ruad itself,
    /// `nobody` for a sign-in that failed.
    #[schema(example = "5f0c1d2e3a4b5c6d")]
    actor: String,
    /// The name of the token, or of the identity, then.
    #[schema(example = "Grafana")]
    actor_name: Option<String>,
    /// What was done: `token_created`, `token_revoked`, `signed_in`, `sign_in_failed`, `signed_out`, `sessions_revoked`,
    /// `delivery_discarded`, `delivery_retried`, `rebuilt`, `migrated`, `distributed`, `imported`.
    #[schema(example = "delivery_discarded")]
    action: String,
    /// What it was done to: an id.
    #[schema(example = "018f7d1e-0000-7000-8000-000000000000")]
    subject: Option<String>,
    /// More about it.
    #[schema(example = json!(null))]
    detail: Option<Value>,
    /// Where the request came from; null for the command line.
    #[schema(example = "192.0.2.9")]
    address: Option<String>,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            at: row.at,
            actor: row.actor,
            actor_name: row.actor_name,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            address: row.address,
        }
    }
}

/// Who changed what
///
/// Changes through the API and the command line, and sign-ins, the newest first. What was taken in is in the deliveries.
#[utoipa::path(
    get, path = "/api/v1/audit", operation_id = "list_audit", tag = "Access", params(PageQuery),
    responses((status = 200, description = "Changes", body = AuditList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    Query(query): Query<PageQuery>,
) -> Result<Json<AuditList>, Error> {
    let before: Option<i64> = cursor::decode(query.cursor.as_deref())?;
    let mut rows = state.store().audit(before, query.limit.rows()).await?;
    let next = query.limit.cut(&mut rows, |row| row.audit_id);
    Ok(Json(AuditList {
        items: rows.into_iter().map(AuditEntry::from).collect(),
        next,
    }))
}
