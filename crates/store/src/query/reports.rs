//! Reports and their records, one by one.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{Error, Store, Visible, elements::Elements, record_block::BLOCK_RECORDS_MAX};

/// A stored report without its records.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of the table reports, where they are described"
)]
pub struct ReportRow {
    pub report_uid: Uuid,
    pub domain: String,
    pub domain_as_reported: Option<String>,
    pub org_name: String,
    pub email: Option<String>,
    pub extra_contact_info: Option<String>,
    pub report_id: String,
    pub begin_at: OffsetDateTime,
    pub end_at: OffsetDateTime,
    pub day: Date,
    pub day_count: i32,
    pub p: Option<String>,
    pub sp: Option<String>,
    pub np: Option<String>,
    pub adkim: Option<String>,
    pub aspf: Option<String>,
    pub pct: Option<i16>,
    pub fo: Option<String>,
    pub testing: Option<bool>,
    pub discovery_method: Option<String>,
    pub version: Option<String>,
    pub xml_namespace: Option<String>,
    pub generator: Option<String>,
    pub errors: Vec<String>,
    pub warnings: Value,
    pub content_sha256: Vec<u8>,
    pub record_count: i64,
    pub skipped_count: i64,
    pub message_count: i64,
    pub dmarc_pass_count: i64,
    pub received_at: OffsetDateTime,
    pub delivery_id: Uuid,
    pub mail_from_domain: Option<String>,
    pub mail_dkim_domains: Option<Vec<String>>,
    pub mail_dmarc_pass: Option<bool>,
}

/// Which reports to list: those of the latest days first.
#[derive(Clone, Debug, Default)]
pub struct ReportFilter {
    /// Only of these policy domains.
    pub visible: Visible,
    /// Only of this policy domain.
    pub domain_id: Option<i64>,
    /// Only of this reporter.
    pub org_name: Option<String>,
    /// Only those whose mail was, or was not, shown to come from where it says.
    pub mail_dmarc_pass: Option<bool>,
    /// Only from this day on.
    pub from: Option<Date>,
    /// Only up to this day.
    pub to: Option<Date>,
    /// Only what comes after this place: the day and id of the last one seen.
    pub after: Option<(Date, Uuid)>,
}

/// A stored record.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of the table records, where they are described"
)]
pub struct RecordRow {
    pub position: i32,
    pub source_ip: String,
    pub message_count: i64,
    pub disposition: Option<String>,
    pub dkim_aligned: Option<bool>,
    pub spf_aligned: Option<bool>,
    pub reasons: Option<Value>,
    pub header_from: Option<String>,
    pub envelope_from: Option<String>,
    pub envelope_to: Option<String>,
    pub dkim: Option<Value>,
    pub spf: Option<Value>,
    pub odd_values: Option<Value>,
}

impl Store {
    /// Lists reports, those of the latest days first.
    pub async fn reports(
        &self,
        filter: &ReportFilter,
        limit: i64,
    ) -> Result<Vec<ReportRow>, Error> {
        Ok(sqlx::query_as!(
            ReportRow,
            r#"
            select
                p.report_uid, d.name as domain, p.domain_as_reported, p.org_name, p.email, p.extra_contact_info, p.report_id,
                p.begin_at, p.end_at, p.day, p.day_count, p.p, p.sp, p.np, p.adkim, p.aspf, p.pct, p.fo, p.testing,
                p.discovery_method, p.version, p.xml_namespace, p.generator, p.errors, p.warnings, p.content_sha256,
                p.record_count, p.skipped_count, p.message_count, p.dmarc_pass_count, p.received_at, p.delivery_id,
                p.mail_from_domain, p.mail_dkim_domains, p.mail_dmarc_pass
            from reports p
            join domains d on d.domain_id = p.domain_id
            where ($1::bigint is null or p.domain_id = $1)
                and ($2::text is null or p.org_name = $2)
                and ($3::date is null or p.day >= $3)
                and ($4::date is null or p.day <= $4)
                and ($5::date is null or (p.day, p.report_uid) < ($5, $6))
                and ($7::boolean is null or p.mail_dmarc_pass = $7)
                and ($9::bigint[] is null or p.domain_id = any($9))
            order by p.day desc, p.report_uid desc
            limit $8
            "#,
            filter.domain_id,
            filter.org_name,
            filter.from,
            filter.to,
            filter.after.map(|(day, _)| day),
            filter.after.map(|(_, report_uid)| report_uid),
            filter.mail_dmarc_pass,
            limit,
            filter.visible.domain_ids()
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// One report.
    pub async fn report(&self, report_uid: Uuid) -> Result<Option<ReportRow>, Error> {
        Ok(sqlx::query_as!(
            ReportRow,
            r#"
            select
                p.report_uid, d.name as domain, p.domain_as_reported, p.org_name, p.email, p.extra_contact_info, p.report_id,
                p.begin_at, p.end_at, p.day, p.day_count, p.p, p.sp, p.np, p.adkim, p.aspf, p.pct, p.fo, p.testing,
                p.discovery_method, p.version, p.xml_namespace, p.generator, p.errors, p.warnings, p.content_sha256,
                p.record_count, p.skipped_count, p.message_count, p.dmarc_pass_count, p.received_at, p.delivery_id,
                p.mail_from_domain, p.mail_dkim_domains, p.mail_dmarc_pass
            from reports p
            join domains d on d.domain_id = p.domain_id
            where p.report_uid = $1
            "#,
            report_uid
        )
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Records of a report in its order, those after `after`. `day` is that of the report: it finds the partition.
    pub async fn records(
        &self,
        report_uid: Uuid,
        day: Date,
        after: Option<i32>,
        limit: i64,
    ) -> Result<Vec<RecordRow>, Error> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let mut after = after;
        let mut records: Vec<RecordRow> = Vec::new();
        while records.len() < limit {
            let room = limit - records.len();
            // The first of them may hold records up to `after`.
            let block_count = room.div_ceil(BLOCK_RECORDS_MAX) + 1;
            let blocks = self
                .record_blocks(report_uid, day, after, block_count as i64)
                .await?;
            let new = blocks.iter().flat_map(RecordBlock::records);
            let new = new.filter(|record| after.is_none_or(|after| record.position > after));
            records.extend(new.take(room));
            if blocks.len() < block_count {
                break;
            }
            after = records.last().map(|record| record.position).or(after);
        }
        Ok(records)
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
                first_position,
                source_ips as "source_ips: Elements<IpAddr>",
                message_counts as "message_counts: Elements<i64>",
                result_numbers as "result_numbers: Elements<i16>",
                positions as "positions: Elements<i32>",
                results as "results: Json<Vec<RecordResult>>"
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
            limit
        )
        .fetch_all(&self.pool)
        .await?)
    }
}

/// A row of `record_blocks` as it is read.
pub(super) struct RecordBlock {
    pub(super) first_position: i32,
    pub(super) source_ips: Elements<IpAddr>,
    pub(super) message_counts: Elements<i64>,
    pub(super) result_numbers: Elements<i16>,
    pub(super) positions: Option<Elements<i32>>,
    pub(super) results: Json<Vec<RecordResult>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RecordResult {
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    disposition: Option<String>,
    header_from: Option<String>,
    envelope_from: Option<String>,
    envelope_to: Option<String>,
    reasons: Option<Value>,
    dkim: Option<Value>,
    spf: Option<Value>,
    odd_values: Option<Value>,
}

impl RecordBlock {
    pub(super) fn records(&self) -> impl Iterator<Item = RecordRow> {
        let numbers = self.result_numbers.0.iter();
        let columns = self.source_ips.0.iter().zip(&self.message_counts.0);
        columns.zip(numbers).enumerate().filter_map(
            |(place, ((source_ip, message_count), number))| {
                let position = match &self.positions {
                    Some(positions) => *positions.0.get(place)?,
                    None => self.first_position + place as i32,
                };
                let result = self.results.get((*number as usize).checked_sub(1)?)?;
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
