//! Policy domains.

use std::collections::HashMap;

use axum::{Json, extract};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use super::policy::PolicyPublished;
use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, Limit, Place},
    days::{Asked, day},
    error::Problem,
    extract::{Path, Query},
    totals::{SeriesDay, Totals},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// First day.
    #[serde(default, with = "day::option")]
    from: Option<Date>,
    /// Last day.
    #[serde(default, with = "day::option")]
    to: Option<Date>,
    /// Items at most.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 1000, default = 100, required = false)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Whether to give the days of each domain as well.
    #[serde(default)]
    #[param(required = false)]
    series: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SummaryQuery {
    /// First day.
    #[serde(default, with = "day::option")]
    from: Option<Date>,
    /// Last day.
    #[serde(default, with = "day::option")]
    to: Option<Date>,
}

/// Domains in the order of their names.
#[derive(Serialize, ToSchema)]
pub(super) struct DomainList {
    /// First day; null when there is no data at all.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-01")]
    from: Option<Date>,
    /// Last day.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-30")]
    to: Option<Date>,
    items: Vec<ListedDomain>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A policy domain in a list.
#[derive(Serialize, ToSchema)]
struct ListedDomain {
    #[serde(flatten)]
    domain: Domain,
    // Behind the domain in exports as well, whose columns begin with what is not flattened.
    #[serde(flatten)]
    days: DomainDays,
}

/// A domain day by day.
#[derive(Serialize, ToSchema)]
struct DomainDays {
    /// The days with messages, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Vec<DomainDay>>,
}

/// The messages of a domain on one UTC day.
#[derive(Serialize, ToSchema)]
struct DomainDay {
    #[serde(with = "day")]
    #[schema(example = "2024-05-01")]
    day: Date,
    /// All messages.
    #[schema(example = 40)]
    message_count: i64,
    /// With an aligned DKIM or SPF pass.
    #[schema(example = 39)]
    dmarc_pass_count: i64,
}

/// A policy domain over a range of days.
#[derive(Serialize, ToSchema)]
pub(super) struct Domain {
    /// The policy domain.
    #[schema(example = "example.org")]
    domain: String,
    #[serde(flatten)]
    totals: Totals,
    /// Reports of the range.
    #[schema(example = 31)]
    report_count: i64,
    /// Different sources.
    #[schema(example = 7)]
    source_count: i64,
    /// The policy in the latest report, in the range or not.
    policy_published: Option<PolicyPublished>,
    last_report: Option<LastReport>,
}

/// The latest report of a domain.
#[derive(Serialize, ToSchema)]
pub(super) struct LastReport {
    /// End of its period.
    #[serde(with = "time::serde::rfc3339")]
    end_at: OffsetDateTime,
    /// Its reporter.
    #[schema(example = "google.com")]
    org_name: String,
}

/// One domain, with its daily series.
#[derive(Serialize, ToSchema)]
pub(super) struct DomainSummary {
    /// First day; null when there is no data at all.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-01")]
    from: Option<Date>,
    /// Last day.
    #[serde(with = "day::option")]
    #[schema(example = "2024-05-30")]
    to: Option<Date>,
    #[serde(flatten)]
    domain: Domain,
    series: Vec<SeriesDay>,
}

impl From<store::DomainSummary> for Domain {
    fn from(summary: store::DomainSummary) -> Self {
        let (policy_published, last_report) = summary.latest.map(policy_and_report).unzip();
        Self {
            domain: summary.domain,
            totals: summary.totals.into(),
            report_count: summary.report_count,
            source_count: summary.source_count,
            policy_published,
            last_report,
        }
    }
}

fn policy_and_report(latest: store::LatestPolicy) -> (PolicyPublished, LastReport) {
    let policy_published = PolicyPublished {
        p: latest.p,
        sp: latest.sp,
        np: latest.np,
        adkim: latest.adkim,
        aspf: latest.aspf,
        pct: latest.pct,
        fo: latest.fo,
        testing: latest.testing,
    };
    let last_report = LastReport {
        end_at: latest.end_at,
        org_name: latest.org_name,
    };
    (policy_published, last_report)
}

/// The name of a domain as it is stored: lower case, without trailing dot.
pub(super) fn stored_name(domain: &str) -> String {
    domain.trim_end_matches('.').to_lowercase()
}

/// The id and the stored name of a domain, if it exists for the viewer.
pub(super) async fn find(
    state: &State,
    viewer: &Viewer,
    domain: &str,
) -> Result<(i64, String), Error> {
    let domain = stored_name(domain);
    if !viewer.sees(&domain) {
        return Err(Error::UnknownDomain(domain));
    }
    match state.store().domain_id(&domain).await? {
        Some(domain_id) => Ok((domain_id, domain)),
        None => Err(Error::UnknownDomain(domain)),
    }
}

/// All domains
#[utoipa::path(
    get, path = "/api/v1/domains", operation_id = "list_domains", tag = "Domains", params(ListQuery),
    responses((status = 200, description = "Domains in the order of their names", body = DomainList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<DomainList>, Error> {
    let place: Option<Place<String>> = cursor::decode(query.cursor.as_deref())?;
    let asked = Asked {
        from: query.from,
        to: query.to,
    };
    let visible = viewer.visible(&state).await?;
    let days = asked
        .at(place.as_ref())?
        .resolve(
            state.today(),
            state.store().last_visible_day(&visible, state.latest_day()),
        )
        .await?;
    let after = place.as_ref().map(|place| place.after.as_str());
    let mut rows = state
        .store()
        .domains(&visible, days.range, after, query.limit.rows())
        .await?;
    let next = query
        .limit
        .cut(&mut rows, |row| days.after(row.domain.clone()));
    let mut series = match query.series {
        true => Some(series_of(&state, &rows, days.range).await?),
        false => None,
    };
    let items = rows.into_iter().map(|row| ListedDomain {
        days: DomainDays {
            series: series
                .as_mut()
                .map(|series| series.remove(&row.domain).unwrap_or_default()),
        },
        domain: row.into(),
    });
    Ok(Json(DomainList {
        from: days.from(),
        to: days.to(),
        items: items.collect(),
        next,
    }))
}

/// The days of each of these domains, by its name.
async fn series_of(
    state: &State,
    rows: &[store::DomainSummary],
    range: store::Range,
) -> Result<HashMap<String, Vec<DomainDay>>, Error> {
    let names: Vec<String> = rows.iter().map(|row| row.domain.clone()).collect();
    let mut series: HashMap<String, Vec<DomainDay>> = HashMap::with_capacity(names.len());
    for row in state.store().days_of_domains(&names, range).await? {
        series.entry(row.domain).or_default().push(DomainDay {
            day: row.day,
            message_count: row.message_count,
            dmarc_pass_count: row.dmarc_pass_count,
        });
    }
    Ok(series)
}

/// One domain, day by day
#[utoipa::path(
    get, path = "/api/v1/domains/{domain}/summary", operation_id = "get_domain_summary", tag = "Domains",
    params(("domain" = String, Path, description = "The policy domain"), SummaryQuery),
    responses(
        (status = 200, description = "The domain", body = DomainSummary),
        (status = 404, description = "`unknown_domain`: no report names it", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn summary(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(domain): Path<String>,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<DomainSummary>, Error> {
    let (domain_id, domain) = find(&state, &viewer, &domain).await?;
    let asked = Asked {
        from: query.from,
        to: query.to,
    };
    let days = asked
        .resolve(
            state.today(),
            state.store().last_day(Some(domain_id), state.latest_day()),
        )
        .await?;
    let domain = state.store().domain(domain_id, domain, days.range).await?;
    let series = state.store().domain_series(domain_id, days.range).await?;
    Ok(Json(DomainSummary {
        from: days.from(),
        to: days.to(),
        domain: domain.into(),
        series: series.into_iter().map(SeriesDay::from).collect(),
    }))
}
