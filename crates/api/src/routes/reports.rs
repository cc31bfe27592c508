//! Reports.

use axum::{Json, extract};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{ReportFilter, ReportRow};
use time::{Date, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{domains, mail::Mail, policy::PolicyPublished};
use crate::{
    Error, State,
    access::Viewer,
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
    /// Only reports whose mail passes, or only those whose mail fails, a DMARC check of its own; what was not checked is
    /// neither.
    mail_dmarc_pass: Option<bool>,
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
    /// Who sent that delivery; null where it is no mail or was not checked.
    mail: Option<Mail>,
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
            warnings: list_of("reports", "warnings", &row.warnings)?,
            content_sha256: store::hex(&row.content_sha256),
            record_count: row.record_count,
            skipped_count: row.skipped_count,
            message_count: row.message_count,
            dmarc_pass_count: row.dmarc_pass_count,
            received_at: row.received_at,
            delivery_id: row.delivery_id,
            // Mail that was checked has a list of domains, be it empty.
            mail: row.mail_dkim_domains.map(|dkim_domains| Mail {
                from_domain: row.mail_from_domain,
                dkim_domains,
                dmarc_pass: row.mail_dmarc_pass,
            }),
        })
    }
}

/// Reads a list out of a JSON column.
pub(super) fn list_of<T: DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    json: &str,
) -> Result<Vec<T>, store::Error> {
    serde_json::from_str(json).map_err(|error| store::Error::Corrupt {
        table,
        column,
        detail: error.to_string(),
    })
}

/// All reports
///
/// Those of the latest days first. Other than summaries, this list has no default range. A page also ends, with `next`, where
/// it would become too large: at 4 MiB.
#[utoipa::path(
    get, path = "/api/v1/reports", operation_id = "list_reports", tag = "Reports", params(ListQuery),
    responses((status = 200, description = "Reports", body = ReportList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
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
        Some(domain) => match domains::find(&state, &viewer, domain).await {
            Ok((domain_id, _)) => Some(domain_id),
            // A filter that nothing matches is no error.
            Err(Error::UnknownDomain(_)) => return Ok(Json(answer)),
            Err(error) => return Err(error),
        },
    };
    let filter = ReportFilter {
        visible: viewer.visible(&state).await?,
        domain_id,
        org_name: query.org_name,
        mail_dmarc_pass: query.mail_dmarc_pass,
        from: query.from,
        to: query.to,
        after: after.map(|Key { day, report_uid }| (day, report_uid)),
    };
    let page = state.store().reports(&filter, query.limit.rows()).await?;
    let (rows, next) = query.limit.cut_page(page, |row| Key {
        day: row.day,
        report_uid: row.report_uid,
    });
    answer.next = next;
    answer.items = rows
        .into_iter()
        .map(Report::try_from)
        .collect::<Result<_, _>>()?;
    Ok(Json(answer))
}

/// The place after a report.
#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(with = "day")]
    day: Date,
    report_uid: Uuid,
}

/// A report, if it exists for the viewer.
pub(super) async fn find(
    state: &State,
    viewer: &Viewer,
    report_uid: Uuid,
) -> Result<ReportRow, Error> {
    let report = state.store().report(report_uid).await?;
    let report = report.filter(|report| viewer.sees(&report.domain));
    report.ok_or(Error::UnknownReport(report_uid))
}

/// One report
#[utoipa::path(
    get, path = "/api/v1/reports/{report_uid}", operation_id = "get_report", tag = "Reports",
    params(("report_uid" = Uuid, Path, description = "The report")),
    responses(
        (status = 200, description = "The report", body = Report),
        (status = 404, description = "`unknown_report`", body = Problem, content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(report_uid): Path<Uuid>,
) -> Result<Json<Report>, Error> {
    let row = find(&state, &viewer, report_uid).await?;
    Ok(Json(Report::try_from(row)?))
}
