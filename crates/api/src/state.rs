//! What the handlers share.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use ingest::Intake;
use store::{Readiness, Store};
use time::{Date, Duration, OffsetDateTime};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Config, access::Rates, metrics::Metrics, oidc::Provider};

/// Uploads that are too large to be held in memory and taken in at a time: a form may be all header, which is in memory
/// while its end is looked for.
const LARGE_MAX: usize = 1;

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// Where uploads go, and the store that answers come from.
    pub intake: Intake,
    /// The time of day.
    pub clock: fn() -> OffsetDateTime,
    /// The section `[http]`.
    pub config: Arc<Config>,
    /// Whether requests must name this host in a way that only works from it. It keeps web pages whose name points to
    /// 127.0.0.1 (DNS rebinding) away from an API that asks for no token. On unless it is switched off.
    pub loopback_only: bool,
    /// Whether tokens are asked for. On unless it is switched off.
    pub asks_for_token: bool,
    /// Where people sign in who have no token. None unless it is set.
    pub provider: Option<Arc<Provider>>,
    /// The mailboxes of this configuration; the database also knows those of others, and those of the past. None unless they
    /// are set.
    pub mailboxes: Arc<BTreeSet<String>>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) large_uploads: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    /// How the database did when it was last asked, and when that was. Held while it is asked.
    pub(crate) readiness: Arc<Mutex<Option<(Readiness, Instant)>>>,
    pub(crate) rates: Arc<Rates>,
    /// Connections, and whatever must go on when the client is gone.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when a stop has waited long enough for them.
    pub(crate) abort: CancellationToken,
}

impl State {
    /// The state of a server that has not served anything yet.
    pub fn new(intake: Intake, clock: fn() -> OffsetDateTime, config: Config) -> Self {
        Self {
            intake,
            clock,
            loopback_only: true,
            asks_for_token: true,
            provider: None,
            mailboxes: Arc::default(),
            uploads: Arc::new(Semaphore::new(config.uploads_max)),
            large_uploads: Arc::new(Semaphore::new(LARGE_MAX)),
            metrics: Arc::default(),
            readiness: Arc::default(),
            rates: Arc::new(Rates::new(&config.rate_limit)),
            tasks: TaskTracker::new(),
            abort: CancellationToken::new(),
            config: Arc::new(config),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.intake.store
    }

    pub(crate) fn today(&self) -> Date {
        (self.clock)().to_offset(time::UtcOffset::UTC).date()
    }

    /// Days after this one are the doing of a wrong clock somewhere and do not move default ranges.
    pub(crate) fn latest_day(&self) -> Date {
        self.today().saturating_add(Duration::DAY)
    }
}
