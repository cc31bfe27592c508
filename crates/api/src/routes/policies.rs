//! Which policies a domain had.

use axum::{Json, extract};
use serde::{Deserialize, Serialize};
use store::PolicyPeriod;
use time::Date;
use utoipa::ToSchema;

use super::domains;
use crate::{
    Error, State,
    access::Viewer,
    cursor::{self, PageQuery},
    days::day,
    error::Problem,
    extract::{Path, Query},
};

/// The policies of a domain, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicyList {
    items: Vec<Period>,
    /// Cursor to what follows.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A policy, and the days on which most reports saw it.
#[derive(Serialize, ToSchema)]
struct Period {
    policy_published: SeenPolicy,
    /// The first of these days.
    #[serde(with = "day")]
    #[schema(example = "2024-05-01")]
    first_day: Date,
    /// The last of these days.
    #[serde(with = "day")]
    #[schema(example = "2024-05-30")]
    last_day: Date,
    /// Reports of these days that saw it.
    #[schema(example = 212)]
    report_count: i64,
}

/// What asks for something in a policy; null where reports did not say.
#[derive(Serialize, ToSchema)]
struct SeenPolicy {
    /// Policy for the domain.
    #[schema(example = "quarantine")]
    p: Option<String>,
    /// Policy for subdomains.
    #[schema(example = "none")]
    sp: Option<String>,
    /// Policy for subdomains that do not exist.
    #[schema(example = "reject")]
    np: Option<String>,
    /// DKIM alignment mode: `r` (relaxed) or `s` (strict).
    #[schema(example = "r")]
    adkim: Option<String>,
    /// SPF alignment mode: `r` (relaxed) or `s` (strict).
    #[schema(example = "r")]
    aspf: Option<String>,
    /// Per cent of messages the policy applies to (RFC 7489 only).
    #[schema(example = 100)]
    pct: Option<i16>,
    /// The `t` tag (RFC 9990).
    #[schema(example = false)]
    testing: Option<bool>,
}

impl From<PolicyPeriod> for Period {
    fn from(row: PolicyPeriod) -> Self {
        let policy = row.policy;
        Self {
            policy_published: SeenPolicy {
                p: policy.p,
                sp: policy.sp,
                np: policy.np,
                adkim: policy.adkim,
                aspf: policy.aspf,
                pct: policy.pct,
                testing: policy.testing,
            },
            first_day: row.first_day,
            last_day: row.last_day,
            report_count: row.report_count,
        }
    }
}

/// The place after a period: older days.
#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(with = "day")]
    before: Date,
}

/// The policies of a domain
///
/// As reports saw them, over all days. On a day with several policies, that of most reports counts: reporters learn of a
/// change at different times. What a report does not say is taken from its neighbours that agree in the rest.
#[utoipa::path(
    get, path = "/api/v1/domains/{domain}/policies", operation_id = "list_policies", tag = "Domains",
    params(("domain" = String, Path, description = "The policy domain"), PageQuery),
    responses(
        (status = 200, description = "Policies, newest first", body = PolicyList),
        (status = 404, description = "`unknown_domain`: no report names it", body = Problem,
            content_type = "application/problem+json"),
        Problem
    )
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    viewer: Viewer,
    Path(domain): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PolicyList>, Error> {
    let (domain_id, _) = domains::find(&state, &viewer, &domain).await?;
    let before = cursor::decode(query.cursor.as_deref())?.map(|Key { before }| before);
    let mut rows = state
        .store()
        .policies(domain_id, before, query.limit.rows())
        .await?;
    let next = query.limit.cut(&mut rows, |row| Key {
        before: row.first_day,
    });
    Ok(Json(PolicyList {
        items: rows.into_iter().map(Period::from).collect(),
        next,
    }))
}
