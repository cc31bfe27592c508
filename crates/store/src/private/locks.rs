//! Who uses the private server, across processes.
//!
//! The kernel drops these locks with the process, however it ends, so a killed ruad never blocks the next one.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use super::{Error, cluster};

const USAGE_FILE: &str = "ruad.lock";
const START_FILE: &str = "ruad.start.lock";
const POLL: Duration = Duration::from_millis(20);

/// A shared lock that says "this process uses the server".
#[derive(Debug)]
pub(super) struct Usage {
    file: File,
}

impl Usage {
    /// Only to be called with the start lock held: nobody can then be about to stop the server.
    pub(super) fn begin(data: &Path) -> Result<Usage, Error> {
        let path = data.join(USAGE_FILE);
        let file = cluster::create_file(data, USAGE_FILE)?;
        file.lock_shared()
            .map_err(|source| Error::Folder { path, source })?;
        Ok(Usage { file })
    }

    /// Gives the lock up and tells whether nobody else holds it. Only with the start lock held.
    pub(super) fn end_as_last(self) -> bool {
        self.file.try_lock().is_ok()
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        // Closing alone would not do: a process that is being spawned right now shares the open file for a moment.
        let _ = self.file.unlock();
    }
}

/// Waits for its turn to start or stop the server; the turn ends when the file is dropped.
///
/// Polls rather than blocks a thread, so that whoever waits can give up by dropping the future.
pub(super) async fn lock_start(data: &Path) -> Result<File, Error> {
    let file = cluster::create_file(data, START_FILE)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
            Err(TryLockError::Error(source)) => {
                return Err(Error::Folder {
                    path: data.join(START_FILE),
                    source,
                });
            }
        }
    }
}
