//! The deliveries in files and folders.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use report::Body;
use walkdir::{DirEntry, WalkDir};

use crate::{
    mbox::{self, Messages},
    peers,
};

/// Bytes of a file at most: 2 GiB.
pub(crate) const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Files up to this size are read once, into memory.
pub(crate) const SMALL_FILE_BYTES: usize = 32 * 1024;

/// What a file is told by: enough for the first line of an mbox, and for the first names in parsedmarc's output.
const START_BYTES: usize = 1024;

/// Something found at a path: a file, a message of an mbox, or a report in the output of parsedmarc.
#[derive(Debug)]
pub struct Found {
    /// Where: the path; for one of several things in a file with `#` and its number.
    pub name: String,
    /// Its bytes, or why they cannot be read.
    pub body: io::Result<Body>,
}

/// Lists what is at these paths, in order: files, folders with everything below them in the order of names, mbox files
/// message by message, the output of parsedmarc report by report, and `-` for standard input. Of a maildir only the messages in `cur` and `new` are taken.
///
/// `visit` returns `false` to stop.
pub fn find(paths: &[PathBuf], message_bytes_max: u64, visit: &mut dyn FnMut(Found) -> bool) {
    for path in paths {
        let go_on = if path.as_os_str() == "-" {
            match spool_stdin() {
                Ok(file) => open_file("-".into(), file, message_bytes_max, visit),
                Err(error) => visit(Found {
                    name: "-".into(),
                    body: Err(error),
                }),
            }
        } else {
            walk(path, message_bytes_max, visit)
        };
        if !go_on {
            return;
        }
    }
}

fn walk(path: &Path, message_bytes_max: u64, visit: &mut dyn FnMut(Found) -> bool) -> bool {
    let mut maildirs = Maildirs::default();
    let entries = WalkDir::new(path)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !maildirs.is_housekeeping(entry));
    for entry in entries {
        let go_on = match entry {
            Ok(entry) if is_regular(&entry) => {
                let name = entry.path().display().to_string();
                match File::open(entry.path()) {
                    Ok(file) => open_file(name, file, message_bytes_max, visit),
                    Err(error) => visit(Found {
                        name,
                        body: Err(error),
                    }),
                }
            }
            Ok(_) => true,
            Err(error) => {
                let name = error.path().unwrap_or(path).display().to_string();
                visit(Found {
                    name,
                    body: Err(error.into()),
                })
            }
        };
        if !go_on {
            return false;
        }
    }
    true
}

/// A link that is named on the command line is followed, one found in a folder is not.
fn is_regular(entry: &DirEntry) -> bool {
    entry.file_type().is_file()
        || (entry.depth() == 0 && !entry.file_type().is_dir() && entry.path().is_file())
}

/// Tells what in a maildir is no mail.
#[derive(Default)]
struct Maildirs {
    /// The folder looked at last, and whether it is a maildir: the next entry is mostly in the same.
    last: Option<(PathBuf, bool)>,
}

impl Maildirs {
    /// In a maildir (a folder with `cur` and `new`) only these two and its sub-folders, whose names begin with a dot, hold
    /// mail: `tmp` is mail in the making, files beside them belong to the mail server.
    fn is_housekeeping(&mut self, entry: &DirEntry) -> bool {
        let Some(folder) = entry.path().parent() else {
            return false;
        };
        if entry.depth() == 0 || !self.is_maildir(folder) {
            return false;
        }
        let name = entry.file_name().to_string_lossy();
        let holds_mail = name == "cur" || name == "new" || name.starts_with('.');
        !(entry.file_type().is_dir() && holds_mail)
    }

    fn is_maildir(&mut self, folder: &Path) -> bool {
        match &self.last {
            Some((last, is_maildir)) if last == folder => *is_maildir,
            _ => {
                let is_maildir = folder.join("cur").is_dir() && folder.join("new").is_dir();
                self.last = Some((folder.into(), is_maildir));
                is_maildir
            }
        }
    }
}

/// Visits a file, or what is in it if it is an mbox or the output of parsedmarc. Returns what `visit` did.
fn open_file(
    name: String,
    file: File,
    message_bytes_max: u64,
    visit: &mut dyn FnMut(Found) -> bool,
) -> bool {
    let (start, size_bytes) = match read_start(&file) {
        Ok(read) => read,
        Err(error) => {
            let body = Err(error);
            return visit(Found { name, body });
        }
    };
    if mbox::is_separator(first_line(&start)) {
        return messages(&name, file, message_bytes_max, visit);
    }
    let kept_in = peers::kept_in(&start[..start.len().min(START_BYTES)]);
    let body = match (check_size(size_bytes), kept_in) {
        (Err(error), _) => Err(error),
        (Ok(()), Some(kept_in)) => {
            return peers::reports(&name, &file, kept_in, message_bytes_max, visit);
        }
        (Ok(()), None) if start.len() as u64 == size_bytes => Ok(Body::Memory(start.into())),
        (Ok(()), None) => Ok(Body::File(Arc::new(file))),
    };
    visit(Found { name, body })
}

/// Visits the messages of an mbox.
fn messages(
    name: &str,
    file: File,
    message_bytes_max: u64,
    visit: &mut dyn FnMut(Found) -> bool,
) -> bool {
    let reader = BufReader::with_capacity(256 * 1024, file);
    for (number, message) in Messages::new(reader, message_bytes_max).enumerate() {
        let found = Found {
            name: format!("{name}#{}", number + 1),
            body: message.map(|message| Body::Memory(Bytes::from(message))),
        };
        let failed = found.body.is_err();
        if !visit(found) {
            return false;
        }
        if failed {
            break;
        }
    }
    true
}

/// All of a small file, the first bytes of another, and the size.
fn read_start(file: &File) -> io::Result<(Vec<u8>, u64)> {
    let size_bytes = file.metadata()?.len();
    let wanted = match usize::try_from(size_bytes) {
        Ok(size) if size <= SMALL_FILE_BYTES => size,
        _ => START_BYTES,
    };
    let mut start = vec![0; wanted];
    let length = read_at(file, &mut start)?;
    start.truncate(length);
    Ok((start, size_bytes))
}

/// Reads from the beginning until `out` is full or the file ends.
fn read_at(file: &File, out: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < out.len() {
        match file.read_at(&mut out[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn first_line(start: &[u8]) -> &[u8] {
    start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}

/// Whether a file begins as an mbox does.
pub(crate) fn is_mbox(file: &File) -> io::Result<bool> {
    let mut start = [0; START_BYTES];
    let length = read_at(file, &mut start)?;
    Ok(mbox::is_separator(first_line(&start[..length])))
}

/// `Err` if a file is too large to be looked into.
fn check_size(size_bytes: u64) -> io::Result<()> {
    if size_bytes > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{size_bytes} bytes, more than the {FILE_BYTES_MAX} of a file"),
        ));
    }
    Ok(())
}

/// Standard input cannot be read twice, a file can.
fn spool_stdin() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let copied = io::copy(&mut io::stdin().lock().take(FILE_BYTES_MAX + 1), &mut file)?;
    if copied > FILE_BYTES_MAX {
        return check_size(copied).map(|()| file);
    }
    io::Seek::rewind(&mut file)?;
    Ok(file)
}
