//! The directory as it lies on the disk: what is in it, and how it gets out of it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Mode, OFlags, RenameFlags, Stat, mkdirat, openat, renameat, renameat_with,
        statat,
    },
    io::Errno,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::delivery_id::delivery_id;

/// Bytes of a name at most, on the file systems that are in use.
const NAME_BYTES_MAX: usize = 255;

/// The directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// Without links, so that a file has one path.
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
}

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: OsString,
    pub(super) stamp: Stamp,
}

/// What tells a file from another of its name, and from itself before it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    pub(super) size_bytes: u64,
    modified_secs: i64,
    modified_nanos: i64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified_secs: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
        }
    }

    /// The same of a file that is looked at through its folder. Its fields have other types on other systems.
    fn of_stat(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size_bytes: u64::try_from(stat.st_size).unwrap_or_default(),
            modified_secs: stat.st_mtime,
            modified_nanos: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        }
    }

    /// When it was last written to.
    pub(super) fn modified(&self) -> OffsetDateTime {
        let seconds = OffsetDateTime::from_unix_timestamp(self.modified_secs);
        seconds.unwrap_or(OffsetDateTime::UNIX_EPOCH) + Duration::nanoseconds(self.modified_nanos)
    }
}

/// What became of the attempt to move a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Away,
    /// It is not there any more.
    Gone,
    /// It is another than the one that was taken in, and was put back.
    Changed,
}

/// Whether a file of this name is looked at: others are hidden or in the making.
pub(super) fn is_taken(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !(name.starts_with(b".") || name.ends_with(b".tmp") || name.ends_with(b".part"))
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let metadata = fs::metadata(&path)?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// The files in it, the oldest first. Links and folders are left alone: whoever may put a link here must not make us read
    /// what it points to.
    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if !is_taken(&entry.file_name()) || !entry.file_type()?.is_file() {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => listed.push(Listed {
                    name: entry.file_name(),
                    stamp: Stamp::of(&metadata),
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        listed.sort_by(|a, b| {
            let key = |file: &Listed| (file.stamp.modified_secs, file.stamp.modified_nanos);
            (key(a), &a.name).cmp(&(key(b), &b.name))
        });
        Ok(listed)
    }

    /// Opens a file, if it still is the one that was listed.
    pub(super) fn open_file(&self, listed: &Listed) -> io::Result<Option<File>> {
        // Without NONBLOCK, a pipe put in its place would hold us up.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.path.join(&listed.name))?;
        let metadata = file.metadata()?;
        let is_same = metadata.is_file() && Stamp::of(&metadata) == listed.stamp;
        Ok(is_same.then_some(file))
    }

    /// The id of what is in a file: of the file itself, or of the message with a number in an mbox.
    pub(super) fn delivery_id(&self, listed: &Listed, message: Option<usize>) -> Uuid {
        let path = self.path.join(&listed.name);
        let stamp = &listed.stamp;
        let inode = stamp.inode.to_be_bytes();
        let size_bytes = stamp.size_bytes.to_be_bytes();
        let modified_secs = stamp.modified_secs.to_be_bytes();
        let modified_nanos = stamp.modified_nanos.to_be_bytes();
        let number = message.map(|number| number.to_be_bytes());
        let mut identity: Vec<&[u8]> = vec![
            path.as_os_str().as_bytes(),
            &inode,
            &size_bytes,
            &modified_secs,
            &modified_nanos,
        ];
        identity.extend(number.as_ref().map(|number| number.as_slice()));
        delivery_id(stamp.modified(), &identity)
    }

    /// Moves a file into a folder below, which is made if it is missing. Nothing is overwritten: a file whose name is taken
    /// gets its delivery's id behind it.
    pub(super) fn put_away(&self, listed: &Listed, below: &str) -> io::Result<Moved> {
        let here = open_folder(CWD, &self.path, OFlags::empty())?;
        let target = open_below(&here, below)?;
        // Reading and storing a file may take a while, and nothing that took its name meanwhile is to be moved.
        match stamp_at(&here, &listed.name) {
            Ok(stamp) if stamp != listed.stamp => Ok(Moved::Changed),
            Ok(_) => self.move_over(&here, &target, listed),
            Err(Errno::NOENT) => Ok(Moved::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves whatever has the name, and puts back what is another file than was looked at the moment before.
    fn move_over(&self, here: &OwnedFd, target: &OwnedFd, listed: &Listed) -> io::Result<Moved> {
        let delivery_id = self.delivery_id(listed, None);
        let moved = match rename_to_free_name((here, &listed.name), target, listed, delivery_id) {
            Ok(moved) => moved,
            Err(Errno::NOENT) => return Ok(Moved::Gone),
            Err(error) => return Err(error.into()),
        };
        if stamp_at(target, &moved)? == listed.stamp {
            return Ok(Moved::Away);
        }
        rename_to_free_name((target, &moved), here, listed, delivery_id)?;
        Ok(Moved::Changed)
    }
}

/// Opens a folder below, which is made if it is missing. A link is not good enough, not even for a moment: whoever may put one
/// here must not choose where files go.
fn open_below(here: &OwnedFd, below: &str) -> io::Result<OwnedFd> {
    let below = Path::new(below);
    match open_folder(here, below, OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => match mkdirat(here, below, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Ok(open_folder(here, below, OFlags::NOFOLLOW)?),
            Err(error) => Err(error.into()),
        },
        opened => Ok(opened?),
    }
}

fn open_folder(at: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

fn stamp_at(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<Stamp> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Stamp::of_stat(&stat))
}

/// Returns the name that was free.
fn rename_to_free_name(
    source: (&OwnedFd, &OsStr),
    folder: &OwnedFd,
    listed: &Listed,
    delivery_id: Uuid,
) -> rustix::io::Result<OsString> {
    // One file may come again and again, as a link to one that is kept elsewhere, and then even its id is taken.
    let ids = [delivery_id, Uuid::now_v7()];
    let others = ids.iter().map(|id| with_id(&listed.name, *id));
    for name in std::iter::once(listed.name.clone()).chain(others) {
        match rename_new(source, folder, &name) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

/// Of a name that would become too long the end is cut off.
fn with_id(name: &OsStr, id: Uuid) -> OsString {
    let ending = format!(".{id}");
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(NAME_BYTES_MAX - ending.len());
    bytes.extend_from_slice(ending.as_bytes());
    OsString::from_vec(bytes)
}

/// Renames without overwriting, where the file system can; elsewhere nobody but us puts files there.
fn rename_new(
    (from, source): (&OwnedFd, &OsStr),
    folder: &OwnedFd,
    name: &OsStr,
) -> rustix::io::Result<()> {
    match renameat_with(from, source, folder, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match stamp_at(folder, name) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(from, source, folder, name),
            Err(error) => Err(error),
        },
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        (temporary, folder)
    }

    fn names(folder: &Folder) -> Vec<OsString> {
        let listed = folder.list().unwrap();
        listed.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn only_finished_files_are_listed() {
        let (_temporary, folder) = folder();
        for name in ["a.xml", ".hidden", "b.tmp", "c.part", "d"] {
            fs::write(folder.path.join(name), name).unwrap();
        }
        fs::create_dir(folder.path.join("done")).unwrap();
        symlink("/etc/passwd", folder.path.join("link")).unwrap();
        let mut names = names(&folder);
        names.sort();
        assert_eq!(names, ["a.xml", "d"]);
    }

    #[test]
    fn a_link_is_not_opened() {
        let (_temporary, folder) = folder();
        fs::write(folder.path.join("a"), "a").unwrap();
        let listed = folder.list().unwrap().remove(0);
        assert!(folder.open_file(&listed).unwrap().is_some());
        fs::remove_file(folder.path.join("a")).unwrap();
        symlink("/etc/passwd", folder.path.join("a")).unwrap();
        assert!(folder.open_file(&listed).is_err());
    }

    #[test]
    fn nothing_is_overwritten() {
        let (_temporary, folder) = folder();
        fs::create_dir(folder.path.join("done")).unwrap();
        fs::write(folder.path.join("done/a.1"), "another").unwrap();
        let mut expected = vec![(OsString::from("a.1"), "another")];
        for content in ["1", "22", "333"] {
            fs::write(folder.path.join("a"), content).unwrap();
            let listed = folder.list().unwrap().remove(0);
            let name = match content {
                "1" => "a".into(),
                _ => format!("a.{}", folder.delivery_id(&listed, None)).into(),
            };
            expected.push((name, content));
            assert_eq!(folder.put_away(&listed, "done").unwrap(), Moved::Away);
            assert_eq!(folder.put_away(&listed, "done").unwrap(), Moved::Gone);
        }
        for (name, content) in expected {
            let read = fs::read_to_string(folder.path.join("done").join(name)).unwrap();
            assert_eq!(read, content);
        }
    }

    #[test]
    fn one_file_may_come_any_number_of_times_and_under_any_name() {
        let (temporary, folder) = folder();
        let name = "n".repeat(NAME_BYTES_MAX);
        let kept = temporary.path().join("kept.tmp");
        fs::write(&kept, "a").unwrap();
        for count in 1..=5 {
            fs::hard_link(&kept, folder.path.join(&name)).unwrap();
            let listed = folder.list().unwrap().remove(0);
            assert_eq!(folder.put_away(&listed, "done").unwrap(), Moved::Away);
            let done = fs::read_dir(folder.path.join("done")).unwrap();
            assert_eq!(done.count(), count);
        }
    }

    #[test]
    fn a_file_that_was_not_taken_in_stays_or_is_put_back() {
        let (_temporary, folder) = folder();
        fs::write(folder.path.join("a"), "old").unwrap();
        let listed = folder.list().unwrap().remove(0);
        fs::write(folder.path.join("new"), "another").unwrap();
        fs::rename(folder.path.join("new"), folder.path.join("a")).unwrap();
        let here = open_folder(CWD, &folder.path, OFlags::empty()).unwrap();
        let target = open_below(&here, "done").unwrap();
        // The second is what happens when the other comes between the look and the move.
        for moved in [
            folder.put_away(&listed, "done"),
            folder.move_over(&here, &target, &listed),
        ] {
            assert_eq!(moved.unwrap(), Moved::Changed);
            let read = fs::read_to_string(folder.path.join("a")).unwrap();
            assert_eq!(read, "another");
        }
    }

    #[test]
    fn files_do_not_go_through_a_link() {
        let (_temporary, folder) = folder();
        fs::write(folder.path.join("a"), "a").unwrap();
        symlink("/tmp", folder.path.join("done")).unwrap();
        let listed = folder.list().unwrap().remove(0);
        assert!(folder.put_away(&listed, "done").is_err());
        assert_eq!(names(&folder), ["a"]);
    }

    #[test]
    fn the_id_is_of_the_file_and_the_message() {
        let (_temporary, folder) = folder();
        fs::write(folder.path.join("a"), "a").unwrap();
        let before = folder.list().unwrap().remove(0);
        let again = folder.list().unwrap().remove(0);
        let id = folder.delivery_id(&before, None);
        assert_eq!(id, folder.delivery_id(&again, None));
        assert_ne!(id, folder.delivery_id(&before, Some(1)));
        fs::write(folder.path.join("a"), "ab").unwrap();
        let changed = folder.list().unwrap().remove(0);
        assert_ne!(id, folder.delivery_id(&changed, None));
    }
}
