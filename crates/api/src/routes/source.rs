//! One address over all domains.

use std::net::IpAddr;

use axum::{Json, extract};
use serde::Serialize;
use store::DomainTotals;
use time::Date;
use utoipa::ToSchema;

use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, Place},
    days::{RangeQuery, day},
    error::Problem,
    extract::{Path, Query},
    totals::{SeriesDay, Totals},
};

/// What an address sends in the name of all domains together, and of each.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceSummary {
    /// The sending host.
    #[schema(value_type = String, example = "192.0.2.1")]
    source_ip: IpAddr,
    /// First day; null when no report names the address.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-01")]
    from: Option<Date>,
    /// Last day.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-30")]
    to: Option<Date>,
    #[serde(flatten)]
    totals: Totals,
    /// The domains, those with most messages first.
    items: Vec<SourceDomain>,
    /// Cursor to the domains that follow.
    #[schema(example = json!(null))]
    next: Option<String>,
    series: Vec<SeriesDay>,
}

/// What an address sends in the name of one domain.
#[derive(Serialize, ToSchema)]
struct SourceDomain {
    /// The policy domain.
    #[schema(example = "example.org")]
    domain: String,
    #[serde(flatten)]
    totals: Totals,
    /// Reports that name the address.
    #[schema(example = 31)]
    report_count: i64,
    /// First day with a message.
    #[serde(with = "day")]
    #[schema(example = "2024-05-01")]
    first_day: Date,
    /// Last day with a message.
    #[serde(with = "day")]
    #[schema(example = "2024-05-30")]
    last_day: Date,
}

impl From<DomainTotals> for SourceDomain {
    fn from(row: DomainTotals) -> Self {
        Self {
            domain: row.domain,
            totals: row.totals.into(),
            report_count: row.report_count,
            first_day: row.first_day,
            last_day: row.last_day,
        }
    }
}

/// One address over all domains
///
/// An address that no report names has no messages; it is not an error to ask for it.
#[utoipa::path(
    get, path = "/api/v1/sources/{ip}", operation_id = "get_source", tag = "Sources",
    params(("ip" = String, Path, format = "ip", description = "The address, version 4 or 6"), RangeQuery),
    responses((status = 200, description = "The address", body = SourceSummary), Problem)
)]
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(source_ip): Path<IpAddr>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<SourceSummary>, Error> {
    let place: Option<Place<(i64, String)>> = cursor::decode(query.cursor.as_deref())?;
    let visible = viewer.visible(&state).await?;
    let last_day = state
        .store()
        .last_day_of_source(&visible, source_ip, state.latest_day());
    let days = query
        .asked()
        .at(place.as_ref())?
        .resolve(state.today(), last_day)
        .await?;
    let after = place.as_ref().map(
        |Place {
             after: (count, domain),
             ..
         }| (*count, domain.as_str()),
    );
    let store::SourceTotals {
        mut domains,
        series,
    } = state
        .store()
        .source(&visible, source_ip, days.range, after, query.limit.rows())
        .await?;
    let next = query.limit.cut(&mut domains, |row| {
        days.after((row.totals.message_count, row.domain.clone()))
    });
    let series: Vec<SeriesDay> = series.into_iter().map(SeriesDay::from).collect();
    Ok(Json(SourceSummary {
        source_ip,
        from: days.from(),
        to: days.to(),
        totals: Totals::of(&series),
        items: domains.into_iter().map(SourceDomain::from).collect(),
        next,
        series,
    }))
}
