//! Takes deliveries in: a delivery goes in, an outcome comes out.
//!
//! [`accept`] is the whole way of a report, from its bytes to the commit; everything that takes reports in calls it.
//! [`import`] feeds it from files. There is no SQL here and no HTTP, and nothing is acknowledged before the commit.

mod accept;
pub mod authenticity;
mod body;
mod delivery_id;
pub mod directory;
mod domains;
mod files;
mod import;
pub mod lmtp;
mod mail;
pub mod mailbox;
mod mbox;
mod mistake;
mod peers;
mod read;
mod refuse;
mod secret;
mod spool;

pub use accept::{Accepted, Delivery, Error, Intake, accept};
pub use domains::AllowedDomains;
pub use files::{Found, find};
pub use import::{Import, Imported, Notice, import};
pub use mistake::Mistake;
pub use secret::Secret;
pub use spool::Spool;
