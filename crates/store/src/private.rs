//! A PostgreSQL server that ruad runs for itself inside its data folder.
//!
//! The data folder holds the cluster (`postgres`), the server's log (`postgres.log`) and two lock files. Every ruad
//! process that uses the server holds a shared lock on `ruad.lock`; whoever leaves last stops the server, whoever
//! started it. Starting and stopping are serialised by an exclusive lock on `ruad.start.lock`, so that a process that
//! arrives while the last one leaves waits for the end and starts the server anew.
//!
//! The server speaks on a Unix socket inside the cluster folder only. That folder belongs to the server's user and
//! has mode 0700, which is why there is no password: whoever can reach the socket can read the files as well.
//!
//! Start reading at [`PrivateServer::start`]; `server` holds the life of the process, `cluster` its folder.

mod binaries;
mod cluster;
mod locks;
mod postmaster;
mod server;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

use sqlx::postgres::PgConnectOptions;
use tokio::{sync::oneshot, task::JoinHandle};

use cluster::Cluster;
use locks::Usage;
use server::Server;

/// Where the private server keeps its data and finds its programs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data folder; made on first use.
    pub data: PathBuf,
    /// The folder of `initdb` and `postgres`, for an installation that is not found by itself.
    pub bin_dir: Option<PathBuf>,
}

/// Why the private server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No suitable installation anywhere.
    #[error(
        "PostgreSQL 15 or newer is not installed: run `apt-get install postgresql` or \
         `brew install postgresql@17`, or set DATABASE_URL to use a server of your own"
    )]
    NotInstalled,
    /// The configured folder does not hold a suitable installation.
    #[error("no `initdb` and `postgres` of PostgreSQL 15 or newer in {}", .path.display())]
    NoBinaries {
        /// The configured folder.
        path: PathBuf,
    },
    /// A cluster can only be opened by the major version that made it.
    #[error(
        "the private database in {} was made by PostgreSQL {major}, which is not installed: run \
         `apt-get install postgresql-{major}` or `brew install postgresql@{major}`", .path.display()
    )]
    OtherMajor {
        /// The cluster's folder.
        path: PathBuf,
        /// The version in its `PG_VERSION`.
        major: u32,
    },
    /// PostgreSQL serves only a folder that belongs to its own user.
    #[error(
        "the private database in {} belongs to user id {owner}, which cannot run it: run ruad as the user that \
         made it, or give the folder away with `chown -R`", .path.display()
    )]
    ForeignCluster {
        /// The cluster's folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// ruad is root, and there is nobody to run the server as.
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as"
    )]
    NoUser,
    /// The data folder or a file in it cannot be used.
    #[error("cannot use {}: {source}", .path.display())]
    Folder {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket's path is longer than the system takes, and there is no way around that here.
    #[error("the path {} is too long for a Unix socket: choose a shorter data folder", .path.display())]
    PathTooLong {
        /// The cluster's folder.
        path: PathBuf,
    },
    /// A program of PostgreSQL could not be run at all.
    #[error("cannot run {}: {source}", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `initdb` gave up.
    #[error("initdb failed in {}: {output}", .path.display())]
    Initdb {
        /// The cluster's folder.
        path: PathBuf,
        /// The last lines it printed.
        output: String,
    },
    /// The server ended while it was being started.
    #[error("the private PostgreSQL server did not start: {log}")]
    Exited {
        /// The last lines of its log.
        log: String,
    },
    /// The server runs, but nobody answers.
    #[error("the private PostgreSQL server did not answer within {seconds} s: {log}")]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// The server was told to stop and is still there.
    #[error("the private PostgreSQL server (process {pid}) did not stop within {seconds} s")]
    NotStopped {
        /// Its process.
        pid: i32,
        /// How long it was given.
        seconds: u64,
    },
    /// The server answered, and refused.
    #[error("the private PostgreSQL server refused: {0}")]
    Database(#[from] sqlx::Error),
}

/// A running private server. While this lives, the server is watched and started again should it die.
///
/// Dropping it ends the watching and leaves the server running for the next ruad to adopt; [`PrivateServer::stop`]
/// is the orderly way.
#[derive(Debug)]
pub struct PrivateServer {
    data: PathBuf,
    usage: Usage,
    connect_options: PgConnectOptions,
    /// Dropping it ends the watcher, which gives the server back.
    end_watch: oneshot::Sender<()>,
    watcher: JoinHandle<Server>,
}

impl PrivateServer {
    /// Makes the cluster on first use, and starts its server or adopts a running one.
    pub async fn start(config: &Config) -> Result<PrivateServer, Error> {
        let data = cluster::open_data_folder(&config.data)?;
        let starting = locks::lock_start(&data).await?;
        let usage = Usage::begin(&data)?;
        let cluster = Cluster::open(&data, config.bin_dir.as_deref()).await?;
        let mut server = Server::new(cluster)?;
        server.ensure_running().await?;
        let connect_options = server.connect_options();
        drop(starting);

        let (end_watch, ended) = oneshot::channel();
        let watcher = tokio::spawn(server.watch(data.clone(), ended));
        Ok(PrivateServer {
            data,
            usage,
            connect_options,
            end_watch,
            watcher,
        })
    }

    /// How to reach the server: database `ruad`, as its owner `ruad`. Good for as long as `self` lives.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.connect_options.clone()
    }

    /// Stops the server and waits for its end, unless another ruad process still uses it.
    pub async fn stop(self) -> Result<(), Error> {
        drop(self.end_watch);
        let Ok(mut server) = self.watcher.await else {
            // The watcher has no way to panic; if the runtime is going down, the next run adopts the server.
            return Ok(());
        };
        let _starting = locks::lock_start(&self.data).await?;
        if self.usage.end_as_last() {
            server.stop().await?;
        }
        Ok(())
    }
}
