//! Everything ruad keeps, in PostgreSQL: every SQL statement, the migrations, the writer and the private server.
//!
//! The promise of this crate is "exactly once": a report is stored whole or not at all, once, however often and
//! however concurrently it is delivered. A unique constraint decides, inside the transaction that stores the report,
//! its records and its rollup. It never parses a report and knows nothing of HTTP or mail.
//!
//! Start reading at [`Store`], then [`Store::submit`] (many small reports in one commit) and [`Store::stream`] (one
//! large report). Reads: [`Store::sources`] and its neighbours.

mod audit;
mod compact;
mod copy;
mod delivery;
mod distribute;
mod domain_list;
mod domains;
mod elements;
mod error;
mod few;
mod figures;
mod fill;
mod identity;
mod json;
mod large_sums;
mod ledger;
mod mailbox;
mod maintain;
mod migrate;
mod partitions;
mod private;
mod query;
mod readiness;
mod record_block;
mod report_row;
mod retention;
mod rollup;
mod secret;
mod session;
mod source_block;
mod store;
mod stream;
mod token;
mod twins;
mod unnest;
mod writer;

pub use audit::{Action, Actor, AuditRow, Change};
pub use compact::Compacted;
pub use delivery::{Authenticity, Delivery, Outcome, OutcomeRow, Pending, Submission};
pub use domain_list::{BadDomainList, DomainList, Visible, is_domain, is_within, plain_domain};
pub use error::{Error, NOT_STORABLE};
pub use figures::{Connections, DURATION_CLASSES, Figures, Histogram, Load};
pub use identity::{day_of, report_uid};
pub use ledger::{KEEP_RAW_BYTES_MAX, RawDelivery};
pub use mailbox::{Mailbox, MailboxPosition, MailboxState};
pub use maintain::{Mismatch, Prune};
pub use private::{Config as PrivateConfig, Error as PrivateError, PrivateServer};
pub use query::{
    DeliveryFilter, DeliveryRow, Dispositions, DomainDay, DomainSummary, DomainTotals,
    LatestPolicy, Page, Policy, PolicyPeriod, Range, RecordRow, ReportFilter, ReportRow, Reporter,
    SeriesDay, SourceFilter, SourceKey, SourceRecord, SourceRecordKey, SourceRow, SourceSort,
    SourceTotals, Totals, is_askable,
};
pub use readiness::Readiness;
pub use retention::{Forget, Forgot};
pub use secret::{SecretText, derive, hex, is_equal, random_secret};
pub use session::{Holder, Identity, SESSION_SECS, Session, SessionRow};
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;
pub use store::{MIGRATOR, Options, Store};
pub use stream::ReportStream;
pub use token::{BadToken, NewToken, Scope, Token, token_id_in};
pub use writer::Room;
