//! Who reports about a domain.

use axum::{Json, extract};
use serde::Serialize;
use time::Date;
use utoipa::ToSchema;

use super::domains;
use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, Place},
    days::{RangeQuery, day},
    error::Problem,
    extract::{Path, Query},
};

/// The reporters of a domain, those with most messages first.
#[derive(Serialize, ToSchema)]
pub(super) struct ReporterList {
    /// First day; null when there is no data at all.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-01")]
    from: Option<Date>,
    /// Last day.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-30")]
    to: Option<Date>,
    items: Vec<Reporter>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// One reporter over a range of days.
#[derive(Serialize, ToSchema)]
struct Reporter {
    /// The reporter.
    #[schema(example = "google.com")]
    org_name: String,
    /// Its reports.
    #[schema(example = 30)]
    report_count: i64,
    /// Messages of its reports.
    #[schema(example = 1200)]
    message_count: i64,
    /// With an aligned DKIM or SPF pass.
    #[schema(example = 1180)]
    dmarc_pass_count: i64,
    /// Day of its first report in the range.
    #[serde(with = "day")]
    #[schema(example = "2024-05-01")]
    first_day: Date,
    /// Day of its last report in the range.
    #[serde(with = "day")]
    #[schema(example = "2024-05-30")]
    last_day: Date,
}

/// The reporters of a domain
///
/// Counts are those of whole reports, by the day of the report.
#[utoipa::path(
    get, path = "/api/v1/domains/{domain}/reporters", operation_id = "list_reporters", tag = "Domains",
    params(("domain" = String, Path, description = "The policy domain"), RangeQuery),
    responses(
        (status = 200, description = "Reporters, those with most messages first", body = ReporterList),
        (status = 404, description = "`unknown_domain`: no report names it", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(domain): Path<String>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<ReporterList>, Error> {
    let (domain_id, _) = domains::find(&state, &viewer, &domain).await?;
    let place: Option<Place<(i64, String)>> = cursor::decode(query.cursor.as_deref())?;
    let last_day = state.store().last_day(Some(domain_id), state.latest_day());
    let days = query
        .asked()
        .at(place.as_ref())?
        .resolve(state.today(), last_day)
        .await?;
    let after = place
        .as_ref()
        .map(|place| (place.after.0, place.after.1.as_str()));
    let mut rows = state
        .store()
        .reporters(domain_id, days.range, after, query.limit.rows())
        .await?;
    let next = query.limit.cut(&mut rows, |row| {
        days.after((row.message_count, row.org_name.clone()))
    });
    let items = rows.into_iter().map(|row| Reporter {
        org_name: row.org_name,
        report_count: row.report_count,
        message_count: row.message_count,
        dmarc_pass_count: row.dmarc_pass_count,
        first_day: row.first_day,
        last_day: row.last_day,
    });
    Ok(Json(ReporterList {
        from: days.from(),
        to: days.to(),
        items: items.collect(),
        next,
    }))
}
