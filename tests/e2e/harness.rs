//! What tests speak with: databases, the service, the program.

mod cluster;
mod database;
mod dkim_key;
mod dns;
mod http;
mod program;
mod service;

use std::time::{Duration, Instant};

pub(crate) use cluster::Cluster;
pub(crate) use database::Database;
pub(crate) use dkim_key::DkimKey;
pub(crate) use dns::{Dns, Fault as DnsFault};
pub(crate) use http::{Response, raw_exchange};
pub(crate) use program::{Ended, Program, Running, Serving};
pub(crate) use service::{Service, query};

/// How long to wait for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A line in the test's output for a check that cannot be made here.
pub(crate) fn skip(why: &str) {
    // Past the capture of the test harness, so that it is seen.
    use std::io::Write as _;
    _ = writeln!(std::io::stderr(), "skipped: {why}");
}
