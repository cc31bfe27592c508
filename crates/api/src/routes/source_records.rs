//! What the reports of a domain say about one source.

use std::net::IpAddr;

use axum::{Json, extract};
use serde::Serialize;
use store::{SourceRecord, SourceRecordKey};
use time::Date;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{domains, records::Record};
use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, Place},
    days::{RangeQuery, day},
    error::Problem,
    extract::{Path, Query},
};

/// The records of a source, those of the latest days first.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceRecordList {
    /// First day; null when there is no data at all.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-01")]
    from: Option<Date>,
    /// Last day.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-30")]
    to: Option<Date>,
    items: Vec<RecordOfReport>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A record, and the report it is from.
#[derive(Serialize, ToSchema)]
struct RecordOfReport {
    report_uid: Uuid,
    /// UTC day with the middle of the report's period.
    #[serde(with = "day")]
    #[schema(example = "2024-05-30")]
    day: Date,
    /// The reporter.
    #[schema(example = "google.com")]
    org_name: String,
    #[serde(flatten)]
    record: Record,
}

impl TryFrom<SourceRecord> for RecordOfReport {
    type Error = store::Error;

    fn try_from(row: SourceRecord) -> Result<Self, store::Error> {
        Ok(Self {
            report_uid: row.report_uid,
            day: row.day,
            org_name: row.org_name,
            record: row.record.try_into()?,
        })
    }
}

/// The records of one source
///
/// As far as records are kept (`retention.records`), in the reports of one domain, by the day of the report. A page also ends, with `next`, where it would
/// become too large: at 4 MiB.
#[utoipa::path(
    get, path = "/api/v1/domains/{domain}/sources/{ip}/records", operation_id = "list_source_records", tag = "Sources",
    params(
        ("domain" = String, Path, description = "The policy domain"),
        ("ip" = String, Path, format = "ip", description = "The address, version 4 or 6"),
        RangeQuery
    ),
    responses(
        (status = 200, description = "Records, those of the latest days first", body = SourceRecordList),
        (status = 404, description = "`unknown_domain`: no report names it", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path((domain, source_ip)): Path<(String, IpAddr)>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<SourceRecordList>, Error> {
    let (domain_id, _) = domains::find(&state, &viewer, &domain).await?;
    let place: Option<Place<SourceRecordKey>> = cursor::decode(query.cursor.as_deref())?;
    let last_day = state.store().last_day(Some(domain_id), state.latest_day());
    let days = query
        .asked()
        .at(place.as_ref())?
        .resolve(state.today(), last_day)
        .await?;
    let after = place.map(|place| place.after);
    let page = state
        .store()
        .source_records(domain_id, source_ip, days.range, after, query.limit.rows())
        .await?;
    let (rows, next) = query.limit.cut_page(page, |row| {
        days.after((row.day, row.report_uid, row.record.position))
    });
    let items = rows.into_iter().map(RecordOfReport::try_from);
    Ok(Json(SourceRecordList {
        from: days.from(),
        to: days.to(),
        items: items.collect::<Result<_, _>>()?,
        next,
    }))
}
