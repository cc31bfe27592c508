//! What the system tells of the files in a directory.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    /// The directory was moved or removed. One that takes its place has its path and may have its inode.
    is_gone: AtomicBool,
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

    /// Whether it is another directory that has the path now, or none: of it nothing is heard here.
    pub(super) fn is_gone(&self) -> bool {
        self.shared.is_gone.load(Ordering::Relaxed)
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
        if path == self.folder {
            return self.hear_of_folder(kind);
        }
        let name = match path.file_name() {
            Some(name) if path.parent() == Some(&self.folder) && is_taken(name) => name.to_owned(),
            Some(_) | None => return,
        };
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

    /// Most of what is told of the directory itself comes from our own looking at it, and must not make us look again.
    fn hear_of_folder(&self, kind: EventKind) {
        if let EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) = kind {
            self.shared.is_gone.store(true, Ordering::Relaxed);
            self.shared.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::FutureExt as _;

    use super::*;

    /// Whether there is a reason to look after what was told of a path.
    fn is_news(kind: EventKind, path: &str) -> bool {
        let shared = Arc::<Shared>::default();
        let listener = Listener {
            folder: "/spool".into(),
            shared: Arc::clone(&shared),
            tells_of_closing: true,
        };
        listener.hear(Ok(Event::new(kind).add_path(path.into())));
        shared.news.notified().now_or_never().is_some()
    }

    #[test]
    fn our_own_looking_is_no_news() {
        use notify::event::MetadataKind;
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
        ] {
            assert!(!is_news(kind, "/spool"), "{kind:?}");
            assert!(!is_news(kind, "/spool/a"), "{kind:?}");
        }
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(is_news(closed, "/spool/a"));
        assert!(!is_news(closed, "/spool/.a"));
    }

    #[tokio::test]
    async fn a_directory_that_goes_is_heard_of() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("spool");
        for is_moved in [false, true] {
            fs::create_dir(&folder).unwrap();
            let ears = Ears::open(&folder).unwrap();
            assert!(!ears.is_gone());
            if is_moved {
                fs::rename(&folder, temporary.path().join("elsewhere")).unwrap();
            } else {
                fs::remove_dir(&folder).unwrap();
            }
            ears.news().await;
            assert!(ears.is_gone());
        }
    }
}
