//! The records of one source, over many reports.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use sqlx::types::Json;
use time::Date;
use uuid::Uuid;

use super::reports::{RecordBlock, RecordResult, RecordRow};
use crate::{Error, Store, elements::Elements, query::Range};

/// A record, and the report it is from.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    /// The report.
    pub report_uid: Uuid,
    /// Its day.
    pub day: Date,
    /// Its reporter.
    pub org_name: String,
    /// The record.
    pub record: RecordRow,
}

/// The place of a record in such a list: day and id of its report, and its position there.
pub type SourceRecordKey = (Date, Uuid, i32);

/// So many days are looked at first; then twice as many, and so on: a source that sends every day fills a page from one.
const FIRST_DAYS: usize = 1;

/// The records of one source in one domain.
#[derive(Clone, Copy)]
struct Place {
    domain_id: i64,
    source_ip: IpAddr,
}

impl Store {
    /// The records of a source in the reports of a domain, those of the latest days first.
    pub async fn source_records(
        &self,
        domain_id: i64,
        source_ip: IpAddr,
        range: Range,
        after: Option<SourceRecordKey>,
        limit: i64,
    ) -> Result<Vec<SourceRecord>, Error> {
        let range = Range {
            to: after.map_or(range.to, |(day, ..)| range.to.min(day)),
            ..range
        };
        let place = Place {
            domain_id,
            source_ip,
        };
        let days = self.days_of_source(place, range).await?;
        let mut days = days.as_slice();
        let mut records = Vec::new();
        let mut count = FIRST_DAYS;
        let limit = usize::try_from(limit).unwrap_or(0);
        while records.len() < limit && !days.is_empty() {
            let (next, rest) = days.split_at(count.min(days.len()));
            self.add_source_records(place, next, after, limit, &mut records)
                .await?;
            days = rest;
            count *= 2;
        }
        Ok(records)
    }

    /// Days of reports that may have records of a source, the latest first: those on which the rollup counts it, and those
    /// of reports over many days, which the rollup counts on other days too.
    async fn days_of_source(&self, place: Place, range: Range) -> Result<Vec<Date>, Error> {
        Ok(sqlx::query_scalar!(
            r#"
            select day as "day!"
            from source_day_rows
            where domain_id = $1
                and day between $2 and $3
                and first_source <= $4::text::inet
                and last_source >= $4::text::inet
                and $4::text::inet = any(source_ips)
            union
            select day
            from reports
            where domain_id = $1
                and day between $2 and $3
                and day_count > 1
            order by 1 desc
            "#,
            place.domain_id,
            range.from,
            range.to,
            place.source_ip.to_string()
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Adds the records of a source in the reports of these days, until there are as many as wanted.
    async fn add_source_records(
        &self,
        place: Place,
        days: &[Date],
        after: Option<SourceRecordKey>,
        limit: usize,
        records: &mut Vec<SourceRecord>,
    ) -> Result<(), Error> {
        let address = place.source_ip.to_string();
        // Each row has such a record; all that the first one has may be on the page before.
        let row_count = limit.saturating_sub(records.len()) + 1;
        let mut rows = sqlx::query!(
            r#"
            select
                p.report_uid,
                p.day,
                p.org_name,
                b.first_position,
                b.source_ips as "source_ips: Elements<IpAddr>",
                b.message_counts as "message_counts: Elements<i64>",
                b.result_numbers as "result_numbers: Elements<i16>",
                b.positions as "positions: Elements<i32>",
                b.results as "results: Json<Vec<RecordResult>>"
            from reports p
            join record_blocks b
                on b.domain_id = p.domain_id and b.report_uid = p.report_uid and b.day = p.day
            where p.domain_id = $1
                and p.day = any($2)
                and b.day = any($2)
                and $3::text::inet = any(b.source_ips)
                and (
                    $4::date is null
                    or (p.day, p.report_uid) < ($4, $5)
                    or (
                        (p.day, p.report_uid) = ($4, $5)
                        and coalesce(
                            b.positions[cardinality(b.positions)],
                            b.first_position + cardinality(b.source_ips) - 1
                        ) > $6
                    )
                )
            order by p.day desc, p.report_uid desc, b.first_position
            limit $7
            "#,
            place.domain_id,
            days,
            address,
            after.map(|(day, ..)| day),
            after.map(|(_, report_uid, _)| report_uid),
            after.map(|(.., position)| position),
            i64::try_from(row_count).unwrap_or(i64::MAX)
        )
        .fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            let block = RecordBlock {
                first_position: row.first_position,
                source_ips: row.source_ips,
                message_counts: row.message_counts,
                result_numbers: row.result_numbers,
                positions: row.positions,
                results: row.results,
            };
            let seen = after.and_then(|(_, report_uid, position)| {
                (report_uid == row.report_uid).then_some(position)
            });
            let room = limit.saturating_sub(records.len());
            records.extend(
                block
                    .records()
                    .filter(|record| record.source_ip == address)
                    .filter(|record| seen.is_none_or(|seen| record.position > seen))
                    .take(room)
                    .map(|record| SourceRecord {
                        report_uid: row.report_uid,
                        day: row.day,
                        org_name: row.org_name.clone(),
                        record,
                    }),
            );
        }
        Ok(())
    }
}
