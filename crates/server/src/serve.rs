//! `ruad serve`: the API and what goes on in the background, from start to stop.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use ingest::{
    Intake,
    authenticity::Verifier,
    directory, lmtp,
    mailbox::{Mailbox, Process},
};
use store::{Prune, Store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Config, clock, config::Quarantine, database::Database};

const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
const MIGRATE_INTERVAL: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is cancelled, then finishes what was begun.
///
/// The API answers from the first moment; what needs the database is answered 503 until it is there and its schema up to
/// date. A task that fails takes the program down with it: a restart is always safe.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let address = listener.local_addr().context("the address listened on")?;
    let lmtp = listen_for_mail(&config.lmtp).await?;
    let database = Database::open(&config).await?;
    let intake = Intake::new(
        database.store.clone(),
        config.limits.clone(),
        config.domains.clone(),
    );
    let mut state = api::State::new(intake.clone(), clock::now, config.http.clone());
    state.loopback_only = is_loopback(address.ip());

    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn(
        "housekeeping",
        background(
            database.store.clone(),
            config.quarantine.clone(),
            shutdown.clone(),
        ),
    );
    let served = api::serve(listener, state, shutdown.clone());
    tasks.spawn("the API", async {
        served.await;
        Ok(())
    });
    spawn_ways_in(&mut tasks, config, lmtp, &intake);
    tracing::info!(%address, "listening");
    let result = tasks.end().await;
    database.close().await;
    tracing::info!("stopped");
    result
}

/// Listens before anything is begun: an address that cannot be used is a mistake in the configuration.
async fn listen_for_mail(config: &lmtp::Config) -> Result<Option<lmtp::Listener>> {
    if config.listen.is_empty() {
        return Ok(None);
    }
    let listener = lmtp::Listener::bind(config).await;
    let listener = listener.with_context(|| format!("listening on lmtp.listen, {}", config.listen));
    listener.map(Some)
}

/// Begins to take reports in, in every way that is configured besides the API.
fn spawn_ways_in(tasks: &mut Tasks, config: Config, lmtp: Option<lmtp::Listener>, intake: &Intake) {
    let shutdown = tasks.shutdown.clone();
    if let Some(listener) = lmtp {
        tracing::info!(lmtp.address = listener.address(), "listening for mail");
        let served = lmtp::serve(
            listener,
            config.lmtp,
            intake.clone(),
            Verifier,
            clock::now,
            shutdown.clone(),
        );
        tasks.spawn("LMTP", async {
            served.await;
            Ok(())
        });
    }
    let process = Process {
        process_id: Uuid::now_v7(),
        label: format!("{}:{}", host_name(), std::process::id()),
    };
    for (name, mailbox) in config.mailboxes {
        let what = format!("the mailbox {name}");
        let mailbox = Mailbox {
            name,
            config: mailbox,
            intake: intake.clone(),
            verifier: Verifier,
            process: process.clone(),
            clock: clock::now,
        };
        let worked_on = mailbox.run(shutdown.clone());
        tasks.spawn(what, async {
            worked_on.await;
            Ok(())
        });
    }
    for (name, directory) in config.directories {
        let what = format!("the directory {name}");
        let watched = directory::watch(
            name,
            directory,
            intake.clone(),
            clock::now,
            shutdown.clone(),
        );
        tasks.spawn(what, async {
            watched.await;
            Ok(())
        });
    }
}

/// Everything that runs until the shutdown. When one of them ends, whatever the reason, all do.
struct Tasks {
    running: JoinSet<Result<()>>,
    names: HashMap<Id, String>,
    shutdown: CancellationToken,
}

impl Tasks {
    fn new(shutdown: CancellationToken) -> Self {
        Self {
            running: JoinSet::new(),
            names: HashMap::new(),
            shutdown,
        }
    }

    fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until all have ended and returns the first failure.
    async fn end(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next_with_id().await {
            self.shutdown.cancel();
            let (id, ended) = match ended {
                Ok((id, ended)) => (id, ended),
                Err(error) => (error.id(), Err(anyhow!(error))),
            };
            let name = self.names.remove(&id).unwrap_or_default();
            result = result.and(ended.context(name));
        }
        result
    }
}

/// Brings the schema up to date as soon as the database is there, then keeps house until shutdown.
async fn background(
    store: Store,
    quarantine: Quarantine,
    shutdown: CancellationToken,
) -> Result<()> {
    let kept_going = shutdown.run_until_cancelled(async {
        migrate(&store).await?;
        loop {
            prune(&store, &quarantine).await;
            tokio::time::sleep(PRUNE_INTERVAL).await;
        }
    });
    kept_going.await.unwrap_or(Ok(()))
}

async fn migrate(store: &Store) -> Result<()> {
    let mut waiting = false;
    while let Err(error) = store.migrate().await {
        if !error.is_passing() {
            return Err(error).context("bringing the schema up to date");
        }
        if !waiting {
            tracing::warn!(%error, "waiting for the database");
            waiting = true;
        }
        tokio::time::sleep(MIGRATE_INTERVAL).await;
    }
    tracing::info!("the database is ready");
    Ok(())
}

async fn prune(store: &Store, quarantine: &Quarantine) {
    let retention = time::Duration::days(quarantine.retention_days.into());
    let prune = Prune {
        kept_before: clock::now() - retention,
        total_bytes_max: quarantine.bytes_max,
    };
    match store.prune_quarantine(prune).await {
        Ok(0) => {}
        Ok(delivery_count) => tracing::info!(
            delivery_count,
            "old deliveries were dropped from the quarantine"
        ),
        Err(error) => {
            tracing::warn!(%error, "the quarantine could not be pruned; it is tried again in an hour")
        }
    }
}

/// The name of this machine, for people.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Whether only programs on this machine can reach an address.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Cancelled by SIGINT or SIGTERM; a second one ends the process at once.
pub(crate) fn stop_signal() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        cancel.cancel();
        next().await;
        tracing::warn!("stopped at once; what was begun is not finished");
        std::process::exit(1);
    });
    Ok(token)
}
