//! `ruad` as a process of its own.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use super::{DEADLINE, Database, eventually};

/// A call of `ruad`.
pub(crate) struct Program {
    command: Command,
    input: Vec<u8>,
}

/// What it came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The most memory it had resident; 0 where the system does not tell.
    pub(crate) peak_kib: u64,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

impl Program {
    pub(crate) fn new(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ruad-under-test"));
        command.args(arguments).kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name == "DATABASE_URL" || name.to_string_lossy().starts_with("RUAD_") {
                command.env_remove(name);
            }
        }
        // Made-up reports are of fixed days, which would be too old.
        command.env("RUAD_RETENTION__RECORDS", "0");
        Self {
            command,
            input: Vec::new(),
        }
    }

    pub(crate) fn on(self, database: &Database) -> Self {
        self.env("DATABASE_URL", &database.url)
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::<Mutex<String>>::default();
        let heard = Arc::clone(&said);
        tokio::spawn(async move { _ = stdin.write_all(&self.input).await });
        let stdout = tokio::spawn(async move {
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.unwrap();
            text
        });
        let stderr = tokio::spawn(async move {
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).await.unwrap() > 0 {
                heard
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Running {
            child,
            stdout,
            stderr,
            said,
        }
    }

    pub(crate) async fn run(self) -> Ended {
        self.spawn().end().await
    }
}

/// A process of `ruad`; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<()>,
    said: Arc<Mutex<String>>,
}

impl Running {
    /// Standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Processor time so far, its own and the kernel's for it.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let id = self.id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        // proc(5): the name in parentheses may hold anything; behind it utime and stime are the 12th and 13th field.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let times = fields.split(' ').skip(11).take(2);
        times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// `kill -9`. Returns once it is dead.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Of the process, which has not been waited for.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for its end, with an eye on its memory.
    pub(crate) async fn end(mut self) -> Ended {
        let id = self.child.id().unwrap_or_default();
        let start = Instant::now();
        let mut peak_kib = 0;
        let status: ExitStatus = loop {
            assert!(start.elapsed() < DEADLINE, "still running: {}", self.said());
            peak_kib = peak_kib.max(peak_of(id));
            if let Ok(status) =
                tokio::time::timeout(Duration::from_millis(5), self.child.wait()).await
            {
                break status.unwrap();
            }
        };
        let stdout = self.stdout.await.unwrap();
        self.stderr.await.unwrap();
        let stderr = self.said.lock().unwrap().clone();
        Ended {
            code: status.code(),
            stdout,
            stderr,
            peak_kib,
        }
    }
}

/// The most memory a process had resident so far.
fn peak_of(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}

/// `ruad serve` as a process of its own.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) process: Running,
}

impl Serving {
    /// On any free port; returns once it says which.
    pub(crate) async fn start(program: Program) -> Self {
        let program = program
            .env("RUAD_LISTEN", "127.0.0.1:0")
            .env("RUAD_LOG__FORMAT", "json");
        let mut process = program.spawn();
        let mut address = None;
        eventually("ruad says where it listens", async || {
            assert!(process.is_running(), "{}", process.said());
            address = process.said().lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                line["fields"]["address"].as_str()?.parse().ok()
            });
            address.is_some()
        })
        .await;
        Self {
            address: address.unwrap(),
            process,
        }
    }

    /// Waits until the database is there and has its schema.
    pub(crate) async fn ready(&self) {
        eventually("the service is ready", async || {
            let request = hyper::Request::get("/readyz")
                .header("host", self.address.to_string())
                .body(http_body_util::Full::default())
                .unwrap();
            let answer = super::http::send(self.address, request).await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// An upload; `None` while the server cannot be reached.
    pub(crate) async fn upload(&self, body: &bytes::Bytes) -> Option<super::Response> {
        upload_to(self.address, body).await
    }
}

/// An upload; `None` when the server goes away before it answers.
pub(crate) async fn upload_to(address: SocketAddr, body: &bytes::Bytes) -> Option<super::Response> {
    let request = hyper::Request::post("/api/v1/reports")
        .header("host", address.to_string())
        .body(http_body_util::Full::new(body.clone()))
        .unwrap();
    super::http::send(address, request).await.ok()
}
