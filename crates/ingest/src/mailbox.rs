//! Mailboxes: mail is taken out of them by IMAP and acknowledged after the commit.
//!
//! [`Mailbox::run`] works on one mailbox for as long as the program runs: it takes the lease that keeps other processes
//! away, serves session after session (`session.rs`), and says in the database how it goes. Whatever goes wrong is a
//! fault with a code and an advice (`fault.rs`); it is tried again after a pause.

mod acknowledge;
mod again;
mod backoff;
mod config;
mod connect;
mod fault;
mod fetch;
mod imap;
mod mail;
mod probe;
mod session;
mod tls;
mod token;

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;

use store::{MailboxPosition, MailboxState};
use time::OffsetDateTime;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Intake, authenticity::Verifier};

use self::{
    backoff::Backoff,
    fault::{Fault, Pause},
    session::{Memory, serve},
};

pub use crate::authenticity::Method;
pub use config::{After, Auth, Config, Security, is_safe_for_secrets};
pub use probe::{Probed, Step, probe};
pub use tls::{trust_issued, trust_only};

/// A session that lives no longer is followed by a pause: a token may be old as soon as it is given.
const SESSION_MIN: Duration = Duration::from_secs(10);

/// How long a session may take to end when the program is to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How often a process asks for a mailbox that another one works on, at least.
const TAKE_OVER_INTERVAL: Duration = Duration::from_secs(5);

/// How often a database that is away is asked again.
const DATABASE_RETRY: Duration = Duration::from_secs(1);

/// One process among those that share the mailboxes.
#[derive(Clone, Debug)]
pub struct Process {
    /// Different for each run of the program.
    pub process_id: Uuid,
    /// For people: host and process id.
    pub label: String,
}

/// A mailbox to work on.
#[derive(Clone)]
pub struct Mailbox {
    /// Its name in the configuration.
    pub name: String,
    /// How to get at it.
    pub config: Config,
    /// Where mail goes.
    pub intake: Intake,
    /// What checks it.
    pub verifier: Verifier,
    /// Who works on it.
    pub process: Process,
    /// What tells the time.
    pub clock: fn() -> OffsetDateTime,
}

impl Mailbox {
    /// Works on the mailbox until `stop`. Another process that holds it is waited for.
    pub async fn run(self, stop: CancellationToken) {
        let (mut is_waiting, mut failures) = (false, 0_u64);
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let mut retry = TAKE_OVER_INTERVAL.min(self.config.lease() / 3);
            let asked = Instant::now();
            let leased = stop.run_until_cancelled(self.lease()).await;
            match leased {
                None => return,
                Some(Ok(true)) => {
                    (is_waiting, failures) = (false, 0);
                    self.hold(asked, &mut backoff, &stop).await;
                }
                Some(Ok(false)) => {
                    if !is_waiting {
                        tracing::info!(mailbox = self.name, "another process works on the mailbox");
                        is_waiting = true;
                    }
                }
                Some(Err(error)) => {
                    retry = retry.min(DATABASE_RETRY);
                    failures += 1;
                    // The first one is usual: the program is bringing the schema up to date.
                    if failures == 2 {
                        tracing::warn!(mailbox = self.name, %error, "the mailbox waits for the database");
                    }
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(retry)).await;
        }
    }

    async fn lease(&self) -> Result<bool, store::Error> {
        let Process { process_id, label } = &self.process;
        let lease = self.config.lease();
        let store = &self.intake.store;
        store
            .lease_mailbox(&self.name, *process_id, label, lease)
            .await
    }

    /// Works for as long as the lease is held.
    async fn hold(&self, asked: Instant, backoff: &mut Backoff, stop: &CancellationToken) {
        let (until, held) = watch::channel(asked + self.config.lease());
        tokio::select! {
            () = self.work(backoff, &held, stop) => {}
            () = self.keep_lease(until) => {
                tracing::warn!(mailbox = self.name, "the lease of the mailbox is lost; it is asked for again");
            }
            () = async {
                stop.cancelled().await;
                tokio::time::sleep(STOP_PATIENCE).await;
            } => {}
        }
        if stop.is_cancelled() {
            let store = &self.intake.store;
            let releasing = store.release_mailbox(&self.name, self.process.process_id);
            // Without it the lease runs out by itself.
            _ = tokio::time::timeout(STOP_PATIENCE, releasing).await;
        }
    }

    /// Renews the lease, and returns when it is no longer ours.
    async fn keep_lease(&self, until: watch::Sender<Instant>) {
        let lease = self.config.lease();
        loop {
            tokio::time::sleep(lease / 3).await;
            let asked = Instant::now();
            let end = *until.borrow();
            match tokio::time::timeout_at(end, self.lease()).await {
                Ok(Ok(true)) => _ = until.send_replace(asked + lease),
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(_)) if Instant::now() >= end => return,
                Ok(Err(_)) => {}
            }
        }
    }

    /// Serves session after session.
    async fn work(
        &self,
        backoff: &mut Backoff,
        held: &watch::Receiver<Instant>,
        stop: &CancellationToken,
    ) {
        let mut memory = Memory::default();
        let mut last_code = None;
        loop {
            // One that was begun before the lease was lost is ended first: a lock-out does not mind leases.
            stop.run_until_cancelled(self.pause(backoff)).await;
            if stop.is_cancelled() {
                return;
            }
            let config = self.config.with_secrets_of_now();
            let begun = Instant::now();
            let session = AssertUnwindSafe(self.session(&config, &mut memory, held, stop));
            // A defect in reading what this server says must not end the work on others.
            let ended = session.catch_unwind().await.unwrap_or(Err(Fault::Defect));
            let fault = match ended {
                // The token grew old, or it is time to stop.
                Ok(()) if begun.elapsed() < SESSION_MIN => {
                    backoff.begin(Pause::Brief, &config);
                    continue;
                }
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(fault) => fault,
            };
            if memory.did_work {
                backoff.reset();
                last_code = None;
            }
            if fault.is_disconnect() {
                memory.blame();
            }
            let code = fault.code();
            if last_code.replace(code) == Some(code) {
                tracing::debug!(mailbox = self.name, code, "{fault}");
            } else {
                tracing::warn!(mailbox = self.name, code, "{fault}");
            }
            self.tell(&fault).await;
            backoff.begin(fault.pause(), &config);
        }
    }

    async fn session(
        &self,
        config: &Config,
        memory: &mut Memory,
        held: &watch::Receiver<Instant>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        if config.auth == Auth::RefreshToken {
            // Somebody else may have got a newer one: another process, or `ruad mailbox test`.
            let kept = self.intake.store.refresh_token(&self.name).await?;
            memory.tokens.heed(config, kept);
        }
        memory.did_work = false;
        serve(self, config, memory, held, stop).await
    }

    /// Says what is wrong where it can be seen. If the database is what is wrong, the log has it.
    async fn tell(&self, fault: &Fault) {
        let (name, process_id) = (&self.name, self.process.process_id);
        let (code, text) = (fault.code(), fault.to_string());
        let state = match fault.pause() {
            Pause::Brief => MailboxState::Connecting,
            Pause::Short | Pause::Credentials => MailboxState::Failed,
        };
        let store = &self.intake.store;
        let telling = store.set_mailbox_error(name, process_id, state, code, &text);
        if let Err(error) = telling.await {
            tracing::debug!(mailbox = name, %error, "the state of the mailbox could not be stored");
        }
    }

    /// Waits as long as is due. After refused credentials, new ones in a file end the wait.
    async fn pause(&self, backoff: &Backoff) {
        const LOOK_INTERVAL: Duration = Duration::from_secs(5);
        while let Some(until) = backoff.until()
            && Instant::now() < until
        {
            tokio::time::sleep_until(until.min(Instant::now() + LOOK_INTERVAL)).await;
            let now = self.config.with_secrets_of_now();
            if backoff
                .refused()
                .is_some_and(|used| !now.has_same_secrets(used))
            {
                return;
            }
        }
    }

    async fn set_state(&self, state: MailboxState) -> Result<(), store::Error> {
        let store = &self.intake.store;
        store
            .set_mailbox_state(&self.name, self.process.process_id, state)
            .await
    }

    async fn set_progress(&self, taken: usize, waiting: usize) -> Result<(), store::Error> {
        let (name, process_id) = (&self.name, self.process.process_id);
        let store = &self.intake.store;
        store
            .set_mailbox_progress(name, process_id, taken as u64, waiting as u64)
            .await
    }

    async fn set_position(&self, position: MailboxPosition) -> Result<(), store::Error> {
        let store = &self.intake.store;
        store
            .set_mailbox_position(&self.name, self.process.process_id, position)
            .await
    }
}
