//! What the system tells of the files in a directory.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, WatcherKind,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::Notify;

use super::folder::is_taken;

/// Files that were heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Closed after writing, or renamed to this name.
    pub(super) complete: HashSet<OsString>,
    /// Written to and not closed since.
    pub(super) writing: HashSet<OsString>,
}

/// Hears of the files in one directory.
#[derive(Debug)]
pub(super) struct Ears {
    shared: Arc<Shared>,
    _watcher: RecommendedWatcher,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Notify,
}

impl Ears {
    pub(super) fn open(folder: &Path) -> notify::Result<Self> {
        let shared = Arc::<Shared>::default();
        let listener = Listener {
            folder: folder.to_owned(),
            shared: Arc::clone(&shared),
            tells_of_closing: RecommendedWatcher::kind() == WatcherKind::Inotify,
        };
        let mut watcher = notify::recommended_watcher(move |event| listener.hear(event))?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(Self {
            shared,
            _watcher: watcher,
        })
    }

    /// Waits until there is a reason to look.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// What was heard; completed files are told of once.
    pub(super) fn heard(&self) -> Heard {
        let mut heard = self.shared.lock();
        Heard {
            complete: std::mem::take(&mut heard.complete),
            writing: heard.writing.clone(),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Listener {
    folder: PathBuf,
    shared: Arc<Shared>,
    tells_of_closing: bool,
}

impl Listener {
    fn hear(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if !event.need_rescan() => {
                for path in &event.paths {
                    self.hear_of(event.kind, path);
                }
            }
            // Something was missed: nothing is known of who is writing.
            Ok(_) | Err(_) => {
                *self.shared.lock() = Heard::default();
                self.shared.news.notify_one();
            }
        }
    }

    fn hear_of(&self, kind: EventKind, path: &Path) {
        let name = match path.file_name() {
            Some(name) if path.parent() == Some(&self.folder) => name.to_owned(),
            // The directory itself: it was moved or removed.
            Some(_) | None => return self.shared.news.notify_one(),
        };
        if !is_taken(&name) {
            return;
        }
        let mut heard = self.shared.lock();
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                heard.writing.remove(&name);
                heard.complete.insert(name);
            }
            EventKind::Modify(ModifyKind::Data(_)) => {
                heard.complete.remove(&name);
                if self.tells_of_closing {
                    heard.writing.insert(name);
                }
                return;
            }
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                heard.writing.remove(&name);
                heard.complete.remove(&name);
                return;
            }
            // A link is made and never closed.
            EventKind::Create(CreateKind::File | CreateKind::Any) => {}
            // Everything else tells nothing, our own reading above all.
            _ => return,
        }
        drop(heard);
        self.shared.news.notify_one();
    }
}
