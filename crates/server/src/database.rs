//! The database a command works with: the one configured, or the private one.

use std::{path::PathBuf, str::FromStr as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use ingest::Secret;
use serde::{Deserialize, Serialize};
use store::{Options, PrivateConfig, PrivateServer, Store};

use crate::Config as Settings;

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
            // The error of the parser may quote the URL, password and all.
            let Ok(connect) = store::ConnectOptions::from_str(config.url.reveal()) else {
                bail!("database.url is no PostgreSQL URL (postgres://user:password@host/database)");
            };
            (connect, None)
        };
        let options = Options {
            writers: config.writers,
            connections_max: config.connections_max,
            acquire_timeout: Duration::from_secs(config.acquire_timeout_secs),
        };
        Ok(Self {
            store: Store::connect(connect, &options),
            private,
        })
    }

    /// Opens the database and brings its schema up to date.
    pub(crate) async fn open_migrated(settings: &Settings) -> Result<Self> {
        let database = Self::open(settings).await?;
        match database.store.migrate().await {
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
        if let Some(private) = self.private
            && let Err(error) = private.stop().await
        {
            tracing::warn!(%error, "the private database could not be stopped");
        }
    }
}
