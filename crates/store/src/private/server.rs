//! The life of the server's process: start, adopt, watch, stop.

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{
    ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    process::Child,
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{Error, cluster::Cluster, locks, postmaster};

/// What the kernel takes for the path of a socket, without the closing zero byte.
const SOCKET_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// How long a server may keep silent while it starts, or take to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// How often to look whether a server that is not a child of ours is alive.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long to leave the backends of a dead server to notice.
const ORPHANS_DELAY: Duration = Duration::from_millis(200);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// SQLSTATE `cannot_connect_now`: the server starts, recovers or stops.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// SQLSTATE `invalid_catalog_name`: there is no such database.
const NO_SUCH_DATABASE: &str = "3D000";

/// The server of one cluster, whether this process started it or found it running.
#[derive(Debug)]
pub(super) struct Server {
    cluster: Cluster,
    /// The server's process, if it is a child of ours.
    child: Option<Child>,
    /// Where the log of the last start begins.
    log_start: u64,
    socket_folder: PathBuf,
    /// Keeps a `socket_folder` that goes through a descriptor valid.
    _directory: File,
}

enum Answer {
    Ready,
    /// Alive, and busy with starting, recovering or stopping.
    NotYet,
    Silent,
}

impl Server {
    /// Neither starts nor looks for the server yet.
    pub(super) fn new(cluster: Cluster) -> Result<Server, Error> {
        let directory =
            File::open(&cluster.folder).map_err(|source| cluster.folder_error(source))?;
        let socket_folder = socket_folder(&cluster.folder, &directory)?;
        Ok(Server {
            cluster,
            child: None,
            log_start: 0,
            socket_folder,
            _directory: directory,
        })
    }

    /// Returns once the server takes connections and has its database, starting it if need be. Only with the start
    /// lock held; may be dropped at any moment.
    pub(super) async fn ensure_running(&mut self) -> Result<(), Error> {
        self.reap();
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.reap() {
                self.explain_exit(status)?;
                sleep(ORPHANS_DELAY).await;
            }
            if self.pid().is_none() {
                self.spawn()?;
            }
            match self.ask().await? {
                Answer::Ready => return Ok(()),
                // A recovery takes what it takes. To cut it short would only mean to begin again.
                Answer::NotYet => deadline = Instant::now() + PATIENCE,
                Answer::Silent => {}
            }
            if Instant::now() > deadline {
                let log = self.cluster.log_tail(self.log_start);
                return Err(Error::NotReady {
                    seconds: PATIENCE.as_secs(),
                    log,
                });
            }
            sleep(POLL).await;
        }
    }

    /// Starts the server again whenever it dies, until `end` is dropped; then gives it back, in whatever state.
    pub(super) async fn watch(mut self, data: PathBuf, mut end: oneshot::Receiver<()>) -> Server {
        loop {
            tokio::select! {
                _ = &mut end => return self,
                () = self.ended(WATCH_INTERVAL) => {}
            }
            tracing::warn!(folder = %self.cluster.folder.display(), "the private PostgreSQL server died, starting it again");
            tokio::select! {
                _ = &mut end => return self,
                () = self.revive(&data) => {}
            }
        }
    }

    /// Stops the server in an orderly way: it ends its sessions, writes a checkpoint and exits.
    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        self.reap();
        let Some(pid) = self.pid() else {
            return Ok(());
        };
        // An error means that it is gone already.
        let _ = kill_process(pid, Signal::INT);
        let gone = timeout(PATIENCE, self.ended(POLL)).await;
        gone.map_err(|_| Error::NotStopped {
            pid: pid.as_raw_nonzero().get(),
            seconds: PATIENCE.as_secs(),
        })
    }

    /// How to reach the server's database `ruad`.
    pub(super) fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_folder)
            .port(5432)
            .username("ruad")
            .database("ruad")
            .ssl_mode(PgSslMode::Disable)
            .application_name("ruad")
    }

    async fn revive(&mut self, data: &Path) {
        let mut delay = WATCH_INTERVAL;
        loop {
            let result = match locks::lock_start(data).await {
                Ok(_starting) => self.ensure_running().await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => return tracing::info!("the private PostgreSQL server runs again"),
                Err(error) => {
                    tracing::error!(%error, "cannot start the private PostgreSQL server, trying again")
                }
            }
            sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    /// Completes when the server's process is gone: at once for a child, else when the next look finds out.
    async fn ended(&mut self, interval: Duration) {
        if let Some(child) = &mut self.child {
            // Waiting for a child fails only if it has been waited for already.
            let _ = child.wait().await;
            self.child = None;
            return;
        }
        let Some(pid) = self.pid() else { return };
        while postmaster::serves(pid, &self.cluster.folder, &self.socket_folder) {
            sleep(interval).await;
        }
    }

    /// The server's process, if it lives. The caller has reaped a child that ended.
    fn pid(&self) -> Option<Pid> {
        let child = self.child.as_ref().and_then(Child::id);
        let child = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        child.or_else(|| postmaster::find(&self.cluster.folder, &self.socket_folder))
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    fn spawn(&mut self) -> Result<(), Error> {
        postmaster::clear_claims(&self.cluster.folder)
            .map_err(|source| self.cluster.folder_error(source))?;
        let log = self.cluster.open_log()?;
        self.log_start = log
            .metadata()
            .map_err(|source| self.cluster.folder_error(source))?
            .len();
        let child = self.cluster.server_command(log)?.spawn();
        let child = child.map_err(|source| Error::Run {
            program: self.cluster.program("postgres"),
            source,
        })?;
        tracing::debug!(pid = child.id(), folder = %self.cluster.folder.display(), "started the private PostgreSQL server");
        self.child = Some(child);
        Ok(())
    }

    /// A server that ended while it was being started is an error, except where the next attempt can do better.
    fn explain_exit(&self, status: ExitStatus) -> Result<(), Error> {
        let log = self.cluster.log_tail(self.log_start);
        // After the sudden death of a server its backends take a moment to notice, and hold the shared memory so long.
        if log.contains("is still in use") {
            return Ok(());
        }
        Err(Error::Exited {
            log: format!("{status}; {log}"),
        })
    }

    /// Connects once, and makes the database `ruad` if the server has just got its cluster.
    async fn ask(&self) -> Result<Answer, Error> {
        let options = self.connect_options();
        let missing = match timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => {
                // The answer is there; how the connection ends does not matter.
                let _ = connection.close().await;
                return Ok(Answer::Ready);
            }
            Ok(Err(error)) => error,
            Err(_) => return Ok(Answer::Silent),
        };
        let code = missing
            .as_database_error()
            .and_then(|error| error.code())
            .map(|code| code.into_owned());
        match code.as_deref() {
            Some(CANNOT_CONNECT_NOW) => Ok(Answer::NotYet),
            Some(NO_SUCH_DATABASE) => {
                let mut connection = options.database("postgres").connect().await?;
                sqlx::query("create database ruad")
                    .execute(&mut connection)
                    .await?;
                connection.close().await?;
                Ok(Answer::Ready)
            }
            Some(_) => Err(Error::Database(missing)),
            None => Ok(Answer::Silent),
        }
    }
}

/// A path to the cluster that is short enough for the socket in it, and clean enough for `sqlx`, which wants UTF-8.
fn socket_folder(folder: &Path, directory: &File) -> Result<PathBuf, Error> {
    let bytes = folder.join(SOCKET_FILE).as_os_str().as_bytes().len();
    if bytes <= SOCKET_PATH_BYTES_MAX && folder.to_str().is_some() {
        return Ok(folder.to_owned());
    }
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from(format!(
            "/proc/self/fd/{}",
            directory.as_raw_fd()
        )));
    }
    Err(Error::PathTooLong {
        path: folder.to_owned(),
    })
}
