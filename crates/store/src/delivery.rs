//! What is handed to the store, and what became of it.

use report::{Body, Header, Record, Summary};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::text_bytes;

/// One thing handed over: a message, an upload, a file.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Version 7 UUID. A delivery that is tried again keeps it, which makes the retry harmless.
    pub delivery_id: Uuid,
    /// `imap:<mailbox>`, `lmtp`, `http` or `file`.
    pub origin: String,
    /// File name or the like.
    pub name: Option<String>,
    /// When it was handed over.
    pub received_at: OffsetDateTime,
    /// Its size as delivered.
    pub size_bytes: u64,
    /// SHA-256 of its bytes as delivered; `None` for a mail too large to be fetched.
    pub sha256: Option<[u8; 32]>,
    /// Its bytes, kept when something of it is not stored.
    pub body: Body,
    /// Who sent it, where it is a mail that was checked.
    pub authenticity: Option<Authenticity>,
}

/// What checking a mail told of its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authenticity {
    /// Domain of the From field.
    pub from_domain: Option<String>,
    /// Domains with a valid DKIM signature.
    pub dkim_domains: Vec<String>,
    /// Whether the mail passes DMARC: one of them is aligned with the From domain or, where Authentication-Results are
    /// read, the mail server's verdict, which may rest on SPF. `None` when that could not be found out.
    pub dmarc_pass: Option<bool>,
}

/// What became of a document, and of a delivery as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The report is stored.
    Stored,
    /// The same report with the same content was stored before.
    Duplicate,
    /// A report with the same identity and other content was stored before; that one is kept.
    Conflict,
    /// This can never be stored.
    Rejected,
    /// Something else than an aggregate report, or no report at all.
    NotAggregate,
}

impl Outcome {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Stored,
        Self::Duplicate,
        Self::Conflict,
        Self::Rejected,
        Self::NotAggregate,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::NotAggregate => "not_aggregate",
        }
    }

    /// The outcome for its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }

    /// How much it asks for attention: a delivery is as serious as its most serious document.
    pub(crate) fn weight(self) -> u8 {
        match self {
            Self::NotAggregate => 0,
            Self::Duplicate => 1,
            Self::Stored => 2,
            Self::Conflict => 3,
            Self::Rejected => 4,
        }
    }

    /// The outcome of a delivery with these documents.
    pub fn of_all(documents: &[OutcomeRow]) -> Self {
        documents
            .iter()
            .map(|document| document.outcome)
            .max_by_key(|outcome| outcome.weight())
            .unwrap_or(Self::NotAggregate)
    }
}

/// The outcome of one document: what the ledger keeps and an upload is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRow {
    /// What became of it.
    pub outcome: Outcome,
    /// Identity of the report, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_uid: Option<Uuid>,
    /// Stable reason: of a rejection, or what else the document is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The element the reason was found at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// Where in the decompressed document it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_bytes: Option<u64>,
    /// Where in the delivery the document was found; empty for the delivery itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The reporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_name: Option<String>,
    /// The policy domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// As reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_id: Option<String>,
    /// Records seen, skipped ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_count: Option<u64>,
    /// Records that could not be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_count: Option<u64>,
    /// Messages of the records that can be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_count: Option<u64>,
}

impl OutcomeRow {
    /// The outcome of something that is no readable report.
    pub fn without_report(
        path: String,
        outcome: Outcome,
        code: &str,
        detail: Option<String>,
    ) -> Self {
        Self {
            outcome,
            report_uid: None,
            code: Some(code.into()),
            detail,
            element: None,
            offset_bytes: None,
            path,
            org_name: None,
            domain: None,
            report_id: None,
            record_count: None,
            skipped_count: None,
            message_count: None,
        }
    }

    /// The rejection of a document, with what its header said if it got so far.
    pub fn rejected(path: String, error: &report::Error, header: Option<&Header>) -> Self {
        let row = Self {
            element: error.element.clone(),
            offset_bytes: Some(error.offset),
            ..Self::without_report(
                path,
                Outcome::Rejected,
                error.code.as_str(),
                Some(error.detail.clone()),
            )
        };
        match header {
            Some(header) => row.with_header(header),
            None => row,
        }
    }

    /// What it takes in memory, about.
    pub fn size_bytes(&self) -> usize {
        let texts = [
            &self.code,
            &self.detail,
            &self.element,
            &self.org_name,
            &self.domain,
            &self.report_id,
        ];
        let texts = texts.into_iter().map(text_bytes);
        size_of_val(self) + self.path.len() + texts.sum::<usize>()
    }

    /// The same outcome with what the report's header says.
    pub fn with_header(self, header: &Header) -> Self {
        Self {
            org_name: Some(header.report_metadata.org_name.clone()),
            domain: Some(header.policy_published.domain.clone()),
            report_id: Some(header.report_metadata.report_id.clone()),
            ..self
        }
    }

    /// The outcome of a report that was read to its end.
    pub(crate) fn of_report(path: String, outcome: Outcome, summary: &Summary) -> Self {
        let header = &summary.header;
        Self {
            outcome,
            report_uid: Some(crate::report_uid(header)),
            code: (outcome == Outcome::Conflict).then(|| "conflict".into()),
            detail: (outcome == Outcome::Conflict)
                .then(|| "another report with the same identity was stored before".into()),
            element: None,
            offset_bytes: None,
            path,
            org_name: Some(header.report_metadata.org_name.clone()),
            domain: Some(header.policy_published.domain.clone()),
            report_id: Some(header.report_metadata.report_id.clone()),
            record_count: Some(summary.record_count),
            skipped_count: Some(summary.skipped_count),
            message_count: Some(summary.message_count),
        }
    }

    /// Whether the delivery's bytes are kept because of this document.
    pub(crate) fn keeps_raw(&self) -> bool {
        match self.outcome {
            Outcome::Rejected | Outcome::Conflict => true,
            Outcome::Stored => self.skipped_count.is_some_and(|skipped| skipped > 0),
            Outcome::Duplicate | Outcome::NotAggregate => false,
        }
    }
}

/// A delivery ready to be stored.
#[derive(Debug)]
pub struct Submission {
    /// Where it came from.
    pub delivery: Delivery,
    /// Its documents, in order.
    pub documents: Vec<Pending>,
}

/// A document on its way into the store.
#[derive(Debug)]
pub enum Pending {
    /// A report that was read whole.
    Report {
        /// Where in the delivery it was found.
        path: String,
        /// Header and totals.
        summary: Box<Summary>,
        /// Its storable records.
        records: Vec<Record>,
    },
    /// Anything whose outcome is known without the database.
    Settled(OutcomeRow),
}

impl Pending {
    /// Records that are to be written.
    pub fn record_count(&self) -> usize {
        self.records().len()
    }

    /// What it takes in memory, about.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Report {
                path,
                summary,
                records,
            } => {
                let records = records.iter().map(Record::size_bytes).sum::<usize>();
                path.len() + summary.size_bytes() + records
            }
            Self::Settled(row) => row.size_bytes(),
        }
    }

    fn records(&self) -> &[Record] {
        match self {
            Self::Report { records, .. } => records,
            Self::Settled(_) => &[],
        }
    }
}
