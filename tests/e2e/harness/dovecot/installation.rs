//! Finding Dovecot, and whom it runs as.

use std::{
    env,
    path::{Path, PathBuf},
};

use tokio::process::Command;

/// Where distributions keep programs of administrators, which is not on everybody's search path.
const MORE_PATHS: [&str; 5] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2_3,
    V2_4,
}

/// What is on this machine.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) dovecot: PathBuf,
    pub(super) doveadm: PathBuf,
    pub(super) version: Version,
    /// The user of all its processes, by name.
    pub(super) user: String,
    pub(super) group: String,
    /// Uid and gid, if they are not those of this process. Dovecot refuses to give mail to root.
    pub(super) run_as: Option<(u32, u32)>,
}

impl Installation {
    pub(super) async fn find() -> Self {
        let dovecot = program("dovecot");
        let text = printed(&dovecot, &["--version"]).await;
        let version = if text.starts_with("2.3.") {
            Version::V2_3
        } else if text.starts_with("2.4.") {
            Version::V2_4
        } else {
            panic!("the tests know how to configure Dovecot 2.3 and 2.4, but this is {text}")
        };
        let id = async |arguments: &[&str]| printed(Path::new("id"), arguments).await;
        let root = rustix::process::geteuid().is_root();
        let user = if root {
            "nobody".to_owned()
        } else {
            id(&["-un"]).await
        };
        let run_as = if root {
            let uid = id(&["-u", &user]).await.parse().unwrap();
            Some((uid, id(&["-g", &user]).await.parse().unwrap()))
        } else {
            None
        };
        Self {
            doveadm: program("doveadm"),
            dovecot,
            version,
            group: id(&["-gn", &user]).await,
            user,
            run_as,
        }
    }

    /// Settings of this process do not reach the server.
    pub(super) fn become_its_user(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/");
        if let Some((uid, gid)) = self.run_as {
            command.uid(uid).gid(gid);
        }
    }
}

fn program(name: &str) -> PathBuf {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .chain(MORE_PATHS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("there is no `{name}` here: run scripts/install test"))
}

async fn printed(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{program:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
