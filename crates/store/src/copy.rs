//! Rows in PostgreSQL's binary COPY format, built without an allocation per field.

use std::net::IpAddr;

use report::{Disposition, OddValue, Record};
use serde::Serialize;
use sqlx::PgConnection;
use time::{Date, macros::date};
use uuid::Uuid;

use crate::{
    Error,
    json::{DkimJson, ReasonJson, SpfJson},
    rollup::{PartialSum, partial_sums},
};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Bytes sent at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// The report a record belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportKey {
    pub(crate) domain_id: i64,
    pub(crate) report_uid: Uuid,
    pub(crate) day: Date,
}

/// Writes the records of new reports.
pub(crate) async fn copy_records<'a>(
    connection: &mut PgConnection,
    reports: impl Iterator<Item = (ReportKey, &'a [Record])>,
) -> Result<(), Error> {
    let mut copy = connection
        .copy_in_raw(
            "copy records (domain_id, message_count, position, day, report_uid, dkim_aligned, spf_aligned, source_ip, \
             disposition, header_from, envelope_from, envelope_to, reasons, dkim, spf, odd_values) \
             from stdin (format binary)",
        )
        .await?;
    let mut rows = Rows::begin();
    for (key, records) in reports {
        for record in records {
            rows.record(key, record);
            if rows.bytes.len() >= CHUNK_BYTES {
                copy.send(rows.bytes.as_slice()).await?;
                rows.bytes.clear();
            }
        }
    }
    copy.send(rows.end()).await?;
    copy.finish().await?;
    Ok(())
}

/// Writes the rollup of new reports whose period is one day. Longer ones are spread by the view `record_days`.
pub(crate) async fn copy_source_days<'a>(
    connection: &mut PgConnection,
    reports: impl Iterator<Item = (ReportKey, &'a [Record])>,
) -> Result<(), Error> {
    let mut copy = connection
        .copy_in_raw(
            "copy source_days (domain_id, message_count, day, report_count, source_report_count, dkim_aligned, \
             spf_aligned, source_ip, disposition, header_from) from stdin (format binary)",
        )
        .await?;
    let mut rows = Rows::begin();
    for (key, records) in reports {
        for sum in partial_sums(records) {
            rows.source_day(key, &sum);
        }
        if rows.bytes.len() >= CHUNK_BYTES {
            copy.send(rows.bytes.as_slice()).await?;
            rows.bytes.clear();
        }
    }
    copy.send(rows.end()).await?;
    copy.finish().await?;
    Ok(())
}

/// Rows being encoded.
struct Rows {
    bytes: Vec<u8>,
}

impl Rows {
    fn begin() -> Self {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        bytes.extend_from_slice(HEADER);
        Self { bytes }
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&TRAILER);
        self.bytes
    }

    fn record(&mut self, key: ReportKey, record: &Record) {
        self.fields(16);
        self.i64(key.domain_id);
        self.i64(record.message_count as i64);
        self.i32(record.position as i32);
        self.day(key.day);
        self.uuid(key.report_uid);
        self.flag(record.dkim_aligned);
        self.flag(record.spf_aligned);
        self.inet(record.source_ip);
        self.text(record.disposition.map(Disposition::as_str));
        self.text(record.header_from.as_deref());
        self.text(record.envelope_from.as_deref());
        self.text(record.envelope_to.as_deref());
        self.jsonb(record.reasons.iter().map(ReasonJson::from));
        self.jsonb(record.dkim.iter().map(DkimJson::from));
        self.jsonb(record.spf.iter().map(SpfJson::from));
        self.jsonb(record.odd_values.iter().map(|odd: &OddValue| odd));
    }

    fn source_day(&mut self, key: ReportKey, sum: &PartialSum<'_>) {
        self.fields(10);
        self.i64(key.domain_id);
        self.i64(sum.message_count as i64);
        self.day(key.day);
        self.i32(1);
        self.i32(i32::from(sum.counts_source));
        self.flag(sum.key.dkim_aligned);
        self.flag(sum.key.spf_aligned);
        self.inet(sum.key.source_ip);
        self.text(sum.key.disposition.map(Disposition::as_str));
        self.text(sum.key.header_from);
    }

    fn fields(&mut self, count: i16) {
        self.bytes.extend_from_slice(&count.to_be_bytes());
    }

    fn field(&mut self, value: &[u8]) {
        self.bytes
            .extend_from_slice(&(value.len() as i32).to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    fn day(&mut self, day: Date) {
        const EPOCH: i32 = date!(2000 - 01 - 01).to_julian_day();
        self.i32(day.to_julian_day() - EPOCH);
    }

    fn uuid(&mut self, value: Uuid) {
        self.field(value.as_bytes());
    }

    fn flag(&mut self, value: Option<bool>) {
        match value {
            Some(value) => self.field(&[u8::from(value)]),
            None => self.null(),
        }
    }

    fn text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.field(value.as_bytes()),
            None => self.null(),
        }
    }

    /// Address family (2 or 3), prefix length, not a network, length, address.
    fn inet(&mut self, value: IpAddr) {
        match value {
            IpAddr::V4(value) => {
                self.bytes.extend_from_slice(&[0, 0, 0, 8, 2, 32, 0, 4]);
                self.bytes.extend_from_slice(&value.octets());
            }
            IpAddr::V6(value) => {
                self.bytes.extend_from_slice(&[0, 0, 0, 20, 3, 128, 0, 16]);
                self.bytes.extend_from_slice(&value.octets());
            }
        }
    }

    /// A JSON array behind the version byte of jsonb; an empty one is null.
    fn jsonb<T: Serialize>(&mut self, values: impl ExactSizeIterator<Item = T>) {
        if values.len() == 0 {
            return self.null();
        }
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[1, b'[']);
        for (number, value) in values.enumerate() {
            if number > 0 {
                self.bytes.push(b',');
            }
            serde_json::to_writer(&mut self.bytes, &value)
                .expect("plain strings go into a growing buffer");
        }
        self.bytes.push(b']');
        let length = (self.bytes.len() - length_at - 4) as i32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }
}
