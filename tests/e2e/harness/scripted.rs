//! A small IMAP server in memory, for the faults that Dovecot cannot be made to show. It speaks as much of RFC 9051 as
//! taking mail needs, over plain TCP, and believes every password. A test says what goes wrong, and when:
//!
//! ```ignore
//! let server = Scripted::start().await;
//! server.deliver("INBOX", mail);
//! server.on("UID FETCH", 2, Fault::CloseInLiteral);
//! ```

mod answer;
mod command;
mod dialogue;
mod folders;
mod mails;
mod session;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::mail::Mail;

pub(crate) use folders::Folders;

/// What a server that can do everything offers.
const CAPABILITIES: [&str; 8] = [
    "IMAP4rev1",
    "LITERAL+",
    "SASL-IR",
    "AUTH=PLAIN",
    "AUTH=XOAUTH2",
    "IDLE",
    "UIDPLUS",
    "MOVE",
];

/// What happens instead of, or besides, the answer to a command.
pub(crate) enum Fault {
    /// This is the answer, after the tag: `NO [OVERQUOTA] the folder is full`. The command is not carried out.
    Answer(&'static str),
    /// `* BYE`, this text, and the end. The command is not carried out.
    Bye(&'static str),
    /// The end, without a word. The command is not carried out.
    Close,
    /// No answer, and no end. The command is not carried out.
    Stall,
    /// The command is carried out, and the connection ends before a word of the answer.
    LoseAnswer,
    /// The command is carried out; the connection ends in the middle of the first literal of the answer.
    CloseInLiteral,
    /// The same, but the connection stays open and nothing more comes.
    StallInLiteral,
    /// These bytes come before the answer.
    Insert(&'static str),
    /// Something else happens first, such as another client's deletion.
    Meanwhile(Box<dyn FnOnce(&mut Folders) + Send>),
}

/// The server; it ends when dropped.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// What all connections share.
struct Shared {
    state: Mutex<State>,
    /// Counts changes, so that connections that wait learn of them.
    changes: watch::Sender<u64>,
}

struct State {
    folders: Folders,
    capabilities: Vec<&'static str>,
    scripts: Vec<Script>,
    commands: Vec<String>,
    connections_made: usize,
    connections_open: usize,
    /// How often all connections have been ended, and the last words of the last time.
    endings: (usize, &'static str),
}

/// A fault that waits for its command.
struct Script {
    prefix: &'static str,
    /// Commands to go, this one included.
    remaining: usize,
    fault: Fault,
}

impl Scripted {
    /// With everything it can do and an empty INBOX.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                folders: Folders::new(),
                capabilities: CAPABILITIES.to_vec(),
                scripts: Vec::new(),
                commands: Vec::new(),
                connections_made: 0,
                connections_open: 0,
                endings: (0, ""),
            }),
            changes: watch::Sender::new(0),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            serving,
        }
    }

    /// From now on it neither offers this nor understands it: `MOVE`, `UIDPLUS`, `IDLE`.
    pub(crate) fn without(&self, capability: &str) {
        self.shared
            .state()
            .capabilities
            .retain(|offered| *offered != capability);
    }

    /// From now on it says that it can do this, too.
    pub(crate) fn with(&self, capability: &'static str) {
        self.shared.state().capabilities.push(capability);
    }

    /// The n-th command from now on that begins like this meets a fault, once. The greeting counts as a command named
    /// `GREETING`, and `DONE` is one.
    pub(crate) fn on(&self, prefix: &'static str, nth: usize, fault: Fault) {
        assert!(nth > 0, "the next one is the first");
        self.shared.state().scripts.push(Script {
            prefix,
            remaining: nth,
            fault,
        });
    }

    /// From now on all is well: faults that are still to come do not.
    pub(crate) fn recover(&self) {
        self.shared.state().scripts.clear();
    }

    /// A new mail. Returns its UID.
    pub(crate) fn deliver(&self, folder: &str, body: impl Into<Bytes>) -> u32 {
        self.change(|folders| folders.deliver(folder, body.into()))
    }

    /// Anything else that happens to its folders.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Folders) -> T) -> T {
        let outcome = change(&mut self.shared.state().folders);
        self.shared.changed();
        outcome
    }

    /// What lies in a folder, by UID; nothing if there is no such folder.
    pub(crate) fn folder(&self, name: &str) -> Vec<Mail> {
        self.shared.state().folders.mails(name)
    }

    /// Every command so far, without its tag.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.shared.state().commands.clone()
    }

    /// How many connections there have been.
    pub(crate) fn connections_made(&self) -> usize {
        self.shared.state().connections_made
    }

    /// How many there are.
    pub(crate) fn connections_open(&self) -> usize {
        self.shared.state().connections_open
    }

    /// Ends all connections that wait for something, with `* BYE` and a text, or without a word if there is none.
    pub(crate) fn hang_up(&self, text: &'static str) {
        let mut state = self.shared.state();
        state.endings = (state.endings.0 + 1, text);
        drop(state);
        self.shared.changed();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn opened(&self) {
        let mut state = self.state();
        state.connections_made += 1;
        state.connections_open += 1;
    }

    /// Writes a command down, and gives the fault that waits for it.
    fn meet(&self, command: &str) -> Option<Fault> {
        let mut state = self.state();
        state.commands.push(command.to_owned());
        let mut due = None;
        for (index, script) in state.scripts.iter_mut().enumerate() {
            let start = command.as_bytes().get(..script.prefix.len());
            if start.is_some_and(|start| start.eq_ignore_ascii_case(script.prefix.as_bytes())) {
                script.remaining -= 1;
                if script.remaining == 0 && due.is_none() {
                    due = Some(index);
                }
            }
        }
        let fault = due.map(|index| state.scripts.remove(index).fault);
        // One that was due together with it comes with the next command.
        for script in &mut state.scripts {
            script.remaining = script.remaining.max(1);
        }
        fault
    }
}

impl State {
    fn offers(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the set, and the set with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _): (_, SocketAddr) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            shared.opened();
            // The client may go away at any time.
            _ = session::run(stream, &shared).await;
            shared.state().connections_open -= 1;
        });
    }
}
