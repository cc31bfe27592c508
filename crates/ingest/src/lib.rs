//! Takes deliveries in: a delivery goes in, an outcome comes out.
//!
//! [`accept`] is the whole way of a report, from its bytes to the commit; everything that takes reports in calls it.
//! [`import`] feeds it from files. There is no SQL here and no HTTP, and nothing is acknowledged before the commit.

mod accept;
mod files;
mod import;
mod mbox;
mod read;

pub use accept::{Accepted, Delivery, Error, Intake, accept};
pub use files::{Found, find};
pub use import::{Import, Imported, Notice, import};
