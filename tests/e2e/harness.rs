//! What tests speak with: databases, the service, the program.

mod browser;
mod certificates;
mod cluster;
mod database;
mod dkim_key;
mod dns;
mod dovecot;
mod guarded;
mod http;
mod imap;
mod mail;
mod openid;
mod program;
mod scripted;
mod service;
mod tokens;

use std::time::{Duration, Instant};

pub(crate) use browser::{Browser, DESK, Look, PHONE};
pub(crate) use certificates::{Certificates, Identity};
pub(crate) use cluster::Cluster;
pub(crate) use database::{DISTRIBUTED, Database, requires_citus};
pub(crate) use dkim_key::DkimKey;
pub(crate) use dns::{Dns, Fault as DnsFault};
pub(crate) use dovecot::{Dovecot, Mailbox, Options as DovecotOptions, PASSWORD};
pub(crate) use guarded::{Client, id_of, make_token};
pub(crate) use http::{Response, form_post, raw_exchange, send_over};
pub(crate) use imap::{Imap, tls_connector};
pub(crate) use mail::Mail;
pub(crate) use openid::{OpenId, Visitor, cookie_of, grant, place};
pub(crate) use program::{Ended, Program, Running, Serving, upload_to};
pub(crate) use scripted::{Fault, Folders, Scripted};
pub(crate) use service::{Service, query};
pub(crate) use tokens::{Failure, Tokens};

/// How long to wait for what must happen: far longer than it takes, also where much else is at work.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

/// Waits until a condition holds. What takes long is looked at less often: looking takes time from what is waited for.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        let waited = start.elapsed();
        assert!(waited < DEADLINE, "still waiting: {what}");
        let pause = (waited / 8).clamp(Duration::from_millis(5), Duration::from_millis(50));
        tokio::time::sleep(pause).await;
    }
}

/// A line in the test's output for a check that cannot be made here.
pub(crate) fn skip(why: &str) {
    // Past the capture of the test harness, so that it is seen.
    use std::io::Write as _;
    _ = writeln!(std::io::stderr(), "skipped: {why}");
}
