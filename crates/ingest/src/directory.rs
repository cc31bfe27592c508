//! A watched directory: whatever is put into it is taken in and moved on.
//!
//! A file is moved after the commit, and found again if we are killed in between. Its delivery id comes from the file itself,
//! so the ledger tells that it was taken in. Nothing that happens to the directory or the database ends the watch.

mod ears;
mod folder;
mod ready;
mod take;
mod watch;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::{Intake, Mistake};
use watch::Watch;

/// A watched directory.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where files are put.
    pub path: PathBuf,
    /// How often it is looked at besides, for file systems that do not tell of new files.
    pub poll_interval_secs: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            poll_interval_secs: 30,
        }
    }
}

impl Config {
    /// Finds what cannot work.
    pub fn check_all(&self) -> Result<(), Mistake> {
        if self.path.as_os_str().is_empty() {
            return Err(Mistake::new("path", "is missing"));
        }
        Mistake::if_zero("poll_interval_secs", self.poll_interval_secs)
    }
}

/// Takes in the files of a directory until the shutdown. What is not finished then is found again at the next start.
pub async fn watch(
    name: String,
    config: Config,
    intake: Intake,
    clock: fn() -> OffsetDateTime,
    shutdown: CancellationToken,
) {
    let poll_interval = Duration::from_secs(config.poll_interval_secs);
    let watch = Watch::new(name, config.path, intake, clock);
    _ = shutdown.run_until_cancelled(watch.run(poll_interval)).await;
}
