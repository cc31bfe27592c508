//! DMARC aggregate reports (RFC 7489, RFC 9990): bytes in, reports out.
//!
//! This crate is the trust boundary: everything hostile stops here. It takes the bytes of a delivery apart
//! ([`unpack`]: mail, gzip, zip) within [`Limits`] and parses each report as a stream ([`Parser`]), in memory that
//! does not grow with the report. It knows nothing of databases, networks or async, and it never panics on input.
//!
//! Start reading at [`unpack`], then [`Parser`].
//!
//! Real reports deviate from the RFCs in many ways. Comments name each deviation where it is dealt with, by an id: C for
//! what carries a report, D for the document, M for metadata and policy, R for records.

mod error;
mod header;
mod limits;
mod parser;
mod peers;
mod record;
mod unpack;
mod warning;
mod xml;

pub use error::{Code, Error};
pub use header::{
    Alignment, DateRange, DiscoveryMethod, Header, Policy, PolicyPublished, ReportMetadata,
};
pub use limits::Limits;
pub use parser::{Parser, Summary};
pub use peers::Peer;
pub use record::{
    Disposition, DkimAuthResult, DkimResult, OddValue, Reason, Record, SpfAuthResult, SpfResult,
    SpfScope,
};
pub use unpack::{Body, Content, Document, Xml, unpack};
pub use warning::{Warning, WarningCode};
