//! The outcome of a document, as uploads and deliveries show it.

use serde::{Deserialize, Serialize};
use store::OutcomeRow;
use utoipa::ToSchema;
use uuid::Uuid;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The report is stored.
    Stored,
    /// The same report was stored before.
    Duplicate,
    /// Another report with the same identity was stored before; that one is kept.
    Conflict,
    /// This can never be stored.
    Rejected,
    /// Something else than an aggregate report, or no report at all.
    NotAggregate,
}

/// What became of one document of a delivery.
#[derive(Serialize, ToSchema)]
pub(super) struct Document {
    #[schema(example = "stored")]
    outcome: Outcome,
    /// The report; null where there is none to speak of.
    report_uid: Option<Uuid>,
    /// Stable reason: of a rejection, or what else the document is.
    #[schema(example = json!(null))]
    code: Option<String>,
    /// The reason in words.
    #[schema(example = json!(null))]
    detail: Option<String>,
    /// The element the reason was found at.
    #[schema(example = json!(null))]
    element: Option<String>,
    /// Where in the decompressed document the reason was found.
    #[schema(example = json!(null))]
    offset_bytes: Option<u64>,
    /// Where in the delivery the document was found; empty for the delivery itself.
    #[schema(example = "google.com!example.org!1717027200!1717113599.xml.gz")]
    path: String,
    /// The reporter.
    #[schema(example = "google.com")]
    org_name: Option<String>,
    /// The policy domain.
    #[schema(example = "example.org")]
    domain: Option<String>,
    #[schema(example = "17093120021234567890")]
    report_id: Option<String>,
    /// Records in it, skipped ones included.
    #[schema(example = 12)]
    record_count: Option<u64>,
    /// Records that could not be stored.
    #[schema(example = 0)]
    skipped_count: Option<u64>,
    /// Messages of the records that can be stored.
    #[schema(example = 310)]
    message_count: Option<u64>,
}

impl From<store::Outcome> for Outcome {
    fn from(outcome: store::Outcome) -> Self {
        match outcome {
            store::Outcome::Stored => Self::Stored,
            store::Outcome::Duplicate => Self::Duplicate,
            store::Outcome::Conflict => Self::Conflict,
            store::Outcome::Rejected => Self::Rejected,
            store::Outcome::NotAggregate => Self::NotAggregate,
        }
    }
}

impl From<Outcome> for store::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Stored => Self::Stored,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::Conflict => Self::Conflict,
            Outcome::Rejected => Self::Rejected,
            Outcome::NotAggregate => Self::NotAggregate,
        }
    }
}

impl From<OutcomeRow> for Document {
    fn from(row: OutcomeRow) -> Self {
        Self {
            outcome: row.outcome.into(),
            report_uid: row.report_uid,
            code: row.code,
            detail: row.detail,
            element: row.element,
            offset_bytes: row.offset_bytes,
            path: row.path,
            org_name: row.org_name,
            domain: row.domain,
            report_id: row.report_id,
            record_count: row.record_count,
            skipped_count: row.skipped_count,
            message_count: row.message_count,
        }
    }
}
