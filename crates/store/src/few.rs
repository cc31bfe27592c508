//! A few records in one statement.
//!
//! COPY is the fastest way for many rows. For a few it costs round trips, and over TCP each one a delayed acknowledgement
//! of some 40 ms, because sqlx 0.9.0 does not set TCP_NODELAY (sqlx#4335): 101 ms an upload against 9 over a Unix socket.

use std::net::IpAddr;

use report::{Disposition, OddValue, Record};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use sqlx::{PgConnection, types::Json};
use time::Date;
use uuid::Uuid;

use crate::{
    Error,
    copy::ReportKey,
    json::{DkimJson, ReasonJson, SpfJson},
    report_row::iso_day,
    rollup::{PartialSum, partial_sums},
};

/// Up to so many records go this way.
pub(crate) const FEW_RECORDS: usize = 200;

/// Writes the records of new reports, and the rollup of those whose period is one day.
pub(crate) async fn insert_few<'a>(
    connection: &mut PgConnection,
    reports: impl Iterator<Item = (ReportKey, &'a [Record])> + Clone,
    one_day: impl Iterator<Item = (ReportKey, &'a [Record])>,
) -> Result<(), Error> {
    let records: Vec<RecordRow<'_>> = reports
        .flat_map(|(key, records)| {
            records
                .iter()
                .map(move |record| RecordRow::new(key, record))
        })
        .collect();
    let source_days: Vec<SourceDayRow<'_>> = one_day
        .flat_map(|(key, records)| {
            partial_sums(records)
                .into_iter()
                .map(move |sum| SourceDayRow::new(key, &sum))
        })
        .collect();
    sqlx::query!(
        r#"
        with new_records as (
            insert into records (
                domain_id, message_count, position, day, report_uid, dkim_aligned, spf_aligned, source_ip,
                disposition, header_from, envelope_from, envelope_to, reasons, dkim, spf, odd_values
            )
            select
                domain_id, message_count, position, day, report_uid, dkim_aligned, spf_aligned, source_ip,
                disposition, header_from, envelope_from, envelope_to, reasons, dkim, spf, odd_values
            from jsonb_populate_recordset(null::records, $1)
        )
        insert into source_days (
            domain_id, message_count, day, report_count, source_report_count,
            dkim_aligned, spf_aligned, source_ip, disposition, header_from
        )
        select
            domain_id, message_count, day, report_count, source_report_count,
            dkim_aligned, spf_aligned, source_ip, disposition, header_from
        from jsonb_populate_recordset(null::source_days, $2)
        "#,
        Json(records) as _,
        Json(source_days) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A row of `records`. Lists that are empty are null.
#[derive(Serialize)]
struct RecordRow<'a> {
    domain_id: i64,
    message_count: u64,
    position: u32,
    #[serde(serialize_with = "iso_day")]
    day: Date,
    report_uid: Uuid,
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    source_ip: IpAddr,
    disposition: Option<Disposition>,
    header_from: Option<&'a str>,
    envelope_from: Option<&'a str>,
    envelope_to: Option<&'a str>,
    #[serde(serialize_with = "list::<ReasonJson<'_>, _, _>")]
    reasons: &'a [report::Reason],
    #[serde(serialize_with = "list::<DkimJson<'_>, _, _>")]
    dkim: &'a [report::DkimAuthResult],
    #[serde(serialize_with = "list::<SpfJson<'_>, _, _>")]
    spf: &'a [report::SpfAuthResult],
    #[serde(serialize_with = "list::<&OddValue, _, _>")]
    odd_values: &'a [OddValue],
}

impl<'a> RecordRow<'a> {
    fn new(key: ReportKey, record: &'a Record) -> Self {
        Self {
            domain_id: key.domain_id,
            message_count: record.message_count,
            position: record.position,
            day: key.day,
            report_uid: key.report_uid,
            dkim_aligned: record.dkim_aligned,
            spf_aligned: record.spf_aligned,
            source_ip: record.source_ip,
            disposition: record.disposition,
            header_from: record.header_from.as_deref(),
            envelope_from: record.envelope_from.as_deref(),
            envelope_to: record.envelope_to.as_deref(),
            reasons: &record.reasons,
            dkim: &record.dkim,
            spf: &record.spf,
            odd_values: &record.odd_values,
        }
    }
}

/// A row of `source_days`.
#[derive(Serialize)]
struct SourceDayRow<'a> {
    domain_id: i64,
    message_count: u64,
    #[serde(serialize_with = "iso_day")]
    day: Date,
    report_count: i32,
    source_report_count: i32,
    dkim_aligned: Option<bool>,
    spf_aligned: Option<bool>,
    source_ip: IpAddr,
    disposition: Option<Disposition>,
    header_from: Option<&'a str>,
}

impl<'a> SourceDayRow<'a> {
    fn new(key: ReportKey, sum: &PartialSum<'a>) -> Self {
        Self {
            domain_id: key.domain_id,
            message_count: sum.message_count,
            day: key.day,
            report_count: 1,
            source_report_count: i32::from(sum.counts_source),
            dkim_aligned: sum.key.dkim_aligned,
            spf_aligned: sum.key.spf_aligned,
            source_ip: sum.key.source_ip,
            disposition: sum.key.disposition,
            header_from: sum.key.header_from,
        }
    }
}

fn list<'a, J, T, S>(items: &&'a [T], serializer: S) -> Result<S::Ok, S::Error>
where
    J: Serialize + From<&'a T>,
    S: Serializer,
{
    if items.is_empty() {
        return serializer.serialize_none();
    }
    let mut list = serializer.serialize_seq(Some(items.len()))?;
    for item in *items {
        list.serialize_element(&J::from(item))?;
    }
    list.end()
}
