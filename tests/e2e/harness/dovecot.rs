//! Dovecot, the real one: a server of a test's own.

mod config;
mod guard;
mod installation;
mod mailbox;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    process::{Child, Command},
};

use self::{guard::Guard, installation::Installation};
use super::{
    DEADLINE,
    certificates::{Certificates, Identity},
    eventually,
};

pub(crate) use mailbox::Mailbox;

/// The password that every new mailbox has.
pub(crate) const PASSWORD: &str = "correct horse";

/// How long a start may take.
const START: Duration = DEADLINE;

/// How long sessions may take to end when the server stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// How a server differs from the usual one.
#[derive(Debug)]
pub(crate) struct Options {
    /// Whom it says to be in TLS.
    pub(crate) identity: Identity,
    /// Capabilities that it does not offer, such as `MOVE`.
    pub(crate) without: &'static [&'static str],
    /// Where it asks about access tokens; empty: it offers neither XOAUTH2 nor OAUTHBEARER.
    pub(crate) introspection_url: String,
    /// How many mails fit into a user's folders together. Dovecot asks when a mail is copied, not when it is moved.
    pub(crate) mails_max: Option<u32>,
    /// What it does before it says that something is done. `optimized` survives a power cut; `never` is for tests of
    /// speed that kill nothing.
    pub(crate) fsync: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            identity: Identity::Trusted,
            without: &[],
            introspection_url: String::new(),
            mails_max: None,
            fsync: "optimized",
        }
    }
}

/// A running server. Dropping it, or the end of this process, kills it and removes its folder.
pub(crate) struct Dovecot {
    pub(crate) certificates: Certificates,
    /// On 127.0.0.1: plain, with STARTTLS.
    pub(crate) imap_port: u16,
    /// On 127.0.0.1: TLS from the first byte.
    pub(crate) imaps_port: u16,
    installation: Installation,
    folder: PathBuf,
    guard: Guard,
    master: Option<Child>,
}

impl Dovecot {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let installation = Installation::find().await;
        // The path of a socket must be short, whatever TMPDIR says. The guard removes the folder.
        let folder = tempfile::Builder::new()
            .prefix("ruad-dovecot.")
            .tempdir_in("/tmp")
            .unwrap()
            .keep();
        let guard = Guard::of(&folder);
        let mut dovecot = Self {
            certificates: Certificates::make(&folder, options.identity),
            imap_port: free_port(),
            imaps_port: free_port(),
            installation,
            folder,
            guard,
            master: None,
        };
        dovecot.prepare(&options);
        dovecot.start_again().await;
        dovecot
    }

    /// A user with an empty INBOX.
    pub(crate) async fn mailbox(&self, user: &str) -> Mailbox {
        Mailbox::create(self, user).await
    }

    /// After `stop` or `kill`, on the same ports.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.master.is_none(), "it is running");
        // One that was killed has left its process id, which by now may be that of any other process.
        _ = fs::remove_file(self.folder.join("run/master.pid"));
        // So may a process that held the list of UIDs: Dovecot waits two minutes before it takes such a lock for stale.
        remove_locks(&self.folder.join("mail"));
        let output = fs::File::create(self.folder.join("output")).unwrap();
        // It waits for a line before it becomes Dovecot, so that nothing runs that the guard does not know.
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"read -r go && exec "$@" </dev/null"#, "sh"])
            .arg(&self.installation.dovecot)
            .arg("-F")
            .arg("-c")
            .arg(self.config_file())
            .stdin(std::process::Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        self.installation.become_its_user(&mut command);
        let mut master = command.spawn().unwrap();
        self.guard.watch(master.id().unwrap());
        let mut stdin = master.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, b"go\n")
            .await
            .unwrap();
        self.master = Some(master);
        self.becomes_ready().await;
    }

    /// As systemd does it, with a signal to all processes: sessions are told so and ended. The master alone would leave
    /// them as they are.
    pub(crate) async fn stop(&mut self) {
        let mut master = self.master.take().expect("it is running");
        let group = pid_of(&master);
        kill_process_group(group, Signal::TERM).unwrap();
        // A paused one hears it when it goes on.
        _ = kill_process_group(group, Signal::CONT);
        master.wait().await.unwrap();
        // Sessions may take longer than the master.
        let start = Instant::now();
        while test_kill_process_group(group).is_ok() && start.elapsed() < GOODBYE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        _ = kill_process_group(group, Signal::KILL);
        self.guard.forget();
        self.is_gone().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// `kill -9` of all its processes. Returns once they are dead.
    pub(crate) async fn kill(&mut self) {
        let mut master = self.master.take().expect("it is running");
        kill_process_group(pid_of(&master), Signal::KILL).unwrap();
        master.wait().await.unwrap();
        self.guard.forget();
        self.is_gone().await;
    }

    /// From now on it accepts connections, or the system does for it, and says nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends a pause.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Everything that it has logged. Passwords are not among it.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        read("output") + &read("log")
    }

    fn signal(&self, signal: Signal) {
        let master = self.master.as_ref().expect("it is running");
        kill_process_group(pid_of(master), signal).unwrap();
    }

    /// Everything it needs in its folder.
    fn prepare(&self, options: &Options) {
        for name in ["run", "state", "users", "mail"] {
            fs::create_dir(self.folder.join(name)).unwrap();
        }
        fs::write(self.config_file(), config::of(self, options)).unwrap();
        fs::write(
            self.folder.join("oauth2.conf"),
            config::oauth2_of(&options.introspection_url),
        )
        .unwrap();
        self.own(&self.folder);
        for entry in fs::read_dir(&self.folder).unwrap() {
            self.own(&entry.unwrap().path());
        }
    }

    /// Gives a file to the server's user.
    fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.installation.run_as {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("dovecot.conf")
    }

    async fn becomes_ready(&mut self) {
        let start = Instant::now();
        while !greets(self.imap_port).await {
            let ended = self.master.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < START,
                "Dovecot does not start: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_gone(&self) {
        eventually("Dovecot is gone", async || {
            let plain = TcpStream::connect(("127.0.0.1", self.imap_port)).await;
            let tls = TcpStream::connect(("127.0.0.1", self.imaps_port)).await;
            plain.is_err() && tls.is_err()
        })
        .await;
    }
}

/// Removes the locks of processes that are all dead.
fn remove_locks(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            remove_locks(&entry.path());
        } else if entry.file_name() == "dovecot-uidlist.lock" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    let id = child.id().expect("it has not been waited for");
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Whether a greeting comes. While its authentication starts, Dovecot says `* OK Waiting` first.
async fn greets(port: u16) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let mut start = [0; 6];
        stream.read_exact(&mut start).await.ok()?;
        (start == *b"* OK [").then_some(())
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(1), greeting).await,
        Ok(Some(()))
    )
}

/// A port that is free, from the range that systems do not give to connections: it has to stay free while the server
/// is stopped.
fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 16_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Where to begin differs from process to process.
    let begin = std::process::id().wrapping_mul(61) % u32::from(COUNT);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((begin + next) % u32::from(COUNT)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
