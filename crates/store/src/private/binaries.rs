//! Finding `initdb` and `postgres`. Distributions keep them off the search path and side by side by major version.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::Error;

const MAJOR_MIN: u32 = 15;

/// An installation of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

/// The installation to use: `bin_dir` if given, and of the major version of `cluster` if there is one already.
pub(super) async fn find(bin_dir: Option<&Path>, cluster: &Path) -> Result<Binaries, Error> {
    let dirs = match bin_dir {
        Some(dir) => vec![dir.to_owned()],
        None => candidates(pg_config().await),
    };
    let mut found = Vec::new();
    for dir in &dirs {
        found.extend(inspect(dir).await);
    }
    if let (Some(path), true) = (bin_dir, found.is_empty()) {
        return Err(Error::NoBinaries {
            path: path.to_owned(),
        });
    }
    choose(found, cluster_major(cluster), cluster)
}

fn choose(
    found: Vec<Binaries>,
    cluster_major: Option<u32>,
    cluster: &Path,
) -> Result<Binaries, Error> {
    match cluster_major {
        None => found.into_iter().next().ok_or(Error::NotInstalled),
        Some(major) => found
            .into_iter()
            .find(|binaries| binaries.major == major)
            .ok_or_else(|| Error::OtherMajor {
                path: cluster.to_owned(),
                major,
            }),
    }
}

/// The major version that made a cluster; none if there is no cluster yet.
fn cluster_major(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Every folder worth a look, the best first.
fn candidates(pg_config: Option<PathBuf>) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = pg_config.into_iter().collect();
    dirs.extend(versions("/usr/lib/postgresql", ""));
    dirs.extend(versions("/usr", "pgsql-"));
    for brew in [
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
    ] {
        dirs.extend(versions(brew, "postgresql@"));
    }
    dirs.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    dirs
}

/// The `bin` folders of `<parent>/<prefix><major>`, the newest first.
fn versions(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let major = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

async fn pg_config() -> Option<PathBuf> {
    Some(PathBuf::from(
        first_line(Command::new("pg_config").arg("--bindir")).await?,
    ))
}

/// What stands in a folder, if it can make and run a cluster that is new enough.
async fn inspect(dir: &Path) -> Option<Binaries> {
    // The server runs with another working folder, so a relative path would lead elsewhere.
    let dir = fs::canonicalize(dir).ok()?;
    if !dir.join("initdb").is_file() || !dir.join("postgres").is_file() {
        return None;
    }
    let version = first_line(Command::new(dir.join("postgres")).arg("--version")).await?;
    let major = major_of(&version)?;
    (major >= MAJOR_MIN).then_some(Binaries { dir, major })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`, and `19beta1` as well.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..digits].parse().ok()
}

async fn first_line(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .await
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(major: u32) -> Binaries {
        Binaries {
            dir: PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
            major,
        }
    }

    #[test]
    fn reads_versions() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("postgres (PostgreSQL) 17"), Some(17));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn new_cluster_takes_the_first_installation() {
        let chosen = choose(vec![installed(17), installed(16)], None, Path::new("data"));
        assert_eq!(chosen.unwrap(), installed(17));
    }

    #[test]
    fn cluster_takes_its_own_major() {
        let chosen = choose(
            vec![installed(17), installed(16)],
            Some(16),
            Path::new("data"),
        );
        assert_eq!(chosen.unwrap(), installed(16));
    }

    #[test]
    fn says_what_to_install() {
        let error = choose(Vec::new(), None, Path::new("data"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`apt-get install postgresql`") && error.contains("DATABASE_URL"),
            "{error}"
        );
        let error = choose(vec![installed(17)], Some(15), Path::new("data"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`apt-get install postgresql-15`"), "{error}");
    }
}
