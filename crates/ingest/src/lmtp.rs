//! A small LMTP listener (RFC 2033): mail handed over by a mail server on the spot.
//!
//! A mail is answered `250` once its outcome is committed, whatever the outcome is, and `451` when that is not possible now:
//! the mail server keeps it then and tries again. One over `limits.message_bytes` is answered `552` once it is recorded as
//! rejected, and `451` if it cannot be; of one that is many times as large the end is not waited for.
//!
//! What was not handed over leaves no row: a message that breaks off, one that MAIL says is too large (`552`), and one that
//! there is no room for on the disk (`452`: the mail server keeps it and tries again).

mod data;
mod listener;
mod recipients;
mod session;
mod wire;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Intake, Mistake,
    authenticity::{Check, Method, Verifier},
};
use listener::{Place, turn_away};
use recipients::Recipients;
use session::{Rules, Session};

pub use listener::Listener;

/// How long mail that is on its way in may take after the shutdown, of which all must be over within ten seconds.
const GRACE: Duration = Duration::from_secs(6);

/// How long to wait when the system has no room for a connection, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The LMTP listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `127.0.0.1:2424` or `unix:/path`; empty: there is none.
    pub listen: String,
    /// Addresses that take mail.
    pub recipients: Vec<String>,
    /// Connections at a time.
    pub connections_max: usize,
    /// How long a connection may stand still.
    pub timeout_secs: u64,
    /// What shows where a mail comes from.
    pub authenticity: Method,
    /// Whose Authentication-Results are believed (RFC 8601 section 2.5).
    pub authserv_id: String,
    /// Whether mail that is not shown to come from where it says is rejected.
    pub require_authentic: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: String::new(),
            recipients: Vec::new(),
            connections_max: 32,
            timeout_secs: 300,
            authenticity: Method::default(),
            authserv_id: String::new(),
            require_authentic: false,
        }
    }
}

impl Config {
    /// Finds what cannot work.
    pub fn check_all(&self) -> Result<(), Mistake> {
        if self.listen.is_empty() {
            return Ok(());
        }
        Place::parse(&self.listen)?;
        if self.recipients.is_empty() {
            return Err(Mistake::new(
                "recipients",
                "must name the addresses that take mail",
            ));
        }
        if let Some(other) = self.recipients.iter().find(|one| !one.contains('@')) {
            return Err(Mistake::new(
                "recipients",
                format!("must be addresses: {other:?} has no @"),
            ));
        }
        Mistake::if_zero("connections_max", self.connections_max as u64)?;
        Mistake::if_zero("timeout_secs", self.timeout_secs)?;
        self.check().check()
    }

    /// How mail is checked.
    pub(crate) fn check(&self) -> Check {
        Check {
            method: self.authenticity,
            authserv_id: self.authserv_id.clone(),
            require_authentic: self.require_authentic,
        }
    }
}

/// Takes mail until the shutdown, then finishes the mails at hand, for at most six seconds.
pub async fn serve(
    listener: Listener,
    config: Config,
    intake: Intake,
    verifier: Verifier,
    clock: fn() -> OffsetDateTime,
    shutdown: CancellationToken,
) {
    let rules = Arc::new(Rules {
        intake,
        clock,
        verifier,
        check: config.check(),
        recipients: Recipients::new(&config.recipients),
        timeout: Duration::from_secs(config.timeout_secs),
        shutdown: shutdown.clone(),
    });
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(config.connections_max));
    let accept = async {
        loop {
            let stream = match listener.accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an LMTP connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                turn_away(stream);
                continue;
            };
            let session = Session::new(stream, Arc::clone(&rules));
            let abort = abort.clone();
            tasks.spawn(async move {
                _ = abort.run_until_cancelled(session.run()).await;
                drop(slot);
            });
        }
    };
    _ = shutdown.run_until_cancelled(accept).await;
    drop(listener);
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(
            unfinished = tasks.len(),
            "LMTP connections were cut off at shutdown; the mail server will try again"
        );
        abort.cancel();
        tasks.wait().await;
    }
}
