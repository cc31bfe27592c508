//! The records of one source, over many reports.

use std::net::IpAddr;

use sqlx::types::Json;
use time::Date;
use uuid::Uuid;

use super::{
    page::{PAGE_BYTES_MAX, Page},
    records::{RecordBlock, RecordResult, RecordRow, Wanted},
};
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

/// A block with records of the source.
struct SourceBlock {
    org_name: String,
    /// The JSON of this block and of those that were read before it.
    bytes_through: i64,
    block: RecordBlock,
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
    ) -> Result<Page<SourceRecord>, Error> {
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
        let mut after = after;
        let mut page = Page::new(limit);
        let mut count = FIRST_DAYS;
        while page.room() > 0 && !days.is_empty() {
            let (next, rest) = days.split_at(count.min(days.len()));
            after = self
                .add_source_records(place, next, after, &mut page)
                .await?;
            days = rest;
            count *= 2;
        }
        Ok(page)
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
        .fetch_all(&self.reading)
        .await?)
    }

    /// Adds the records of a source in the reports of these days, as far as the page has room. Returns the place in the list
    /// up to which it has looked.
    async fn add_source_records(
        &self,
        place: Place,
        days: &[Date],
        mut after: Option<SourceRecordKey>,
        page: &mut Page<SourceRecord>,
    ) -> Result<Option<SourceRecordKey>, Error> {
        while page.room() > 0 {
            // Each block has such a record; all that the first one has may be on the page before.
            let block_count = page.room() + 1;
            let blocks = self
                .blocks_of_source(place, days, after, block_count as i64)
                .await?;
            let mut is_last = blocks.len() < block_count;
            for SourceBlock {
                org_name,
                bytes_through,
                block,
            } in blocks
            {
                let seen = after.filter(|(_, report_uid, _)| *report_uid == block.report_uid);
                let wanted = Wanted {
                    after: seen.map(|(.., position)| position),
                    source_ip: Some(place.source_ip),
                };
                self.add_records(&block, wanted, page, |record| SourceRecord {
                    report_uid: block.report_uid,
                    day: block.day,
                    org_name: org_name.clone(),
                    record,
                })
                .await?;
                after = Some((block.day, block.report_uid, block.last_position()));
                is_last &= bytes_through <= PAGE_BYTES_MAX as i64;
            }
            if is_last {
                break;
            }
        }
        Ok(after)
    }

    /// Blocks with records of a source: so many, or so many that they fill a page.
    async fn blocks_of_source(
        &self,
        place: Place,
        days: &[Date],
        after: Option<SourceRecordKey>,
        limit: i64,
    ) -> Result<Vec<SourceBlock>, Error> {
        Ok(sqlx::query!(
            r#"
            with found as materialized (
                select
                    p.report_uid, p.day, p.org_name, b.first_position, b.source_ips, b.message_counts, b.result_numbers,
                    b.positions, b.results
                from reports p
                join record_blocks b on b.domain_id = p.domain_id and b.report_uid = p.report_uid and b.day = p.day
                where p.domain_id = $1
                    and p.day = any($2) and b.day = any($2)
                    and $3::text::inet = any(b.source_ips)
                    and (
                        $4::date is null
                        or (p.day, p.report_uid) < ($4, $5)
                        or (
                            (p.day, p.report_uid) = ($4, $5)
                            and coalesce(
                                b.positions[cardinality(b.positions)], b.first_position + cardinality(b.source_ips) - 1
                            ) > $6
                        )
                    )
                order by p.day desc, p.report_uid desc, b.first_position
                limit $7
            )
            select
                report_uid as "report_uid!", day as "day!", org_name as "org_name!", first_position as "first_position!",
                source_ips as "source_ips!: Elements<IpAddr>", message_counts as "message_counts!: Elements<i64>",
                result_numbers as "result_numbers!: Elements<i16>", positions as "positions?: Elements<i32>",
                case when bytes <= $8 then results end as "results?: Json<Vec<RecordResult>>",
                bytes_through as "bytes_through!"
            from (
                select *, sum(bytes) over (order by day desc, report_uid desc, first_position) as bytes_through
                from (select *, octet_length(results::text) as bytes from found) as measured
            ) as counted
            where bytes_through - bytes <= $8
            order by day desc, report_uid desc, first_position
            "#,
            place.domain_id,
            days,
            place.source_ip.to_string(),
            after.map(|(day, ..)| day),
            after.map(|(_, report_uid, _)| report_uid),
            after.map(|(.., position)| position),
            limit,
            PAGE_BYTES_MAX as i64
        )
        .map(|row| SourceBlock {
            org_name: row.org_name,
            bytes_through: row.bytes_through,
            block: RecordBlock {
                report_uid: row.report_uid,
                day: row.day,
                first_position: row.first_position,
                source_ips: row.source_ips,
                message_counts: row.message_counts,
                result_numbers: row.result_numbers,
                positions: row.positions,
                results: row.results,
            },
        })
        .fetch_all(&self.reading)
        .await?)
    }
}
