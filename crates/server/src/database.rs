//! The database a command works with: the one configured, or the private one.

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use anyhow::{Context as _, Result};
use ingest::Secret;
use serde::{Deserialize, Serialize};
use store::{Actor, Options, PrivateConfig, PrivateServer, Store};
use tokio::time::{Instant, timeout_at};

use crate::{Config as Settings, exit::Misuse};

/// What is left of a deadline for the private server.
const PRIVATE_MIN: Duration = Duration::from_secs(1);

/// Which PostgreSQL, and how it is used.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `postgres://user:password@host/database`; empty for the private server.
    pub url: Secret,
    /// A file that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// Where the private server's programs are, if they are not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bin_dir: Option<PathBuf>,
    /// Connections that write.
    pub writers: usize,
    /// Connections in all.
    pub connections_max: u32,
    /// How long to wait for a connection.
    pub acquire_timeout_secs: u64,
    /// How long a statement may take that answers a question.
    pub statement_timeout_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        let options = Options::default();
        Self {
            url: Secret::default(),
            url_file: None,
            bin_dir: None,
            writers: options.writers,
            connections_max: options.connections_max,
            acquire_timeout_secs: options.acquire_timeout.as_secs(),
            statement_timeout_secs: options.statement_timeout.as_secs(),
        }
    }
}

/// An open database.
pub(crate) struct Database {
    pub(crate) store: Store,
    private: Option<PrivateServer>,
}

impl Database {
    /// Starts the private server if no other is configured. The schema may still be missing.
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        let config = &settings.database;
        let (connect, private) = if config.url.is_empty() {
            let private = PrivateServer::start(&PrivateConfig {
                data: settings.data.clone(),
                bin_dir: config.bin_dir.clone(),
            })
            .await
            .context("starting the private database")?;
            (private.connect_options(), Some(private))
        } else {
            (parse_url(config.url.reveal())?, None)
        };
        let options = Options {
            writers: config.writers,
            connections_max: config.connections_max,
            acquire_timeout: Duration::from_secs(config.acquire_timeout_secs),
            statement_timeout: Duration::from_secs(config.statement_timeout_secs),
        };
        Ok(Self {
            store: Store::connect(connect, &options),
            private,
        })
    }

    /// Opens the database and brings its schema up to date.
    pub(crate) async fn open_migrated(settings: &Settings) -> Result<Self> {
        let database = Self::open(settings).await?;
        match database.store.migrate_for(&Actor::cli()).await {
            Ok(()) => Ok(database),
            Err(error) => {
                database.close().await;
                Err(error.into())
            }
        }
    }

    /// Finishes what is being written and stops the private server, unless another process uses it.
    pub(crate) async fn close(self) {
        self.store.close().await;
        if let Some(private) = self.private {
            stop(private).await;
        }
    }

    /// The same, leaving behind what takes longer. Whatever a statement still does then, its transaction ends with the
    /// connection; the private server ends by itself once it has been told to.
    pub(crate) async fn close_by(self, deadline: Instant) {
        let until = match self.private {
            Some(_) => deadline - PRIVATE_MIN,
            None => deadline,
        };
        if timeout_at(until, self.store.close()).await.is_err() {
            tracing::warn!(
                "a statement takes long to end and is broken off; nothing of it was acknowledged"
            );
        }
        if let Some(private) = self.private
            && timeout_at(deadline, stop(private)).await.is_err()
        {
            tracing::warn!("the private database takes long to stop and goes on by itself");
        }
    }
}

fn parse_url(url: &str) -> Result<store::ConnectOptions> {
    let is_postgres = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    // The error of the parser may quote the URL, password and all.
    let options = store::ConnectOptions::from_str(url).ok();
    options
        .filter(|_| is_postgres)
        .context("database.url is no PostgreSQL URL (postgres://user:password@host/database)")
        .context(Misuse("config"))
}

async fn stop(private: PrivateServer) {
    if let Err(error) = private.stop().await {
        tracing::warn!(%error, "the private database could not be stopped");
    }
}
