//! The cluster's folder: whose it is, how it is made, and how a program is run on it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown},
    path::{Path, PathBuf},
    process::{self, Stdio},
};

use tokio::process::Command;

use super::{
    Error,
    binaries::{self, Binaries},
};

const CLUSTER_FOLDER: &str = "postgres";
/// Clusters in the making carry this prefix and a process id; one that is left over was never finished.
const NEW_PREFIX: &str = "postgres.new-";
const LOG_FILE: &str = "postgres.log";
/// A log longer than this starts over with the next start of the server.
const LOG_BYTES_MAX: u64 = 8 << 20;
const OUTPUT_LINES_SHOWN: usize = 8;

/// Written once, at the end of a new cluster's `postgresql.conf`, where users may change it. Nothing here may weaken
/// durability: an acknowledged delivery has to survive a power cut.
const SETTINGS: &str = "
# Set by ruad when it made this cluster; change it freely.
jit = off
max_wal_size = '2GB'
";

/// A cluster that is ready to be served.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The cluster's folder, absolute.
    pub(super) folder: PathBuf,
    data: PathBuf,
    binaries: Binaries,
    run_as: Option<User>,
}

/// Whom to become before running PostgreSQL, which refuses to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Makes the cluster if there is none. Only to be called with the start lock held.
    pub(super) async fn open(data: &Path, bin_dir: Option<&Path>) -> Result<Cluster, Error> {
        let folder = data.join(CLUSTER_FOLDER);
        let binaries = binaries::find(bin_dir, &folder).await?;
        let run_as = server_user(data, &folder)?;
        let cluster = Cluster {
            folder,
            data: data.to_owned(),
            binaries,
            run_as,
        };
        if !cluster.folder.exists() {
            cluster.create().await?;
        }
        Ok(cluster)
    }

    /// The command that serves this cluster, writing to `log`.
    pub(super) fn server_command(&self, log: File) -> Result<Command, Error> {
        let mut command = self.command("postgres", &self.folder)?;
        // On the command line, so that no setting in a file can open the server to the network or move its socket.
        // The socket's folder is relative to the cluster: its path then has no length and needs no rights above.
        for setting in [
            "listen_addresses=",
            "unix_socket_directories=.",
            "port=5432",
            "logging_collector=off",
        ] {
            command.args(["-c", setting]);
        }
        let second = log
            .try_clone()
            .map_err(|source| self.folder_error(source))?;
        command.stdout(log).stderr(second);
        Ok(command)
    }

    /// Opens the server's log for appending; a long one starts over.
    pub(super) fn open_log(&self) -> Result<File, Error> {
        let log = create_file(&self.data, LOG_FILE)?;
        let truncated = log.metadata().and_then(|metadata| {
            if metadata.len() > LOG_BYTES_MAX {
                log.set_len(0)
            } else {
                Ok(())
            }
        });
        truncated.map_err(|source| Error::Folder {
            path: self.data.join(LOG_FILE),
            source,
        })?;
        Ok(log)
    }

    /// The last lines the server wrote after `start`, for an error message.
    pub(super) fn log_tail(&self, start: u64) -> String {
        let log = fs::read(self.data.join(LOG_FILE)).unwrap_or_default();
        let start = usize::try_from(start).map_or(log.len(), |start| start.min(log.len()));
        last_lines(&String::from_utf8_lossy(&log[start..]))
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.binaries.dir.join(name)
    }

    /// Makes the cluster under another name first, so that one which is there is always whole.
    async fn create(&self) -> Result<(), Error> {
        self.remove_unfinished()
            .map_err(|source| self.folder_error(source))?;
        let new = self.data.join(format!("{NEW_PREFIX}{}", process::id()));
        self.create_folder(&new)
            .map_err(|source| self.folder_error(source))?;
        tracing::info!(folder = %self.folder.display(), "making the private database, once");

        let mut command = self.command("initdb", &new)?;
        command.args([
            "--username=ruad",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--data-checksums",
        ]);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = command.output().await.map_err(|source| Error::Run {
            program: self.program("initdb"),
            source,
        })?;
        if !output.status.success() {
            let printed = [output.stdout, output.stderr].concat();
            return Err(Error::Initdb {
                path: self.folder.clone(),
                output: last_lines(&String::from_utf8_lossy(&printed)),
            });
        }
        self.finish(&new)
            .map_err(|source| self.folder_error(source))
    }

    fn create_folder(&self, new: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(new)?;
        match self.run_as {
            Some(user) => chown(new, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    fn finish(&self, new: &Path) -> io::Result<()> {
        let mut config = OpenOptions::new()
            .append(true)
            .open(new.join("postgresql.conf"))?;
        config.write_all(SETTINGS.as_bytes())?;
        config.sync_all()?;
        fs::rename(new, &self.folder)?;
        File::open(&self.data)?.sync_all()
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.data)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(NEW_PREFIX) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// A program of PostgreSQL on a cluster folder, as the right user, in a process group of its own: Ctrl-C in the
    /// terminal is for ruad, which then stops the server when it has finished with it.
    fn command(&self, program: &str, folder: &Path) -> Result<Command, Error> {
        let program = self.program(program);
        let mut command = match self.run_as {
            // The server's user often cannot walk down to the folder, say below root's home. It inherits the opened
            // folder instead, as descriptor 3, which the shell makes out of standard input.
            Some(_) if cfg!(target_os = "linux") => {
                let directory = File::open(folder).map_err(|source| self.folder_error(source))?;
                let mut command = Command::new("/bin/sh");
                command.args(["-c", r#"exec 3<&0 </dev/null; exec "$@""#, "sh"]);
                command
                    .arg(&program)
                    .args(["-D", "/proc/self/fd/3"])
                    .stdin(directory);
                command
            }
            Some(_) | None => {
                let mut command = Command::new(&program);
                command.arg("-D").arg(folder).stdin(Stdio::null());
                command
            }
        };
        if let Some(user) = self.run_as {
            command.uid(user.uid).gid(user.gid);
        }
        // A clean environment keeps ruad's secrets, and settings such as PGPORT, away from the server; a fixed zone
        // and locale make its log and its errors the same everywhere.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        // Older releases return to the working folder at start, so it has to be one that every user can enter.
        command.current_dir("/").process_group(0);
        Ok(command)
    }

    pub(super) fn folder_error(&self, source: io::Error) -> Error {
        Error::Folder {
            path: self.folder.clone(),
            source,
        }
    }
}

/// Makes the data folder if it is missing, and names it in a way that does not depend on the working folder.
pub(super) fn open_data_folder(data: &Path) -> Result<PathBuf, Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.and_then(|()| fs::canonicalize(data))
        .map_err(|source| Error::Folder {
            path: data.to_owned(),
            source,
        })
}

/// Opens a file of the data folder for appending, making it if it is missing.
pub(super) fn create_file(data: &Path, name: &str) -> Result<File, Error> {
    let path = data.join(name);
    let open = || {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        if rustix::process::geteuid().is_root() {
            // The folder's owner must be able to run ruad again without root.
            let owner = fs::metadata(data)?;
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(file)
    };
    open().map_err(|source| Error::Folder {
        path: path.clone(),
        source,
    })
}

/// Whom the server runs as; nobody else if ruad is an ordinary user.
fn server_user(data: &Path, folder: &Path) -> Result<Option<User>, Error> {
    let euid = rustix::process::geteuid();
    let cluster = fs::metadata(folder).ok().map(|metadata| User {
        uid: metadata.uid(),
        gid: metadata.gid(),
    });
    match cluster {
        Some(owner) if !euid.is_root() && owner.uid == euid.as_raw() => Ok(None),
        Some(owner) if euid.is_root() && owner.uid != 0 => Ok(Some(owner)),
        Some(owner) => Err(Error::ForeignCluster {
            path: folder.to_owned(),
            owner: owner.uid,
        }),
        None if !euid.is_root() => Ok(None),
        None => {
            let folder_error = |source| Error::Folder {
                path: data.to_owned(),
                source,
            };
            let owner = fs::metadata(data).map_err(folder_error)?.uid();
            let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
            choose_user(owner, &passwd).map(Some).ok_or(Error::NoUser)
        }
    }
}

/// The owner of the data folder, else `postgres`, else `nobody`. Only users with an entry in `passwd` will do:
/// `initdb` looks its own name up.
fn choose_user(data_owner: u32, passwd: &str) -> Option<User> {
    let users: Vec<(&str, User)> = passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let user = User {
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            };
            (user.uid != 0).then_some((name, user))
        })
        .collect();
    let owner = users.iter().find(|(_, user)| user.uid == data_owner);
    let named = |name| users.iter().find(move |(other, _)| *other == name);
    owner
        .or_else(|| named("postgres"))
        .or_else(|| named("nobody"))
        .map(|(_, user)| *user)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(OUTPUT_LINES_SHOWN)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n\
        postgres:x:105:110::/var/lib/postgresql:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n";

    #[test]
    fn server_runs_as_the_owner_of_the_data_folder() {
        assert_eq!(
            choose_user(1000, PASSWD),
            Some(User {
                uid: 1000,
                gid: 1000
            })
        );
    }

    #[test]
    fn server_never_runs_as_root() {
        assert_eq!(choose_user(0, PASSWD), Some(User { uid: 105, gid: 110 }));
        assert_eq!(
            choose_user(0, &PASSWD.replace("postgres", "other")),
            Some(User {
                uid: 65534,
                gid: 65534
            })
        );
        assert_eq!(choose_user(0, "root:x:0:0::/:/bin/sh\n"), None);
    }

    #[test]
    fn shows_the_last_lines() {
        assert_eq!(last_lines("a\n\n b \n"), "a; b");
        assert_eq!(
            last_lines(&"x\n".repeat(100)),
            ["x"; OUTPUT_LINES_SHOWN].join("; ")
        );
    }
}
