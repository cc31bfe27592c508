//! Records, as they came.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use time::Date;
use uuid::Uuid;

use crate::{
    Error, Store,
    elements::Elements,
    query::page::{PAGE_BYTES_MAX, Page, json_bytes, text_bytes},
    record_block::BLOCK_RECORDS_MAX,
};

/// A stored record.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of the view records, where they are described"
)]
pub struct RecordRow {
    pub position: i32,
    pub source_ip: String,
    pub message_count: i64,
    pub disposition: Option<String>,
    pub dkim_aligned: Option<bool>,
    pub spf_aligned: Option<bool>,
    pub reasons: Option<Box<RawValue>>,
    pub header_from: Option<String>,
    pub envelope_from: Option<String>,
    pub envelope_to: Option<String>,
    pub dkim: Option<Box<RawValue>>,
    pub spf: Option<Box<RawValue>>,
    pub odd_values: Option<Box<RawValue>>,
}

impl RecordRow {
    /// What it takes in a page: its texts and lists.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.header_from, &self.envelope_from, &self.envelope_to];
        let lists = [&self.reasons, &self.dkim, &self.spf, &self.odd_values];
        let lists = lists.into_iter().flatten();
        texts.into_iter().map(text_bytes).sum::<usize>()
            + lists.map(|list| json_bytes(list.get())).sum::<usize>()
    }
}

/// A row of `record_blocks` as it is read.
pub(super) struct RecordBlock {
    pub(super) report_uid: Uuid,
    pub(super) day: Date,
    pub(super) first_position: i32,
    pub(super) source_ips: Elements<IpAddr>,
    pub(super) message_counts: Elements<i64>,
    pub(super) result_numbers: Elements<i16>,
    pub(super) positions: Option<Elements<i32>>,
    /// `None` where they are too large to be held.
    pub(super) results: Option<Json<Vec<RecordResult>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RecordResult {
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    disposition: Option<String>,
    header_from: Option<String>,
    envelope_from: Option<String>,
    envelope_to: Option<String>,
    reasons: Option<Box<RawValue>>,
    dkim: Option<Box<RawValue>>,
    spf: Option<Box<RawValue>>,
    odd_values: Option<Box<RawValue>>,
}

/// Which records of a block are wanted.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    /// Only those after this position.
    pub(super) after: Option<i32>,
    /// Only those of this source.
    pub(super) source_ip: Option<IpAddr>,
}

impl Wanted {
    fn holds(&self, position: i32, source_ip: IpAddr) -> bool {
        self.after.is_none_or(|after| position > after)
            && self.source_ip.is_none_or(|wanted| wanted == source_ip)
    }
}

impl RecordBlock {
    pub(super) fn last_position(&self) -> i32 {
        match &self.positions {
            Some(positions) => positions.0.last().copied(),
            None => Some(self.first_position + self.source_ips.0.len() as i32 - 1),
        }
        .unwrap_or(self.first_position)
    }

    fn records(&self, results: &[RecordResult], wanted: Wanted) -> impl Iterator<Item = RecordRow> {
        let numbers = self.result_numbers.0.iter();
        let columns = self.source_ips.0.iter().zip(&self.message_counts.0);
        columns.zip(numbers).enumerate().filter_map(
            move |(place, ((source_ip, message_count), number))| {
                let position = match &self.positions {
                    Some(positions) => *positions.0.get(place)?,
                    None => self.first_position + place as i32,
                };
                if !wanted.holds(position, *source_ip) {
                    return None;
                }
                let result = results.get((*number as usize).checked_sub(1)?)?;
                Some(RecordRow {
                    position,
                    source_ip: source_ip.to_string(),
                    message_count: *message_count,
                    disposition: result.disposition.clone(),
                    dkim_aligned: result.dkim_aligned,
                    spf_aligned: result.spf_aligned,
                    reasons: result.reasons.clone(),
                    header_from: result.header_from.clone(),
                    envelope_from: result.envelope_from.clone(),
                    envelope_to: result.envelope_to.clone(),
                    dkim: result.dkim.clone(),
                    spf: result.spf.clone(),
                    odd_values: result.odd_values.clone(),
                })
            },
        )
    }
}

impl Store {
    /// Records of a report in its order, those after `after`. `day` is that of the report: it finds the partition.
    pub async fn records(
        &self,
        report_uid: Uuid,
        day: Date,
        after: Option<i32>,
        limit: i64,
    ) -> Result<Page<RecordRow>, Error> {
        let mut wanted = Wanted {
            after,
            source_ip: None,
        };
        let mut page = Page::new(limit);
        while page.room() > 0 {
            // The first of them may hold records up to `after`.
            let block_count = page.room().div_ceil(BLOCK_RECORDS_MAX) + 1;
            let blocks = self
                .record_blocks(report_uid, day, wanted.after, block_count as i64)
                .await?;
            for block in &blocks {
                self.add_records(block, wanted, &mut page, |record| record)
                    .await?;
                wanted.after = wanted.after.max(Some(block.last_position()));
            }
            if blocks.len() < block_count {
                break;
            }
        }
        Ok(page)
    }

    /// Adds the records of a block that are wanted, as far as the page has room.
    pub(super) async fn add_records<R>(
        &self,
        block: &RecordBlock,
        wanted: Wanted,
        page: &mut Page<R>,
        row: impl Fn(RecordRow) -> R,
    ) -> Result<(), Error> {
        let large = match &block.results {
            Some(_) => Vec::new(),
            None => {
                self.records_of_large_block(block, wanted, page.room())
                    .await?
            }
        };
        let held = block.results.iter();
        let held = held.flat_map(|Json(results)| block.records(results, wanted));
        for record in held.chain(large) {
            let bytes = record.bytes();
            if !page.add(row(record), bytes) {
                break;
            }
        }
        Ok(())
    }

    /// The blocks with the records of a report after `after`. So many as asked for and no more: of a statement that is
    /// left early the connection reads the rest all the same, and there are reports with millions of records.
    async fn record_blocks(
        &self,
        report_uid: Uuid,
        day: Date,
        after: Option<i32>,
        limit: i64,
    ) -> Result<Vec<RecordBlock>, Error> {
        Ok(sqlx::query_as!(
            RecordBlock,
            r#"
            select
                report_uid,
                day,
                first_position,
                source_ips as "source_ips: Elements<IpAddr>",
                message_counts as "message_counts: Elements<i64>",
                result_numbers as "result_numbers: Elements<i16>",
                positions as "positions: Elements<i32>",
                case
                    when octet_length(results::text) <= $5 then results
                end as "results: Json<Vec<RecordResult>>"
            from record_blocks
            where report_uid = $1
                and day = $2
                and first_position >= (
                    select coalesce(max(first_position), 0)
                    from record_blocks
                    where report_uid = $1
                        and day = $2
                        and first_position <= $3
                )
            order by first_position
            limit $4
            "#,
            report_uid,
            day,
            after.map_or(0, |after| after.saturating_add(1)),
            limit,
            PAGE_BYTES_MAX as i32
        )
        .fetch_all(&self.reading)
        .await?)
    }

    /// The records that are wanted of a block which is too large to be held: PostgreSQL takes it apart. So many as asked for,
    /// or so many that they fill a page.
    async fn records_of_large_block(
        &self,
        block: &RecordBlock,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Vec<RecordRow>, Error> {
        let list = |json: Option<Json<Box<RawValue>>>| json.map(|Json(list)| list);
        Ok(sqlx::query!(
            r#"
            with wanted as materialized (
                select
                    coalesce(e.position, b.first_position + e.number::integer - 1) as position,
                    host(e.source_ip) as source_ip, e.message_count,
                    r.dkim_aligned, r.spf_aligned, r.disposition, r.header_from, r.envelope_from, r.envelope_to,
                    r.reasons, r.dkim, r.spf, r.odd_values
                from record_blocks b
                cross join lateral unnest(b.source_ips, b.message_counts, b.result_numbers, b.positions)
                    with ordinality as e (source_ip, message_count, result_number, position, number)
                join lateral record_results(b.results) r
                    on r.number = e.result_number
                where b.report_uid = $1
                    and b.day = $2
                    and b.first_position = $3
                    and coalesce(e.position, b.first_position + e.number::integer - 1) > $4
                    and ($5::text is null or host(e.source_ip) = $5)
                order by 1
                limit $6
            )
            select
                position as "position!", source_ip as "source_ip!", message_count as "message_count!",
                dkim_aligned as "dkim_aligned?", spf_aligned as "spf_aligned?", disposition as "disposition?",
                header_from as "header_from?", envelope_from as "envelope_from?", envelope_to as "envelope_to?",
                reasons as "reasons?: Json<Box<RawValue>>", dkim as "dkim?: Json<Box<RawValue>>",
                spf as "spf?: Json<Box<RawValue>>", odd_values as "odd_values?: Json<Box<RawValue>>"
            from (
                select *, sum(bytes) over (order by position) - bytes as bytes_before
                from (
                    select *, octet_length(concat(reasons, dkim, spf, odd_values)) as bytes
                    from wanted
                ) as measured
            ) as counted
            where bytes_before <= $7
            order by position
            "#,
            block.report_uid,
            block.day,
            block.first_position,
            wanted.after.unwrap_or(-1),
            wanted.source_ip.map(|address| address.to_string()),
            i64::try_from(limit).unwrap_or(i64::MAX),
            PAGE_BYTES_MAX as i64
        )
        .map(|row| RecordRow {
            position: row.position,
            source_ip: row.source_ip,
            message_count: row.message_count,
            disposition: row.disposition,
            dkim_aligned: row.dkim_aligned,
            spf_aligned: row.spf_aligned,
            reasons: list(row.reasons),
            header_from: row.header_from,
            envelope_from: row.envelope_from,
            envelope_to: row.envelope_to,
            dkim: list(row.dkim),
            spf: list(row.spf),
            odd_values: list(row.odd_values),
        })
        .fetch_all(&self.reading)
        .await?)
    }
}
