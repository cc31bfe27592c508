//! Lookups of TXT records that never hold intake up for long.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mail_auth::{
    MessageAuthenticator,
    hickory_resolver::{
        TokioResolver,
        config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
        net::NetError,
        proto::rr::{Name, RData, RecordType},
        system_conf::read_system_conf,
    },
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{DnsConfig, Error};

/// Mails at a time that look something up.
const TURNS_MAX: usize = 32;

/// Lookups at a time of one mail: who sends it chooses how many it asks for, and how slow they are.
pub(super) const LOOKUPS_MAX: usize = 2;

/// How long a mail may wait for its turn.
const WAIT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a turn may take, with finding out whether the name servers answer at all.
const TURN_TIMEOUT: Duration = Duration::from_secs(8);

/// Answers that are kept. Each may have 64 KiB, and senders choose them.
const ANSWERS_MAX: u64 = 512;

/// An answer is kept no longer, whatever it asks for.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(3_600);

/// After so many lookups in a row without an answer, it is found out whether the name servers answer at all.
const SILENT_MAX: u32 = 3;

/// How long they may take to show that they do.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long nothing is looked up when they do not.
const PAUSE: Duration = Duration::from_secs(30);

/// Looks up TXT records. Answers are kept for their time to live.
pub(super) struct Resolver {
    authenticator: MessageAuthenticator,
    /// Keeps no answers: what it tells is known now.
    prober: TokioResolver,
    timeout: Duration,
    turns: Semaphore,
    /// [`PAUSE`] but in tests.
    pub(super) pause: Duration,
    silence: Mutex<Silence>,
}

/// That name servers do not answer.
#[derive(Default)]
struct Silence {
    /// Lookups in a row without an answer.
    lookups: u32,
    /// Until when nothing is looked up.
    until: Option<Instant>,
}

/// The time of one mail for its lookups.
pub(super) struct Turn<'a> {
    resolver: &'a Resolver,
    /// When the last lookup must be done, so that a probe is over at the end of the turn.
    deadline: Instant,
    _permit: SemaphorePermit<'a>,
}

/// There is no answer for now: another time there may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

impl Resolver {
    pub(super) fn new(dns: &DnsConfig) -> Result<Self, Error> {
        let (config, mut options) = if dns.servers.is_empty() {
            read_system_conf().map_err(Error::new)?
        } else {
            (configured(dns), ResolverOpts::default())
        };
        // A datagram that was lost is sent once more within the time for an answer.
        options.timeout = dns.timeout() / 2;
        options.attempts = 1;
        // The library turns away what is above its limit.
        options.max_active_requests = 2 * TURNS_MAX * LOOKUPS_MAX;
        options.cache_size = ANSWERS_MAX;
        options.positive_max_ttl = Some(ANSWER_AGE_MAX);
        options.negative_max_ttl = Some(ANSWER_AGE_MAX);
        let authenticator =
            MessageAuthenticator::new(config.clone(), options.clone()).map_err(Error::new)?;
        options.timeout = PROBE_TIMEOUT;
        options.cache_size = 0;
        let prober = MessageAuthenticator::new(config, options).map_err(Error::new)?;
        Ok(Self {
            authenticator,
            prober: prober.0,
            timeout: dns.timeout(),
            turns: Semaphore::new(TURNS_MAX),
            pause: PAUSE,
            silence: Mutex::default(),
        })
    }

    /// What DKIM signatures are verified with.
    pub(super) fn authenticator(&self) -> &MessageAuthenticator {
        &self.authenticator
    }

    /// Waits for a turn to look names up. Its time begins when it is had, so that slow lookups for other mail take
    /// nothing from it.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, NoAnswer> {
        match timeout(WAIT_TIMEOUT, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(Turn {
                resolver: self,
                deadline: Instant::now() + TURN_TIMEOUT - PROBE_TIMEOUT,
                _permit: permit,
            }),
            Ok(Err(_)) | Err(_) => Err(NoAnswer),
        }
    }

    async fn texts(&self, name: &str, deadline: Instant) -> Result<Vec<Vec<u8>>, NoAnswer> {
        let now = Instant::now();
        if self.is_paused() || deadline <= now {
            return Err(NoAnswer);
        }
        let Ok(name) = Name::from_ascii(format!("{name}.")) else {
            return Ok(Vec::new());
        };
        let deadline = deadline.min(now + self.timeout);
        let lookup = self.authenticator.resolver().txt_lookup(name);
        let lookup = match timeout_at(deadline, lookup).await {
            Ok(Err(error)) if !is_answer(&error) => return self.unanswered().await,
            Err(_) => return self.unanswered().await,
            Ok(answer) => answer,
        };
        self.answered();
        match lookup {
            Ok(lookup) => Ok(texts(lookup.answers().iter().map(|record| &record.data))),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            // SERVFAIL and the like: RFC 6376 section 6.1.2 calls it a temporary failure.
            Err(_) => Err(NoAnswer),
        }
    }

    fn is_paused(&self) -> bool {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.until.is_some_and(|until| Instant::now() < until)
    }

    fn answered(&self) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Silence::default();
    }

    /// Takes note of a lookup without an answer.
    ///
    /// The mail names the domains, and the name servers of one of them may be silent on purpose. Such mail must not
    /// make other mail go unchecked: before lookups stop, the resolver is asked for something it always knows.
    async fn unanswered<T>(&self) -> Result<T, NoAnswer> {
        {
            let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
            silence.lookups = silence.lookups.saturating_add(1);
            if silence.lookups < SILENT_MAX {
                return Err(NoAnswer);
            }
        }
        let root = self.prober.lookup(Name::root(), RecordType::NS);
        match timeout(PROBE_TIMEOUT, root).await {
            Ok(Ok(_)) => self.answered(),
            Ok(Err(error)) if is_answer(&error) => self.answered(),
            Ok(Err(_)) | Err(_) => self.pause(),
        }
        Err(NoAnswer)
    }

    fn pause(&self) {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if silence.until.is_none_or(|until| until <= now) {
            silence.until = Some(now + self.pause);
            tracing::warn!(
                "name servers do not answer: for {} s, mail is not checked for DKIM signatures",
                self.pause.as_secs()
            );
        }
    }
}

impl Turn<'_> {
    /// The TXT records of a name, each in one piece; none if there are none.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, NoAnswer> {
        self.resolver.texts(name, self.deadline).await
    }
}

fn configured(dns: &DnsConfig) -> ResolverConfig {
    let server = |address: &std::net::SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let connections = connections.map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(dns.servers.iter().map(server).collect())
}

/// Whether a server said something, even if it is nothing good.
fn is_answer(error: &NetError) -> bool {
    matches!(error, NetError::Dns(_))
}

/// RFC 6376 section 3.6.2.2: the strings of one record are concatenated.
fn texts<'a>(records: impl Iterator<Item = &'a RData>) -> Vec<Vec<u8>> {
    let text = |record: &RData| match record {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    };
    records.filter_map(text).collect()
}
