//! Which files are complete.

use std::{collections::HashMap, ffi::OsString, time::Duration};

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    ears::Heard,
    folder::{Listed, Stamp},
};

/// How long a file must lie still of which nothing was heard: it was there before us, or its file system tells nothing.
pub(super) const STILL: Duration = Duration::from_secs(2);

/// The same for an empty file, which somebody has most likely just begun.
const STILL_EMPTY: Duration = Duration::from_secs(60);

/// Files that may not be complete yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(HashMap<OsString, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Stamp,
    since: Instant,
}

impl Waiting {
    /// Those of the listed files that are complete; the others are remembered.
    pub(super) fn complete(
        &mut self,
        listed: Vec<Listed>,
        heard: &Heard,
        now: OffsetDateTime,
        instant: Instant,
    ) -> Vec<Listed> {
        let mut waiting = HashMap::new();
        let mut complete = Vec::new();
        for file in listed {
            let seen = match self.0.get(&file.name) {
                Some(seen) if seen.stamp == file.stamp => *seen,
                Some(_) | None => Seen {
                    stamp: file.stamp,
                    since: instant,
                },
            };
            if is_complete(&file, heard, now, instant - seen.since) {
                complete.push(file);
            } else {
                waiting.insert(file.name, seen);
            }
        }
        self.0 = waiting;
        complete
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether nobody writes to a file any more. While the system has told of writing and not of the end of it, somebody does,
/// however long that takes.
fn is_complete(file: &Listed, heard: &Heard, now: OffsetDateTime, unchanged: Duration) -> bool {
    if heard.complete.contains(&file.name) {
        return true;
    }
    if heard.writing.contains(&file.name) {
        return false;
    }
    let still = match file.stamp.size_bytes {
        0 => STILL_EMPTY,
        _ => STILL,
    };
    // The clock of the file system may be another one: it may be ahead, and then only what we see ourselves counts.
    unchanged >= still || now - file.stamp.modified() >= still
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::directory::folder::Folder;

    fn listed(content: &str) -> Listed {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("a"), content).unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        folder.list().unwrap().remove(0)
    }

    fn heard(complete: &[&str], writing: &[&str]) -> Heard {
        Heard {
            complete: complete.iter().map(OsString::from).collect(),
            writing: writing.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn a_file_is_complete_when_it_is_closed_or_lies_still() {
        let file = listed("text");
        let written = file.stamp.modified();
        let (just_now, later) = (written, written + STILL);
        let zero = Duration::ZERO;
        let nothing = heard(&[], &[]);
        assert!(!is_complete(&file, &nothing, just_now, zero));
        assert!(is_complete(&file, &nothing, later, zero));
        assert!(is_complete(&file, &heard(&["a"], &[]), just_now, zero));
        assert!(!is_complete(&file, &heard(&[], &["a"]), later, STILL));
        let behind = written - time::Duration::HOUR;
        assert!(!is_complete(&file, &nothing, behind, zero));
        assert!(is_complete(&file, &nothing, behind, STILL));
    }

    #[test]
    fn an_empty_file_lies_longer() {
        let file = listed("");
        let nothing = heard(&[], &[]);
        let later = file.stamp.modified() + STILL;
        assert!(!is_complete(&file, &nothing, later, STILL));
        assert!(is_complete(&file, &nothing, later, STILL_EMPTY));
        let closed = heard(&["a"], &[]);
        assert!(is_complete(&file, &closed, later, Duration::ZERO));
    }

    #[test]
    fn a_change_begins_the_wait_anew() {
        let mut waiting = Waiting::default();
        let (file, changed) = (listed("text"), listed("more text"));
        let start = Instant::now();
        let mut look = |file: &Listed, after: Duration| {
            let behind = OffsetDateTime::UNIX_EPOCH;
            let files = vec![file.clone()];
            waiting.complete(files, &heard(&[], &[]), behind, start + after)
        };
        assert_eq!(look(&file, Duration::ZERO), []);
        assert_eq!(look(&changed, STILL), []);
        assert_eq!(look(&changed, 2 * STILL), std::slice::from_ref(&changed));
        assert!(waiting.is_empty());
    }
}
