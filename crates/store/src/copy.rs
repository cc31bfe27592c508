//! Rows in PostgreSQL's binary COPY format, built without an allocation per field.

use std::net::IpAddr;

use serde::Serialize;
use sqlx::PgConnection;
use time::{Date, macros::date};
use uuid::Uuid;

use crate::{Error, record_block::RecordBlock, rollup::SourceDayBlock, unnest::json_has_nul};

/// What a binary COPY begins with.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(crate) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Bytes sent at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Something that is a row of a table.
pub(crate) trait CopyRow {
    /// The columns written, in order.
    const COLUMNS: &'static [&'static str];

    /// Writes one field for each of the columns.
    fn encode(&self, fields: &mut Fields);
}

/// Writes rows into a table.
pub(crate) async fn copy_rows<T: CopyRow>(
    connection: &mut PgConnection,
    table: &str,
    rows: impl Iterator<Item = T>,
) -> Result<(), Error> {
    let statement = format!(
        "copy {table} ({}) from stdin (format binary)",
        T::COLUMNS.join(", ")
    );
    let mut copy = connection.copy_in_raw(&statement).await?;
    let mut fields = Fields::default();
    fields.bytes.reserve(CHUNK_BYTES + CHUNK_BYTES / 8);
    fields.bytes.extend_from_slice(HEADER);
    let count = T::COLUMNS.len() as i16;
    for row in rows {
        fields.bytes.extend_from_slice(&count.to_be_bytes());
        row.encode(&mut fields);
        if fields.has_nul {
            return Err(Error::Nul);
        }
        if fields.bytes.len() >= CHUNK_BYTES {
            copy.send(fields.bytes.as_slice()).await?;
            fields.bytes.clear();
        }
    }
    fields.bytes.extend_from_slice(&TRAILER);
    copy.send(fields.bytes).await?;
    copy.finish().await?;
    Ok(())
}

impl CopyRow for RecordBlock<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "domain_id",
        "report_uid",
        "day",
        "first_position",
        "source_ips",
        "message_counts",
        "result_numbers",
        "positions",
        "results",
    ];

    fn encode(&self, fields: &mut Fields) {
        fields.value(self.domain_id);
        fields.uuid(self.report_uid);
        fields.value(self.day);
        fields.value(self.first_position);
        fields.array(&self.source_ips);
        fields.array(&self.message_counts);
        fields.array(&self.result_numbers);
        fields.array_or_null(self.positions.as_deref());
        fields.json_of_bytes(&self.results, self.json_bytes_min());
    }
}

impl CopyRow for SourceDayBlock<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "domain_id",
        "day",
        "first_source",
        "last_source",
        "sum_count",
        "source_report_count",
        "message_count",
        "dmarc_pass_count",
        "dkim_aligned_count",
        "spf_aligned_count",
        "disposition_none",
        "disposition_pass",
        "disposition_quarantine",
        "disposition_reject",
        "disposition_unknown",
        "source_ips",
        "key_numbers",
        "message_counts",
        "report_counts",
        "source_report_counts",
        "keys",
    ];

    fn encode(&self, fields: &mut Fields) {
        fields.value(self.domain_id);
        fields.value(self.day);
        fields.value(self.first_source);
        fields.value(self.last_source);
        fields.value(self.sum_count);
        fields.value(self.source_report_count);
        for total in self.totals.columns() {
            fields.value(total);
        }
        fields.array(&self.source_ips);
        fields.array(&self.key_numbers);
        fields.array(&self.message_counts);
        fields.array_or_null(self.report_counts.as_deref());
        fields.array_or_null(self.source_report_counts.as_deref());
        fields.json(&self.keys);
    }
}

/// Fields being encoded.
#[derive(Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    has_nul: bool,
}

impl Fields {
    pub(crate) fn value<T: Value>(&mut self, value: T) {
        value.put(&mut self.bytes);
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        put(&mut self.bytes, value.as_bytes());
    }

    /// One dimension, no nulls, type of the elements, length, first index, then the elements.
    pub(crate) fn array<T: Value>(&mut self, values: &[T]) {
        self.sized(|bytes| {
            let header = [1, 0, T::OID, values.len() as i32, 1];
            bytes.extend(header.into_iter().flat_map(i32::to_be_bytes));
            for value in values {
                value.put(bytes);
            }
        });
    }

    pub(crate) fn array_or_null<T: Value>(&mut self, values: Option<&[T]>) {
        match values {
            Some(values) => self.array(values),
            None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    fn json(&mut self, value: &impl Serialize) {
        let mut has_nul = false;
        self.sized(|bytes| {
            let start = bytes.len();
            serde_json::to_writer(&mut *bytes, value)
                .expect("plain values go into a growing buffer");
            has_nul = json_has_nul(&bytes[start..]);
        });
        self.has_nul |= has_nul;
    }

    /// JSON with blanks behind it, so that it has so many bytes.
    fn json_of_bytes(&mut self, value: &impl Serialize, bytes_min: usize) {
        let length_at = self.bytes.len();
        self.json(value);
        let start = length_at + 4;
        if self.bytes.len() - start < bytes_min {
            self.bytes.resize(start + bytes_min, b' ');
            self.bytes[length_at..start].copy_from_slice(&(bytes_min as i32).to_be_bytes());
        }
    }

    /// A field whose length is known once it is written.
    fn sized(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        let length = (self.bytes.len() - length_at - 4) as i32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// A type of PostgreSQL that may also be the element of an array.
pub(crate) trait Value: Copy {
    /// Its number in `pg_type`.
    const OID: i32;

    /// Writes its length and its bytes.
    fn put(self, bytes: &mut Vec<u8>);
}

fn put<const N: usize>(bytes: &mut Vec<u8>, value: &[u8; N]) {
    bytes.extend_from_slice(&(N as i32).to_be_bytes());
    bytes.extend_from_slice(value);
}

impl Value for i16 {
    const OID: i32 = 21;

    fn put(self, bytes: &mut Vec<u8>) {
        put(bytes, &self.to_be_bytes());
    }
}

impl Value for i32 {
    const OID: i32 = 23;

    fn put(self, bytes: &mut Vec<u8>) {
        put(bytes, &self.to_be_bytes());
    }
}

impl Value for i64 {
    const OID: i32 = 20;

    fn put(self, bytes: &mut Vec<u8>) {
        put(bytes, &self.to_be_bytes());
    }
}

/// Dates of PostgreSQL are days since this one.
pub(crate) const EPOCH: i32 = date!(2000 - 01 - 01).to_julian_day();

impl Value for Date {
    const OID: i32 = 1082;

    fn put(self, bytes: &mut Vec<u8>) {
        (self.to_julian_day() - EPOCH).put(bytes);
    }
}

impl Value for IpAddr {
    const OID: i32 = 869;

    /// Address family (2 or 3), prefix length, not a network, length, address.
    fn put(self, bytes: &mut Vec<u8>) {
        match self {
            IpAddr::V4(address) => {
                bytes.extend_from_slice(&[0, 0, 0, 8, 2, 32, 0, 4]);
                bytes.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes.extend_from_slice(&[0, 0, 0, 20, 3, 128, 0, 16]);
                bytes.extend_from_slice(&address.octets());
            }
        }
    }
}
