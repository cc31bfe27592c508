//! Looking at the directory, again and again.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use store::Outcome;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{
    ears::{Ears, Heard},
    folder::{Folder, Listed, Moved},
    ready::{STILL, Waiting},
    take::Taker,
};
use crate::{Error, Intake, files::is_mbox};

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Files that are open at a time.
const FILES: usize = 64;

/// Where files go below the directory.
const DONE: &str = "done";
const REJECTED: &str = "rejected";

/// The watch over one directory.
#[derive(Debug)]
pub(super) struct Watch {
    name: String,
    path: PathBuf,
    intake: Intake,
    clock: fn() -> OffsetDateTime,
    /// The directory as it was last found, and who tells of it.
    found: Option<(Folder, Option<Ears>)>,
    waiting: Waiting,
    /// Files that are taken in and could not be moved.
    stuck: HashMap<Uuid, Outcome>,
    troubles: Troubles,
}

/// What was complained of: each trouble is told once, and once more when it is over.
#[derive(Debug, Default)]
struct Troubles {
    directory: bool,
    database: bool,
    moving: bool,
    files: HashMap<OsString, String>,
}

/// A file that was opened.
struct Opened {
    listed: Listed,
    file: Arc<File>,
    is_mbox: bool,
}

impl Watch {
    pub(super) fn new(
        name: String,
        path: PathBuf,
        intake: Intake,
        clock: fn() -> OffsetDateTime,
    ) -> Self {
        Self {
            name,
            path,
            intake,
            clock,
            found: None,
            waiting: Waiting::default(),
            stuck: HashMap::new(),
            troubles: Troubles::default(),
        }
    }

    pub(super) async fn run(mut self, poll_interval: Duration) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            if let Err(error) = self.look().await {
                if !std::mem::replace(&mut self.troubles.database, true) {
                    tracing::warn!(directory = self.name, %error, "files wait for the database");
                }
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                continue;
            }
            if std::mem::take(&mut self.troubles.database) {
                tracing::info!(directory = self.name, "files are taken in again");
            }
            backoff = BACKOFF_FIRST;
            let pause = if self.waiting.is_empty() {
                poll_interval
            } else {
                poll_interval.min(STILL)
            };
            match &self.found {
                Some((_, Some(ears))) => _ = timeout(pause, ears.news()).await,
                Some((_, None)) | None => sleep(pause).await,
            }
        }
    }

    /// Takes in every file that is complete. `Err` when the database is away or does not even tell what it has.
    async fn look(&mut self) -> Result<(), store::Error> {
        let Some((folder, listed, heard)) = self.list().await else {
            return Ok(());
        };
        self.troubles
            .files
            .retain(|name, _| listed.iter().any(|file| file.name == *name));
        let complete = self
            .waiting
            .complete(listed, &heard, (self.clock)(), Instant::now());
        let mut stuck = HashMap::new();
        std::mem::swap(&mut stuck, &mut self.stuck);
        let (taken, new): (Vec<Listed>, Vec<Listed>) = complete
            .into_iter()
            .partition(|file| stuck.contains_key(&folder.delivery_id(file, None)));
        for file in taken {
            let outcome = stuck[&folder.delivery_id(&file, None)];
            self.put_away(&folder, file, outcome).await;
        }
        let mut refused = Ok(());
        for files in new.chunks(FILES) {
            match self.take(&folder, files).await {
                Err(error) if is_database_away(&error) => return Err(error),
                // Other files may have nothing to do with it, and must not wait for somebody who mends it.
                taken => refused = refused.and(taken),
            }
        }
        refused
    }

    /// Lists the directory and what was heard of it; `None` while it is not there.
    async fn list(&mut self) -> Option<(Folder, Vec<Listed>, Heard)> {
        let path = self.path.clone();
        let opened = blocking(move || Folder::open(&path)).await;
        let folder = match opened {
            Ok(folder) => folder,
            Err(error) => return self.is_away(&error),
        };
        // A directory that was made anew may have the inode of the one that was removed.
        let is_same = |(found, ears): &(Folder, Option<Ears>)| {
            *found == folder && !ears.as_ref().is_some_and(Ears::is_gone)
        };
        if !self.found.as_ref().is_some_and(is_same) {
            // What is put there from now on is heard of, and what was put there before is listed.
            let ears = self.listen(&folder.path);
            self.found = Some((folder.clone(), ears));
        }
        let ears = self.found.as_ref().and_then(|(_, ears)| ears.as_ref());
        let heard = ears.map(Ears::heard).unwrap_or_default();
        let listing = folder.clone();
        match blocking(move || listing.list()).await {
            Ok(listed) => {
                if std::mem::take(&mut self.troubles.directory) {
                    tracing::info!(directory = self.name, "the directory is there again");
                }
                Some((folder, listed, heard))
            }
            Err(error) => self.is_away(&error),
        }
    }

    fn is_away<T>(&mut self, error: &io::Error) -> Option<T> {
        self.found = None;
        if !std::mem::replace(&mut self.troubles.directory, true) {
            tracing::warn!(
                directory = self.name,
                path = %self.path.display(),
                %error,
                "the directory cannot be read; it is looked for until it can"
            );
        }
        None
    }

    fn listen(&self, path: &Path) -> Option<Ears> {
        match Ears::open(path) {
            Ok(ears) => Some(ears),
            Err(error) => {
                tracing::warn!(
                    directory = self.name,
                    %error,
                    "the system does not tell of new files; they are found by looking"
                );
                None
            }
        }
    }

    async fn take(&mut self, folder: &Folder, files: &[Listed]) -> Result<(), store::Error> {
        let (mboxes, plain): (Vec<Opened>, Vec<Opened>) = self
            .open(folder, files.to_vec())
            .await
            .into_iter()
            .partition(|opened| opened.is_mbox);
        let intake = self.intake.clone();
        let taker = Taker {
            intake: &intake,
            folder,
            received_at: (self.clock)(),
        };
        let deliveries: Vec<_> = plain
            .iter()
            .map(|opened| (&opened.listed, Arc::clone(&opened.file)))
            .collect();
        let outcomes = taker.take(&deliveries).await?;
        let mut away = Ok(());
        for (opened, outcome) in plain.into_iter().zip(outcomes) {
            // One that failed does not keep back the others, which are committed.
            away = away.and(self.taken(folder, opened.listed, outcome).await);
        }
        away?;
        for opened in mboxes {
            let outcome = taker.take_mbox(&opened.listed, &opened.file).await;
            self.taken(folder, opened.listed, outcome).await?;
        }
        Ok(())
    }

    async fn open(&mut self, folder: &Folder, files: Vec<Listed>) -> Vec<Opened> {
        let folder = folder.clone();
        let opening = move || {
            let open = |listed: &Listed| -> io::Result<Option<(Arc<File>, bool)>> {
                let Some(file) = folder.open_file(listed)? else {
                    return Ok(None);
                };
                let is_mbox = is_mbox(&file)?;
                Ok(Some((Arc::new(file), is_mbox)))
            };
            let opened = files.into_iter().map(|listed| (open(&listed), listed));
            Ok(opened.collect::<Vec<_>>())
        };
        let mut opened = Vec::new();
        match blocking(opening).await {
            Ok(files) => {
                for (file, listed) in files {
                    match file {
                        Ok(Some((file, is_mbox))) => opened.push(Opened {
                            listed,
                            file,
                            is_mbox,
                        }),
                        // It has changed since it was listed, and is seen again.
                        Ok(None) => {}
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => self.cannot_take(listed, &error.to_string()),
                    }
                }
            }
            Err(error) => tracing::error!(directory = self.name, %error, "opening files failed"),
        }
        opened
    }

    /// Moves a file that was taken in. `Err` when the database is away.
    async fn taken(
        &mut self,
        folder: &Folder,
        listed: Listed,
        outcome: Result<Outcome, Error>,
    ) -> Result<(), store::Error> {
        match outcome {
            Ok(outcome) => {
                self.troubles.files.remove(&listed.name);
                self.put_away(folder, listed, outcome).await;
                Ok(())
            }
            Err(Error::Store(error)) if is_database_away(&error) => Err(error),
            Err(error) => {
                self.cannot_take(listed, &error.to_string());
                Ok(())
            }
        }
    }

    fn cannot_take(&mut self, listed: Listed, error: &str) {
        let told = self.troubles.files.get(&listed.name);
        if told.is_none_or(|told| told != error) {
            tracing::warn!(
                directory = self.name,
                file = %listed.name.display(),
                error,
                "a file cannot be taken in and stays where it is; it is tried again"
            );
            self.troubles.files.insert(listed.name, error.into());
        }
    }

    async fn put_away(&mut self, folder: &Folder, listed: Listed, outcome: Outcome) {
        let below = match outcome {
            Outcome::Rejected => REJECTED,
            Outcome::Stored | Outcome::Duplicate | Outcome::Conflict | Outcome::NotAggregate => {
                DONE
            }
        };
        let delivery_id = folder.delivery_id(&listed, None);
        let name = listed.name.clone();
        let moving = folder.clone();
        match blocking(move || moving.put_away(&listed, below)).await {
            Ok(Moved::Away) => {
                tracing::debug!(
                    directory = self.name,
                    file = %name.display(),
                    outcome = outcome.as_str(),
                    "a file was taken in"
                );
                if std::mem::take(&mut self.troubles.moving) {
                    tracing::info!(directory = self.name, "files can be moved again");
                }
            }
            Ok(Moved::Gone | Moved::Changed) => {}
            Err(error) => {
                self.stuck.insert(delivery_id, outcome);
                if !std::mem::replace(&mut self.troubles.moving, true) {
                    let target = folder.path.join(below);
                    tracing::error!(
                        directory = self.name,
                        file = %name.display(),
                        %error,
                        "files are taken in and cannot be moved to {}; they stay where they are and are not taken in again: make \
                         it a folder that can be written to, on the same disk and with room",
                        target.display()
                    );
                }
            }
        }
    }
}

/// Whether no file can be taken in at the moment, rather than this one.
fn is_database_away(error: &store::Error) -> bool {
    error.is_passing() || matches!(error, store::Error::Closed)
}

/// Does what may wait for a disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
