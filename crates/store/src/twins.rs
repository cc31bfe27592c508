//! The same report in two forms: as XML, and as another program kept it.
//!
//! parsedmarc cuts `report_id` at the first `@`, replaces `org_name` by its organizational domain, and writes times
//! without their zone. So the identity of what it kept may differ from that of the report. Twins are told by what is left:
//! policy domain, the beginning of the id, a reporter whose name fits, and a period that fits.

use std::collections::HashMap;

use report::{Header, Peer, Summary};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    Error, Outcome,
    identity::{at, day_of, report_uid},
};

/// No time zone is further from UTC.
const ZONE_MAX: Duration = Duration::hours(14);

/// All time zones are whole numbers of these from UTC.
const ZONE_STEP_SECS: i64 = 15 * 60;

/// What the clocks are changed by.
const SUMMER_TIME: Duration = Duration::HOUR;

/// A report that is to be stored, if it is not stored in another form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) domain_id: i64,
    pub(crate) header: &'a Header,
    pub(crate) delivery_id: Uuid,
}

/// A report that is stored.
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    report_uid: Uuid,
    delivery_id: Uuid,
    domain_id: i64,
    org_name: String,
    report_id: String,
    begin_at: OffsetDateTime,
    end_at: OffsetDateTime,
    message_count: i64,
    dmarc_pass_count: i64,
    /// `peer_reports.period`, where it was read from the output of another program.
    period: Option<String>,
}

impl Twin {
    /// What becomes of the other form: the forms differ, so they are compared by what they add up to.
    pub(crate) fn outcome(&self, summary: &Summary) -> Outcome {
        let same = |ours: i64, theirs: u64| u64::try_from(ours) == Ok(theirs);
        if same(self.message_count, summary.message_count)
            && same(self.dmarc_pass_count, summary.dmarc_pass_count)
        {
            Outcome::Duplicate
        } else {
            Outcome::Conflict
        }
    }

    fn is_twin_of(&self, wanted: &Wanted<'_>) -> bool {
        let metadata = &wanted.header.report_metadata;
        let is_itself =
            self.report_uid == report_uid(wanted.header) && self.delivery_id == wanted.delivery_id;
        let range = metadata.date_range;
        !is_itself
            && self.domain_id == wanted.domain_id
            && id_key(&self.report_id) == id_key(&metadata.report_id)
            && may_be_same_reporter(&self.org_name, &metadata.org_name)
            && periods_fit(
                (self.begin_at, self.end_at),
                self.period.as_deref().map(period_of),
                (at(range.begin), at(range.end)),
                wanted.header.peer,
            )
    }
}

/// A report id as far as parsedmarc keeps it.
fn id_key(report_id: &str) -> String {
    let plain = report_id.replace(['<', '>'], "");
    plain
        .split('@')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Reports that may be twins have the same.
pub(crate) fn twins_uid(header: &Header) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"twins");
    hash.update(header.policy_published.domain.as_bytes());
    hash.update([0]);
    hash.update(id_key(&header.report_metadata.report_id));
    let digest = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    Uuid::from_bytes(first)
}

/// parsedmarc keeps `Mail.Example.com` as `example.com`, and names of more than a word as they are.
fn may_be_same_reporter(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let is_below = |long: &str, short: &str| {
        long.strip_suffix(short)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    one == other || is_below(&one, &other) || is_below(&other, &one)
}

type Period = (OffsetDateTime, OffsetDateTime);

fn periods_fit(one: Period, one_is: Option<Peer>, other: Period, other_is: Option<Peer>) -> bool {
    let is_inside = |inner: Period, outer: Period| inner.0 >= outer.0 && inner.1 <= outer.1;
    let (begin_off, end_off) = (one.0 - other.0, one.1 - other.1);
    let is_a_zone = begin_off.abs() <= ZONE_MAX
        && begin_off.whole_seconds() % ZONE_STEP_SECS == 0
        && (end_off - begin_off).abs() <= SUMMER_TIME;
    match (one_is, other_is) {
        (Some(Peer::Inside), Some(Peer::Inside)) => one == other,
        (Some(Peer::Inside), _) => is_inside(one, other),
        (_, Some(Peer::Inside)) => is_inside(other, one),
        (Some(Peer::LocalTime), _) | (_, Some(Peer::LocalTime)) => is_a_zone,
        (None | Some(Peer::Exact), None | Some(Peer::Exact)) => one == other,
    }
}

fn period_word(peer: Peer) -> &'static str {
    match peer {
        Peer::Exact => "exact",
        Peer::LocalTime => "local_time",
        Peer::Inside => "inside",
    }
}

fn period_of(word: &str) -> Peer {
    match word {
        "exact" => Peer::Exact,
        "inside" => Peer::Inside,
        // A constraint admits no fourth.
        _ => Peer::LocalTime,
    }
}

/// Finds those of the reports that are stored in another form, by their ids.
pub(crate) async fn find_twins(
    connection: &mut PgConnection,
    wanted: &[Wanted<'_>],
) -> Result<HashMap<Uuid, Twin>, Error> {
    let (of_peers, plain): (Vec<Wanted<'_>>, Vec<Wanted<'_>>) = wanted
        .iter()
        .partition(|wanted| wanted.header.peer.is_some());
    let mut twins = HashMap::new();
    let mut take = |wanted: &[Wanted<'_>], found: &[Twin]| {
        for wanted in wanted {
            if let Some(twin) = found.iter().find(|twin| twin.is_twin_of(wanted)) {
                twins.insert(report_uid(wanted.header), twin.clone());
            }
        }
    };
    if !plain.is_empty() {
        take(&plain, &kept_by_peers(connection, &plain).await?);
    }
    for wanted in of_peers {
        take(&[wanted], &kept_at_all(connection, &wanted).await?);
    }
    Ok(twins)
}

/// Reports from other programs with the ids and domains of these. There are mostly none at all.
async fn kept_by_peers(
    connection: &mut PgConnection,
    wanted: &[Wanted<'_>],
) -> Result<Vec<Twin>, Error> {
    let domain_ids: Vec<i64> = wanted.iter().map(|wanted| wanted.domain_id).collect();
    let id_keys: Vec<String> = wanted
        .iter()
        .map(|wanted| id_key(&wanted.header.report_metadata.report_id))
        .collect();
    // Asked first, since the tables of all months would have to be made ready for the join.
    let kept_count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from peer_reports
        where domain_id = any($1)
            and id_key = any($2)
        "#,
        &domain_ids,
        &id_keys
    );
    if kept_count.fetch_one(&mut *connection).await? == 0 {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as!(
        Twin,
        r#"
        select
            r.report_uid, r.delivery_id, r.domain_id, r.org_name, r.report_id, r.begin_at, r.end_at,
            r.message_count, r.dmarc_pass_count, p.period as "period?"
        from peer_reports p
        join reports r on r.domain_id = p.domain_id and r.report_uid = p.report_uid and r.day = p.day
        where p.domain_id = any($1)
            and p.id_key = any($2)
        "#,
        &domain_ids,
        &id_keys
    )
    .fetch_all(connection)
    .await?)
}

/// Reports of any origin with the id and the domain of this one, of days about its own.
async fn kept_at_all(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
) -> Result<Vec<Twin>, Error> {
    let around = match wanted.header.peer {
        None | Some(Peer::Exact) => Duration::DAY,
        Some(Peer::LocalTime) => Duration::days(2),
        // What is left out may be most of a month.
        Some(Peer::Inside) => Duration::days(35),
    };
    let day = day_of(wanted.header);
    let first = day.checked_sub(around).unwrap_or(Date::MIN);
    let last = day.checked_add(around).unwrap_or(Date::MAX);
    let id_key = id_key(&wanted.header.report_metadata.report_id);
    Ok(sqlx::query_as!(
        Twin,
        r#"
        select
            r.report_uid, r.delivery_id, r.domain_id, r.org_name, r.report_id, r.begin_at, r.end_at,
            r.message_count, r.dmarc_pass_count, p.period as "period?"
        from reports r
        left join peer_reports p on p.domain_id = r.domain_id and p.report_uid = r.report_uid and p.day = r.day
        where r.domain_id = $1
            and r.day between $2 and $3
            and trim(split_part(translate(r.report_id, '<>', ''), '@', 1)) = $4
        "#,
        wanted.domain_id,
        first,
        last,
        id_key
    )
    .fetch_all(connection)
    .await?)
}

/// Notes that a report was read from the output of another program, if it was.
pub(crate) async fn remember_peer(
    connection: &mut PgConnection,
    stored: Wanted<'_>,
) -> Result<(), Error> {
    let Some(peer) = stored.header.peer else {
        return Ok(());
    };
    sqlx::query!(
        r#"
        insert into peer_reports (domain_id, id_key, report_uid, day, period)
        values ($1, $2, $3, $4, $5)
        on conflict do nothing
        "#,
        stored.domain_id,
        id_key(&stored.header.report_metadata.report_id),
        report_uid(stored.header),
        day_of(stored.header),
        period_word(peer)
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn ids_are_compared_as_far_as_they_are_kept() {
        assert_eq!(id_key("<a-1@host>"), "a-1");
        assert_eq!(id_key("a-1"), "a-1");
        assert_eq!(id_key("a<b>c"), "abc");
    }

    #[test]
    fn reporters_are_compared_as_far_as_they_are_kept() {
        assert!(may_be_same_reporter("Mail.Example.com", "example.com"));
        assert!(may_be_same_reporter("example.com", "EXAMPLE.com"));
        assert!(!may_be_same_reporter("badexample.com", "example.com"));
        assert!(!may_be_same_reporter("Example Ltd", "example.com"));
    }

    #[test]
    fn periods_fit_as_far_as_they_are_known() {
        let day = (
            datetime!(2024-03-01 0:00 UTC),
            datetime!(2024-03-01 23:59:59 UTC),
        );
        let moved = |hours| {
            (
                day.0 + Duration::hours(hours),
                day.1 + Duration::hours(hours),
            )
        };
        let fit = |one, one_is, other| periods_fit(one, one_is, other, None);
        assert!(fit(day, Some(Peer::Exact), day));
        assert!(!fit(moved(1), Some(Peer::Exact), day));
        assert!(fit(moved(-8), Some(Peer::LocalTime), day));
        assert!(
            !fit(moved(24), Some(Peer::LocalTime), day),
            "the next day is another report"
        );
        let minutes = |minutes| (day.0 + Duration::minutes(minutes), day.1);
        assert!(!fit(minutes(7), Some(Peer::LocalTime), day));
        assert!(fit((moved(2).0, moved(-2).1), Some(Peer::Inside), day));
        assert!(!fit((moved(-2).0, day.1), Some(Peer::Inside), day));
    }
}
