//! The pipe to Chromium: a JSON object and a zero byte for each message, in both directions.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
    time::timeout,
};

use crate::harness::DEADLINE;

/// Chromium reads from descriptor 3 and writes to 4; the shell puts our ends of stdin and stdout there.
const SHELL: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";

/// Names under which systems know it.
const PROGRAMS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--lang=en-GB",
];

/// A running Chromium. Dropping it kills it.
pub(super) struct Pipe {
    child: Child,
    stdin: tokio::sync::Mutex<ChildStdin>,
    heard: Arc<Mutex<Heard>>,
    number: AtomicU64,
    _profile: TempDir,
}

/// What Chromium said.
#[derive(Default)]
struct Heard {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    events: Vec<Value>,
}

impl Pipe {
    pub(super) fn open() -> Self {
        let program = std::env::var("RUAD_CHROMIUM").unwrap_or_else(|_| {
            let found = PROGRAMS
                .iter()
                .find(|name| std::path::Path::new(name).exists());
            found
                .expect("Chromium is installed: see scripts/install")
                .to_string()
        });
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(SHELL).arg(program).args(ARGUMENTS);
        if rustix::process::getuid().is_root() {
            // It refuses to run as root with its sandbox, and the only pages it sees are ours.
            command.arg("--no-sandbox");
        }
        let mut child = command
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        tokio::spawn(listen(child.stdout.take().unwrap(), Arc::clone(&heard)));
        Self {
            child,
            stdin: tokio::sync::Mutex::new(stdin),
            heard,
            number: AtomicU64::new(1),
            _profile: profile,
        }
    }

    /// Calls a method, of the browser or of a page, and returns its result.
    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Value {
        self.ask(session, method, parameters)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// As `call`; an error where the method is refused.
    pub(super) async fn ask(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, Value> {
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let (answer, answered) = oneshot::channel();
        self.heard.lock().unwrap().waiting.insert(id, answer);
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.stdin.lock().await.write_all(&bytes).await.unwrap();
        let answer = timeout(DEADLINE, answered)
            .await
            .unwrap_or_else(|_| panic!("no answer to {method}"))
            .unwrap_or_else(|_| panic!("Chromium went away at {method}"));
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// What happened so far.
    pub(super) fn events(&self) -> Vec<Value> {
        self.heard.lock().unwrap().events.clone()
    }

    pub(super) async fn close(mut self) {
        _ = self.child.kill().await;
    }
}

async fn listen(stdout: ChildStdout, heard: Arc<Mutex<Heard>>) {
    let mut stdout = BufReader::new(stdout);
    let mut bytes = Vec::new();
    while stdout
        .read_until(0, &mut bytes)
        .await
        .is_ok_and(|read| read > 0)
    {
        bytes.pop();
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        bytes.clear();
        let mut heard = heard.lock().unwrap();
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(waiting) = heard.waiting.remove(&id) {
                    _ = waiting.send(message);
                }
            }
            None => heard.events.push(message),
        }
    }
    heard.lock().unwrap().waiting.clear();
}
