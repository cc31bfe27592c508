//! The bounds of everything a delivery may make us do.

use serde::{Deserialize, Serialize};

/// Bounds on one delivery, enforced while streaming.
///
/// The defaults stand in the documentation of each field; they leave the largest honest report seen a factor of
/// hundreds of room.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a mail message, and of an archive or message found inside another container: 25 MiB.
    pub message_bytes: u64,
    /// Bytes of one decompressed report: 4 GiB.
    pub report_bytes: u64,
    /// Decompressed bytes of all documents of one delivery together: 8 GiB.
    pub delivery_bytes: u64,
    /// Bytes of XML without a completed record, before the first or between two: 16 MiB.
    pub record_gap_bytes: u64,
    /// Archive members looked at in one delivery: 64.
    pub members: usize,
    /// Containers inside one another, message, gzip and zip together: 4.
    pub nesting: usize,
    /// MIME parts of one message: 200.
    pub mime_parts: usize,
    /// MIME parts inside one another: 10.
    pub mime_depth: usize,
    /// Records of one report: 10,000,000.
    pub records: u64,
    /// Elements inside one another: 16.
    pub xml_depth: usize,
    /// Attributes of one element: 32.
    pub attributes: usize,
    /// Bytes of one text node, one tag, one comment or one processing instruction: 64 KiB.
    pub text_bytes: usize,
    /// DKIM results kept of one record, the rest is counted: 100.
    pub dkim_results: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            message_bytes: 25 * MIB,
            report_bytes: 4 * 1024 * MIB,
            delivery_bytes: 8 * 1024 * MIB,
            record_gap_bytes: 16 * MIB,
            members: 64,
            nesting: 4,
            mime_parts: 200,
            mime_depth: 10,
            records: 10_000_000,
            xml_depth: 16,
            attributes: 32,
            text_bytes: 64 * 1024,
            dkim_results: 100,
        }
    }
}
