//! Reports and their records.

use axum::{Json, extract};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use store::{RecordRow, ReportFilter, ReportRow};
use time::{Date, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{domains, policy::PolicyPublished};
use crate::{
    Error, State,
    cursor::{self, Limit},
    days::day,
    error::Problem,
    extract::{Path, Query},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only of this policy domain.
    domain: Option<String>,
    /// Only of this reporter.
    org_name: Option<String>,
    /// Only from this day on.
    #[serde(default, with = "day::option")]
    from: Option<Date>,
    /// Only up to this day.
    #[serde(default, with = "day::option")]
    to: Option<Date>,
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsQuery {
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Reports, those of the latest days first.
#[derive(Serialize, ToSchema)]
pub(super) struct ReportList {
    /// As asked for; null when the list begins with the first report.
    #[serde(with = "day::option")]
    #[schema(example = json!(null))]
    from: Option<Date>,
    /// As asked for; null when the list ends with the last report.
    #[serde(with = "day::option")]
    #[schema(example = json!(null))]
    to: Option<Date>,
    items: Vec<Report>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A stored report.
#[derive(Serialize, ToSchema)]
pub(super) struct Report {
    /// Derived from the identity of the report: the same wherever it is stored.
    report_uid: Uuid,
    /// The policy domain.
    #[schema(example = "example.org")]
    domain: String,
    /// The policy domain as written, where it differs.
    #[schema(example = json!(null))]
    domain_as_reported: Option<String>,
    /// The reporter.
    #[schema(example = "google.com")]
    org_name: String,
    #[schema(example = "noreply-dmarc-support@google.com")]
    email: Option<String>,
    #[schema(example = json!(null))]
    extra_contact_info: Option<String>,
    #[schema(example = "17093120021234567890")]
    report_id: String,
    /// Begin of the period.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2024-05-30T00:00:00Z")]
    begin_at: OffsetDateTime,
    /// End of the period.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2024-05-30T23:59:59Z")]
    end_at: OffsetDateTime,
    /// UTC day with the middle of the period.
    #[serde(with = "day")]
    #[schema(example = "2024-05-30")]
    day: Date,
    /// Over how many days the messages are spread: 1, unless the period is longer than 27 hours.
    #[schema(example = 1)]
    day_count: i32,
    policy_published: PolicyPublished,
    /// How the policy was found: `psl` or `treewalk` (RFC 9990).
    #[schema(example = json!(null))]
    discovery_method: Option<String>,
    #[schema(example = "1.0")]
    version: Option<String>,
    #[schema(example = json!(null))]
    xml_namespace: Option<String>,
    #[schema(example = json!(null))]
    generator: Option<String>,
    /// What the reporter says went wrong.
    errors: Vec<String>,
    /// What was odd about the report.
    warnings: Vec<Warning>,
    /// SHA-256 of the decompressed XML.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    content_sha256: String,
    /// Records in it, skipped ones included.
    #[schema(example = 12)]
    record_count: i64,
    /// Records that could not be stored.
    #[schema(example = 0)]
    skipped_count: i64,
    /// Messages of the stored records.
    #[schema(example = 310)]
    message_count: i64,
    /// With an aligned DKIM or SPF pass.
    #[schema(example = 305)]
    dmarc_pass_count: i64,
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    /// The delivery that brought it.
    delivery_id: Uuid,
}

/// A deviation that did not keep the report from being stored.
#[derive(Serialize, Deserialize, ToSchema)]
struct Warning {
    /// What deviates.
    #[schema(example = "unknown_element")]
    code: String,
    /// The element it was seen at, from below `<feedback>`.
    #[schema(example = "policy_published/rua")]
    element: String,
    /// Where in the decompressed report it was first seen, in bytes.
    #[schema(example = 612)]
    offset: u64,
    /// How often.
    #[schema(example = 1)]
    occurrences: u64,
    /// The text in question.
    text: Option<String>,
}

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
struct Record {
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

impl TryFrom<ReportRow> for Report {
    type Error = store::Error;

    fn try_from(row: ReportRow) -> Result<Self, store::Error> {
        Ok(Self {
            report_uid: row.report_uid,
            domain: row.domain,
            domain_as_reported: row.domain_as_reported,
            org_name: row.org_name,
            email: row.email,
            extra_contact_info: row.extra_contact_info,
            report_id: row.report_id,
            begin_at: row.begin_at,
            end_at: row.end_at,
            day: row.day,
            day_count: row.day_count,
            policy_published: PolicyPublished {
                p: row.p,
                sp: row.sp,
                np: row.np,
                adkim: row.adkim,
                aspf: row.aspf,
                pct: row.pct,
                fo: row.fo,
                testing: row.testing,
            },
            discovery_method: row.discovery_method,
            version: row.version,
            xml_namespace: row.xml_namespace,
            generator: row.generator,
            errors: row.errors,
            warnings: list_in("reports", "warnings", Some(row.warnings))?,
            content_sha256: super::hex(&row.content_sha256),
            record_count: row.record_count,
            skipped_count: row.skipped_count,
            message_count: row.message_count,
            dmarc_pass_count: row.dmarc_pass_count,
            received_at: row.received_at,
            delivery_id: row.delivery_id,
        })
    }
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
            reasons: list_in("records", "reasons", row.reasons)?,
            header_from: row.header_from,
            envelope_from: row.envelope_from,
            envelope_to: row.envelope_to,
            dkim: list_in("records", "dkim", row.dkim)?,
            spf: list_in("records", "spf", row.spf)?,
            odd_values: list_in("records", "odd_values", row.odd_values)?,
        })
    }
}

/// Reads a list out of a JSON column, where null is an empty one.
fn list_in<T: DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    json: Option<Value>,
) -> Result<Vec<T>, store::Error> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    serde_json::from_value(json).map_err(|error| store::Error::Corrupt {
        table,
        column,
        detail: error.to_string(),
    })
}

/// All reports
///
/// Those of the latest days first. Other than summaries, this list has no default range.
#[utoipa::path(
    get, path = "/api/v1/reports", tag = "Reports", params(ListQuery),
    responses((status = 200, description = "Reports", body = ReportList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ReportList>, Error> {
    let after: Option<Key> = cursor::decode(query.cursor.as_deref())?;
    if let Some((from, to)) = query.from.zip(query.to)
        && from > to
    {
        return Err(Error::BadRange(format!("from {from} is after to {to}")));
    }
    let mut answer = ReportList {
        from: query.from,
        to: query.to,
        items: Vec::new(),
        next: None,
    };
    let domain_id = match &query.domain {
        None => None,
        Some(domain) => match domains::find(&state, domain).await {
            Ok((domain_id, _)) => Some(domain_id),
            // A filter that nothing matches is no error.
            Err(Error::UnknownDomain(_)) => return Ok(Json(answer)),
            Err(error) => return Err(error),
        },
    };
    let filter = ReportFilter {
        domain_id,
        org_name: query.org_name,
        from: query.from,
        to: query.to,
        after: after.map(|Key { day, report_uid }| (day, report_uid)),
    };
    let mut rows = state.store().reports(&filter, query.limit.rows()).await?;
    answer.next = query.limit.cut(&mut rows, |row| Key {
        day: row.day,
        report_uid: row.report_uid,
    });
    answer.items = rows.into_iter().map(Report::try_from).collect::<Result<_, _>>()?;
    Ok(Json(answer))
}

/// The place after a report.
#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(with = "day")]
    day: Date,
    report_uid: Uuid,
}

async fn find(state: &State, report_uid: Uuid) -> Result<ReportRow, Error> {
    let report = state.store().report(report_uid).await?;
    report.ok_or(Error::UnknownReport(report_uid))
}

/// One report
#[utoipa::path(
    get, path = "/api/v1/reports/{report_uid}", tag = "Reports",
    params(("report_uid" = Uuid, Path, description = "The report")),
    responses(
        (status = 200, description = "The report", body = Report),
        (status = 404, description = "`unknown_report`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    Path(report_uid): Path<Uuid>,
) -> Result<Json<Report>, Error> {
    let row = find(&state, report_uid).await?;
    Ok(Json(Report::try_from(row)?))
}

/// The records of a report
#[utoipa::path(
    get, path = "/api/v1/reports/{report_uid}/records", tag = "Reports",
    params(("report_uid" = Uuid, Path, description = "The report"), RecordsQuery),
    responses(
        (status = 200, description = "Records in the order of the report", body = RecordList),
        (status = 404, description = "`unknown_report`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn records(
    extract::State(state): extract::State<State>,
    Path(report_uid): Path<Uuid>,
    Query(query): Query<RecordsQuery>,
) -> Result<Json<RecordList>, Error> {
    let after: Option<i32> = cursor::decode(query.cursor.as_deref())?;
    let report = find(&state, report_uid).await?;
    let mut rows = state
        .store()
        .records(report_uid, report.day, after, query.limit.rows())
        .await?;
    let next = query.limit.cut(&mut rows, |row| row.position);
    Ok(Json(RecordList {
        items: rows.into_iter().map(Record::try_from).collect::<Result<_, _>>()?,
        next,
    }))
}
