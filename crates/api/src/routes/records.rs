//! The records of a report.

use axum::{Json, extract};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use store::RecordRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reports::{find, list_of};
use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, PageQuery},
    error::Problem,
    extract::{Path, Query},
};

/// Records in the order of the report.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordList {
    items: Vec<Record>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// Messages of one source with the same results.
#[derive(Serialize, ToSchema)]
pub(super) struct Record {
    /// Its place among all records of the report, from 0.
    #[schema(example = 0)]
    position: i32,
    /// The sending host.
    #[schema(example = "192.0.2.1")]
    source_ip: String,
    #[schema(example = 25)]
    message_count: i64,
    /// What the receiver did: `none`, `pass`, `quarantine` or `reject`.
    #[schema(example = "none")]
    disposition: Option<String>,
    /// Whether DKIM passed and aligned.
    #[schema(example = true)]
    dkim_aligned: Option<bool>,
    /// Whether SPF passed and aligned.
    #[schema(example = false)]
    spf_aligned: Option<bool>,
    /// Why the receiver did not follow the policy.
    reasons: Vec<Reason>,
    /// The author domain.
    #[schema(example = "example.org")]
    header_from: Option<String>,
    #[schema(example = "bounces.example.org")]
    envelope_from: Option<String>,
    #[schema(example = json!(null))]
    envelope_to: Option<String>,
    /// DKIM results, aligned or not.
    dkim: Vec<DkimResult>,
    /// SPF results, aligned or not.
    spf: Vec<SpfResult>,
    /// Values outside the format, which are null in their fields.
    odd_values: Vec<OddValue>,
}

/// Why the receiver did not follow the policy.
#[derive(Serialize, Deserialize, ToSchema)]
struct Reason {
    #[serde(rename = "type")]
    #[schema(example = "mailing_list")]
    kind: Option<String>,
    comment: Option<String>,
}

/// The result of one DKIM signature.
#[derive(Serialize, Deserialize, ToSchema)]
struct DkimResult {
    #[schema(example = "example.org")]
    domain: Option<String>,
    #[schema(example = "s1")]
    selector: Option<String>,
    #[schema(example = "pass")]
    result: Option<String>,
    #[schema(example = json!(null))]
    human_result: Option<String>,
}

/// The result of one SPF check.
#[derive(Serialize, Deserialize, ToSchema)]
struct SpfResult {
    #[schema(example = "bounces.example.org")]
    domain: Option<String>,
    #[schema(example = "mfrom")]
    scope: Option<String>,
    #[schema(example = "pass")]
    result: Option<String>,
    #[schema(example = json!(null))]
    human_result: Option<String>,
}

/// A value outside the format.
#[derive(Serialize, Deserialize, ToSchema)]
struct OddValue {
    /// Path of the element below `<record>`.
    #[schema(example = "policy_evaluated/dkim")]
    element: String,
    /// Its text.
    #[schema(example = "maybe")]
    text: String,
}

impl TryFrom<RecordRow> for Record {
    type Error = store::Error;

    fn try_from(row: RecordRow) -> Result<Self, store::Error> {
        Ok(Self {
            position: row.position,
            source_ip: row.source_ip,
            message_count: row.message_count,
            disposition: row.disposition,
            dkim_aligned: row.dkim_aligned,
            spf_aligned: row.spf_aligned,
            reasons: list_in("reasons", row.reasons.as_deref())?,
            header_from: row.header_from,
            envelope_from: row.envelope_from,
            envelope_to: row.envelope_to,
            dkim: list_in("dkim", row.dkim.as_deref())?,
            spf: list_in("spf", row.spf.as_deref())?,
            odd_values: list_in("odd_values", row.odd_values.as_deref())?,
        })
    }
}

/// Reads a list out of a JSON column, where null is an empty one.
fn list_in<T: DeserializeOwned>(
    column: &'static str,
    json: Option<&RawValue>,
) -> Result<Vec<T>, store::Error> {
    json.map_or(Ok(Vec::new()), |json| {
        list_of("records", column, json.get())
    })
}

/// The records of a report
///
/// A page also ends, with `next`, where it would become too large: at 4 MiB.
#[utoipa::path(
    get, path = "/api/v1/reports/{report_uid}/records", operation_id = "list_records", tag = "Reports",
    params(("report_uid" = Uuid, Path, description = "The report"), PageQuery),
    responses(
        (status = 200, description = "Records in the order of the report", body = RecordList),
        (status = 404, description = "`unknown_report`", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`records_expired`: they are kept no longer (`retention.records`)", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(report_uid): Path<Uuid>,
    Query(query): Query<PageQuery>,
) -> Result<Json<RecordList>, Error> {
    let after: Option<i32> = cursor::decode(query.cursor.as_deref())?;
    let report = find(&state, &viewer, report_uid).await?;
    let page = state
        .store()
        .records(report_uid, report.day, after, query.limit.rows())
        .await?;
    let is_empty = report.record_count == report.skipped_count;
    if page.rows.is_empty() && !is_empty {
        let forgotten = state.store().are_records_forgotten(report_uid, report.day);
        if forgotten.await? {
            return Err(Error::RecordsExpired(report_uid));
        }
    }
    let (rows, next) = query.limit.cut_page(page, |row| row.position);
    Ok(Json(RecordList {
        items: rows
            .into_iter()
            .map(Record::try_from)
            .collect::<Result<_, _>>()?,
        next,
    }))
}
