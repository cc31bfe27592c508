//! The records of one source, over many reports.

use std::{net::IpAddr, pin::pin};

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
        let mut blocks = pin!(
            sqlx::query!(
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
                    and p.day between $2 and $3
                    and b.day between $2 and $3
                    and $4::text::inet = any(b.source_ips)
                    and ($5::date is null or (p.day, p.report_uid) <= ($5, $6))
                    -- Of the report that the place is in, not the blocks before it.
                    and (
                        $5::date is null
                        or p.report_uid <> $6
                        or coalesce(
                            b.positions[cardinality(b.positions)], b.first_position + cardinality(b.source_ips) - 1
                        ) > $7
                    )
                order by p.day desc, p.report_uid desc, b.first_position
                limit $8
                "#,
                domain_id,
                range.from,
                range.to,
                source_ip.to_string(),
                after.map(|(day, ..)| day),
                after.map(|(_, report_uid, _)| report_uid),
                after.map(|(.., position)| position),
                // Each block has a record to show, but for the one with the place.
                limit.saturating_add(1)
            )
            .fetch(&self.pool)
        );
        let address = source_ip.to_string();
        let limit = usize::try_from(limit).unwrap_or(0);
        let mut records = Vec::new();
        while records.len() < limit
            && let Some(row) = blocks.try_next().await?
        {
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
            let room = limit - records.len();
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
        Ok(records)
    }
}
