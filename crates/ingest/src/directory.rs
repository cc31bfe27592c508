//! A watched directory: whatever is put into it is taken in and moved on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Mistake;

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
