//! A user of a server, with folders. What happens here does not go through IMAP, so that it works while the server is
//! paused or dead, and does not depend on the client under test.

use std::{
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Output,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::process::Command;

use super::{
    Dovecot, PASSWORD,
    installation::{Installation, Version},
};
use crate::harness::{
    eventually,
    mail::{Mail, flags_in},
};

/// What doveadm ends with when there is no such folder (EX_NOHOST of sysexits.h).
const NO_SUCH_FOLDER: i32 = 68;

/// Numbers files and changes; files are sorted by it when Dovecot gives them UIDs.
static NUMBER: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    pub(crate) user: String,
    server: PathBuf,
    installation: Installation,
}

/// What STATUS says of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) mail_count: u32,
    pub(crate) uid_validity: u32,
    pub(crate) next_uid: u32,
}

impl Mailbox {
    pub(super) async fn create(dovecot: &Dovecot, user: &str) -> Self {
        let mailbox = Self {
            user: user.to_owned(),
            server: dovecot.folder.clone(),
            installation: dovecot.installation.clone(),
        };
        mailbox.make_folder(&mailbox.home());
        let maildir = mailbox.maildir("INBOX");
        mailbox.make_folder(&maildir);
        for name in ["tmp", "new", "cur"] {
            mailbox.make_folder(&maildir.join(name));
        }
        mailbox.write_password(PASSWORD);
        mailbox
    }

    /// From the next login on. The server has to be running.
    pub(crate) async fn change_password(&self, password: &str) {
        self.write_password(password);
        // Dovecot looks for a new file once in a second.
        eventually("the password is good", async || {
            let test = self.ask(&["auth", "test", &self.user, password]).await;
            test.status.success()
        })
        .await;
    }

    pub(crate) async fn deliver(&self, mail: &[u8]) {
        self.deliver_all("INBOX", vec![Bytes::copy_from_slice(mail)])
            .await;
    }

    /// As a delivery agent does: each mail is whole when it appears. They get UIDs in this order.
    pub(crate) async fn deliver_all(&self, folder: &str, mails: Vec<Bytes>) {
        let (mailbox, maildir) = (self.clone(), self.maildir(folder));
        tokio::task::spawn_blocking(move || {
            for mail in mails {
                mailbox.deliver_to(&maildir, &mail);
            }
        })
        .await
        .unwrap();
    }

    /// What lies in a folder, by UID; nothing if there is no such folder.
    pub(crate) async fn folder(&self, name: &str) -> Vec<Mail> {
        let fields = "uid flags hdr.message-id hdr.subject";
        let output = self
            .run(&["fetch"], &[fields, "mailbox", name, "all"])
            .await;
        if output.status.code() == Some(NO_SUCH_FOLDER) {
            return Vec::new();
        }
        let mails = json(&succeeded(output));
        let text = |mail: &Value, field: &str| mail[field].as_str().unwrap_or_default().to_owned();
        let read = |mail: &Value| Mail {
            uid: text(mail, "uid").parse().unwrap(),
            message_id: text(mail, "hdr.message-id"),
            subject: text(mail, "hdr.subject"),
            flags: flags_in(&text(mail, "flags")),
        };
        mails.iter().map(read).collect()
    }

    /// The names of all folders, sorted.
    pub(crate) async fn folders(&self) -> Vec<String> {
        let output = self.doveadm(&["mailbox", "list"], &[]).await;
        let mut names: Vec<String> = json(&output)
            .iter()
            .map(|folder| folder["mailbox"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) async fn status(&self, folder: &str) -> Status {
        let fields = "messages uidvalidity uidnext";
        let output = self
            .doveadm(&["mailbox", "status"], &[fields, folder])
            .await;
        let number = |field: &str| json(&output)[0][field].as_str().unwrap().parse().unwrap();
        Status {
            mail_count: number("messages"),
            uid_validity: number("uidvalidity"),
            next_uid: number("uidnext"),
        }
    }

    pub(crate) async fn create_folder(&self, name: &str) {
        self.doveadm(&["mailbox", "create"], &[name]).await;
    }

    pub(crate) async fn delete_folder(&self, name: &str) {
        self.doveadm(&["mailbox", "delete"], &[name]).await;
    }

    pub(crate) async fn rename_folder(&self, from: &str, to: &str) {
        self.doveadm(&["mailbox", "rename"], &[from, to]).await;
    }

    /// As after a restored backup: the same mails, and the UIDs known so far mean nothing.
    pub(crate) async fn change_uid_validity(&self, folder: &str) {
        let new = (self.status(folder).await.uid_validity + 1).to_string();
        self.doveadm(&["mailbox", "update"], &["--uid-validity", &new, folder])
            .await;
    }

    /// Another client deletes a mail.
    pub(crate) async fn expunge(&self, folder: &str, uid: u32) {
        self.doveadm(&["expunge"], &["mailbox", folder, "uid", &uid.to_string()])
            .await;
    }

    /// Another client copies a mail to a folder that is there.
    pub(crate) async fn copy(&self, from: &str, uid: u32, to: &str) {
        self.doveadm(&["copy"], &[to, "mailbox", from, "uid", &uid.to_string()])
            .await;
    }

    /// Another client sets flags or keywords, with spaces between them.
    pub(crate) async fn add_flags(&self, folder: &str, uid: u32, flags: &str) {
        let uid = uid.to_string();
        self.doveadm(&["flags", "add"], &[flags, "mailbox", folder, "uid", &uid])
            .await;
    }

    /// Leaves the user only some rights in a folder, in the letters of RFC 4314: `lr` for a read-only folder, `lrste`
    /// for one without keywords that takes no mail, `lrwstie` for all that matters. From the next SELECT on.
    pub(crate) fn restrict(&self, folder: &str, rights: &str) {
        let path = self.maildir(folder).join("dovecot-acl");
        fs::write(&path, format!("owner {rights}\n")).unwrap();
        self.own(&path);
    }

    /// How many connections are logged in as this user. The server has to be running.
    pub(crate) async fn session_count(&self) -> usize {
        let sessions = succeeded(self.ask(&["who", "-1", &self.user]).await);
        sessions.lines().skip(1).count()
    }

    /// Ends them, as the server does with sessions that it does not like.
    pub(crate) async fn disconnect(&self) {
        succeeded(self.ask(&["kick", &self.user]).await);
    }

    /// The same with the connections of all users.
    pub(crate) async fn disconnect_all(&self) {
        succeeded(self.ask(&["kick", "*"]).await);
    }

    fn write_password(&self, password: &str) {
        let path = self.server.join("users").join(&self.user);
        let new = path.with_extension("new");
        fs::write(&new, format!("{}:{{PLAIN}}{password}::::::\n", self.user)).unwrap();
        // Dovecot reads the file again when its time has changed, in seconds.
        let number = 1 + NUMBER.fetch_add(1, Ordering::Relaxed);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
        File::options()
            .append(true)
            .open(&new)
            .unwrap()
            .set_modified(time)
            .unwrap();
        self.own(&new);
        fs::rename(new, path).unwrap();
    }

    fn deliver_to(&self, maildir: &Path, mail: &[u8]) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.M0P1Q{number}.localhost", 1_700_000_000 + number);
        let new = maildir.join("tmp").join(&name);
        fs::write(&new, mail).unwrap();
        self.own(&new);
        fs::rename(new, maildir.join("new").join(&name)).unwrap();
    }

    fn home(&self) -> PathBuf {
        self.server.join("mail").join(&self.user)
    }

    /// Where a folder lies: Maildir++.
    fn maildir(&self, folder: &str) -> PathBuf {
        let maildir = self.home().join("Maildir");
        match folder {
            "INBOX" => maildir,
            name => maildir.join(format!(".{}", name.replace('/', "."))),
        }
    }

    fn make_folder(&self, path: &Path) {
        fs::create_dir(path).unwrap();
        self.own(path);
    }

    fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.installation.run_as {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    async fn doveadm(&self, command: &[&str], arguments: &[&str]) -> String {
        succeeded(self.run(command, arguments).await)
    }

    /// Works on the folders of the user in its environment: that needs no server.
    async fn run(&self, command: &[&str], arguments: &[&str]) -> Output {
        let lookup: &[&str] = match self.installation.version {
            Version::V2_3 => &[],
            Version::V2_4 => &["--no-userdb-lookup"],
        };
        let mut doveadm = self.to_run();
        doveadm.args(["-f", "json"]);
        doveadm.args(command).args(lookup).args(arguments);
        doveadm.output().await.unwrap()
    }

    /// Asks the server, which has to be running.
    async fn ask(&self, arguments: &[&str]) -> Output {
        self.to_run().args(arguments).output().await.unwrap()
    }

    fn to_run(&self) -> Command {
        let mut doveadm = Command::new(&self.installation.doveadm);
        self.installation.become_its_user(&mut doveadm);
        doveadm
            .env("USER", &self.user)
            .env("HOME", self.home())
            .arg("-c")
            .arg(self.server.join("dovecot.conf"))
            // It would wait for a server that is paused.
            .args(["-o", "stats_writer_socket_path="])
            .kill_on_drop(true);
        doveadm
    }
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "doveadm: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// An array; doveadm prints nothing at all instead of an empty one.
fn json(text: &str) -> Vec<Value> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
