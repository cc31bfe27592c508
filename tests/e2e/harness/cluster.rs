//! A PostgreSQL server of a test's own, to be stopped and started again.

use rustix::process::{Pid, Signal, kill_process};
use store::{PrivateConfig, PrivateServer};
use tempfile::TempDir;

use super::Database;

/// A server in a temporary folder.
pub(crate) struct Cluster {
    folder: TempDir,
    running: Option<PrivateServer>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let mut cluster = Self::empty();
        cluster.restart().await;
        cluster
    }

    /// A folder in which nothing has been started yet, for `ruad` to use as its data folder.
    pub(crate) fn empty() -> Self {
        // The path of a socket must be short, whatever TMPDIR says.
        let folder = tempfile::Builder::new()
            .prefix("ruad-e2e.")
            .tempdir_in("/tmp")
            .unwrap();
        Self {
            folder,
            running: None,
        }
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) async fn restart(&mut self) {
        let config = PrivateConfig {
            data: self.data(),
            bin_dir: None,
        };
        self.running = Some(PrivateServer::start(&config).await.unwrap());
    }

    /// As an administrator would: sessions are ended, then the server.
    pub(crate) async fn stop(&mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// The database in it, for as long as the server runs.
    pub(crate) fn database(&self) -> Database {
        let folder = self.data().join("postgres");
        Database::at(format!(
            "postgres://ruad@localhost/ruad?host={}",
            folder.display()
        ))
    }

    /// `kill -9` of the server, if it runs; whatever watches it may start it again.
    pub(crate) fn kill(&self) -> bool {
        self.pid()
            .is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.pid()
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }

    fn pid(&self) -> Option<Pid> {
        let file = std::fs::read_to_string(self.data().join("postgres/postmaster.pid")).ok()?;
        Pid::from_raw(file.lines().next()?.parse().ok()?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A test that failed leaves its server behind: it must not outlive its folder.
        drop(self.running.take());
        if let Some(pid) = self.pid() {
            _ = kill_process(pid, Signal::KILL);
        }
    }
}
