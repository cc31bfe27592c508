//! `ruad serve`: the API and what goes on in the background, from start to stop.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::FutureExt as _;
use ingest::Intake;
use store::{Actor, Prune, Store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, clock, compaction, database::Database, exit::Misuse, output, retention, tasks::Tasks,
    ways_in::WaysIn,
};

const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long a stop may take: whoever stops containers kills after ten seconds.
const STOP_MAX: Duration = Duration::from_secs(9);

/// What of it is left for closing the database.
const CLOSE_MIN: Duration = Duration::from_millis(1_800);

const MIGRATE_INTERVAL: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is cancelled, then finishes what was begun, as far as that takes less than ten seconds.
///
/// The API answers from the first moment; what needs the database is answered 503 until it is there and its schema up to
/// date. A task that fails takes the program down with it: a restart is always safe.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let address = listener.local_addr().context("the address listened on")?;
    let tls = api::Tls::open(&config.http.tls).context(Misuse("config"))?;
    let provider = api::Provider::open(&config.http.oidc).context(Misuse("config"))?;
    let ways_in = WaysIn::open(&config).await?;
    let database = Database::open(&config).await?;
    let intake = Intake::new(
        database.store.clone(),
        config.limits.clone(),
        config.domains.clone(),
    );
    let mut state = api::State::new(intake.clone(), clock::now, config.http.clone());
    state.asks_for_token = asks_for_token(config.http.access, address.ip());
    state.loopback_only = is_loopback(address.ip()) && !state.asks_for_token;
    state.mailboxes = Arc::new(config.mailboxes.keys().cloned().collect());
    let asks_for_token = state.asks_for_token;
    if asks_for_token {
        state.provider = provider.map(Arc::new);
    } else if provider.is_some() {
        tracing::warn!("http.oidc is without effect: access is open, so nobody signs in");
    }

    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn(
        "housekeeping",
        background(
            database.store.clone(),
            config.clone(),
            asks_for_token,
            shutdown.clone(),
        ),
    );
    let served = api::serve(listener, tls, state, shutdown.clone());
    tasks.spawn("the API", served.map(Ok));
    ways_in.spawn(&mut tasks, &intake);
    tracing::info!(%address, "listening");
    let ran = tasks.run().await;
    let deadline = Instant::now() + STOP_MAX;
    let result = ran.and(tasks.end(deadline - CLOSE_MIN).await);
    database.close_by(deadline).await;
    tracing::info!("stopped");
    result
}

/// Brings the schema up to date as soon as the database is there, then keeps house until shutdown.
async fn background(
    store: Store,
    config: Config,
    asks_for_token: bool,
    shutdown: CancellationToken,
) -> Result<()> {
    let kept_going = shutdown.run_until_cancelled(async {
        migrate(&store).await?;
        if asks_for_token {
            make_first_token(&store).await?;
        }
        tokio::join!(
            keep_quarantine(&store, &config),
            retention::keep(&store, &config.retention),
            compaction::keep(&store),
        );
        Ok(())
    });
    kept_going.await.unwrap_or(Ok(()))
}

async fn keep_quarantine(store: &Store, config: &Config) {
    loop {
        prune(store, config).await;
        tokio::time::sleep(PRUNE_INTERVAL).await;
    }
}

async fn migrate(store: &Store) -> Result<()> {
    let mut waiting = false;
    while let Err(error) = store.migrate_for(&Actor::serve()).await {
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

/// Lets somebody in where nobody could be: prints a token that may do everything, for people and never into the log.
async fn make_first_token(store: &Store) -> Result<()> {
    let mut waiting = false;
    let made = loop {
        match store.create_first_token().await {
            Ok(made) => break made,
            Err(error) if !error.is_passing() => {
                return Err(error).context("making the first token");
            }
            Err(error) if !waiting => {
                tracing::warn!(%error, "waiting for the database with the first token");
                waiting = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(MIGRATE_INTERVAL).await;
    };
    if let Some(text) = made {
        let text = text.reveal();
        output::tell(&format!(
            "ruad: there is no token yet. This one may do everything and is shown only once:\n\n    {text}\n\n\
             Sign in with it, or send it as \"Authorization: Bearer {text}\".\n"
        ));
    }
    Ok(())
}

async fn prune(store: &Store, config: &Config) {
    let prune = Prune {
        kept_before: config.retention.quarantine_from(clock::now()),
        total_bytes_max: config.quarantine.bytes_max,
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

/// Finds access that nobody can have meant.
pub(crate) fn check_access(config: &Config) -> Result<()> {
    let ip = config.listen.ip();
    if asks_for_token(config.http.access, ip) {
        return Ok(());
    }
    if !is_loopback(ip) {
        bail!(
            "http.access: {} is not a loopback address: without tokens whoever reaches it could read and delete everything; \
             leave http.access at \"auto\", or use --insecure-open",
            config.listen
        );
    }
    // Behind a proxy on this machine it would be open to whoever the proxy is.
    if config.http.access == api::Access::Auto && !config.http.oidc.issuer.is_empty() {
        bail!(
            "http.access: people are to sign in (http.oidc), and on {} nobody is asked to: set http.access to \"token\"",
            config.listen
        );
    }
    Ok(())
}

/// Whether somebody who comes over the network must show a token.
fn asks_for_token(access: api::Access, ip: IpAddr) -> bool {
    match access {
        api::Access::Auto => !is_loopback(ip),
        api::Access::Open => false,
        api::Access::Token => true,
    }
}

/// Whether only programs on this machine can reach an address.
fn is_loopback(ip: IpAddr) -> bool {
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
