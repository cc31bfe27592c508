//! The PostgreSQL server of a run, set up as `initdb` leaves it: every commit waits for the disk. Only while a database is
//! filled, before anything is measured, it is in a hurry.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::process::output;

const START_TRIES: u32 = 300;
const START_WAIT: Duration = Duration::from_millis(100);

/// A running server, ended when dropped.
pub(crate) struct Server {
    /// Where PostgreSQL's programs are.
    bin: PathBuf,
    /// Holds the cluster and the socket.
    folder: PathBuf,
    /// User and group to run as, because PostgreSQL refuses to run as root.
    owner: Option<(u32, u32)>,
    postmaster: Child,
}

impl Server {
    /// Makes a cluster in an empty folder and starts its server.
    pub(crate) fn start(root: &Path, folder: &Path) -> Result<Self> {
        let bin = PathBuf::from(output(&mut Command::new(
            root.join("scripts/postgres-bin"),
        ))?);
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(folder, Some(user), Some(group))?;
        }
        let data = folder.join("data");
        let mut initdb = as_owner(&bin.join("initdb"), owner);
        initdb.arg("-D").arg(&data);
        initdb.args(["-U", "ruad", "-A", "trust", "-E", "UTF8", "--no-locale"]);
        output(&mut initdb)?;

        let postmaster = postmaster(&bin, folder, owner, &[])?;
        let server = Self {
            bin,
            folder: folder.into(),
            owner,
            postmaster,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Stops and starts the server with settings for this time.
    pub(crate) fn restart(&mut self, settings: &[&str]) -> Result<()> {
        self.stop()?;
        self.postmaster = postmaster(&self.bin, &self.folder, self.owner, settings)?;
        self.wait_until_ready()
    }

    /// Waits for the disk to have everything.
    fn stop(&mut self) -> Result<()> {
        let mut stop = as_owner(&self.bin.join("pg_ctl"), self.owner);
        let wait_secs = "600";
        stop.args(["stop", "-m", "fast", "-t", wait_secs, "-D"])
            .arg(self.folder.join("data"));
        output(&mut stop)?;
        self.postmaster.wait()?;
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<()> {
        for _ in 0..START_TRIES {
            if self.query("postgres", "select 1").is_ok() {
                return Ok(());
            }
            thread::sleep(START_WAIT);
        }
        let log = fs::read_to_string(self.folder.join("log"))?;
        bail!("PostgreSQL did not start: {log}");
    }

    /// Makes an empty database, throws away the one that had the name, and lets the disk come to rest.
    pub(crate) fn fresh_database(&self, name: &str) -> Result<()> {
        self.query(
            "postgres",
            &format!("drop database if exists {name} with (force)"),
        )?;
        self.query("postgres", &format!("create database {name}"))?;
        self.rest()
    }

    /// Writes out what earlier steps left to be written, so that the next one does not pay for it.
    pub(crate) fn rest(&self) -> Result<()> {
        self.query("postgres", "checkpoint")?;
        Ok(())
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgresql:///{database}?host={}&user=ruad",
            self.folder.display()
        )
    }

    /// `psql` on a database, stopping at the first error.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database)]);
        psql
    }

    /// Runs statements and returns what the last one says.
    pub(crate) fn query(&self, database: &str, statement: &str) -> Result<String> {
        output(self.psql(database).args(["-c", statement]))
    }

    pub(crate) fn version(&self) -> Result<String> {
        self.query("postgres", "show server_version")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop().is_err() {
            // It is somebody else's process by now, or it has ended.
            _ = self.postmaster.kill();
            _ = self.postmaster.wait();
        }
    }
}

fn postmaster(
    bin: &Path,
    folder: &Path,
    owner: Option<(u32, u32)>,
    settings: &[&str],
) -> Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let mut postgres = as_owner(&bin.join("postgres"), owner);
    postgres
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=", "-c"])
        .arg(format!("unix_socket_directories={}", folder.display()));
    for setting in settings {
        postgres.args(["-c", setting]);
    }
    Ok(postgres
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?)
}

/// The user `postgres` if we are root.
fn owner() -> Result<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| -> Result<u32> {
        let text = output(Command::new("id").args(arguments))?;
        text.parse().context("reading the output of `id`")
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))
}

fn as_owner(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    // A folder that any user may be in.
    command.current_dir("/");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}
