//! The directory as it lies on the disk: what is in it, and how it gets out of it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::delivery_id::delivery_id;

/// Files of one name that are kept beside one another.
const SAME_NAMES_MAX: u32 = 100_000;

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
    /// gets a number.
    pub(super) fn put_away(&self, listed: &Listed, below: &str) -> io::Result<Moved> {
        let target_folder = self.path.join(below);
        make_folder(&target_folder)?;
        let source = self.path.join(&listed.name);
        let target = match rename_to_free_name(&source, &target_folder, &listed.name) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Moved::Gone),
            Err(error) => return Err(error),
        };
        // Between the look at a file and its move another can take its name, and that one has not been taken in.
        if Stamp::of(&fs::symlink_metadata(&target)?) == listed.stamp {
            return Ok(Moved::Away);
        }
        rename_to_free_name(&target, &self.path, &listed.name)?;
        Ok(Moved::Changed)
    }
}

/// A link is not good enough: whoever may put one here must not choose where files go.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        },
        Err(error) => Err(error),
    }
}

fn rename_to_free_name(source: &Path, folder: &Path, name: &OsStr) -> io::Result<PathBuf> {
    for number in 0..SAME_NAMES_MAX {
        let mut name = name.to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let target = folder.join(name);
        match rename_new(source, &target) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Renames without overwriting, where the file system can; elsewhere nobody but us puts files there.
fn rename_new(source: &Path, target: &Path) -> io::Result<()> {
    let renamed = renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE);
    match renamed {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if fs::symlink_metadata(target).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(source, target)
        }
        renamed => Ok(renamed?),
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
        for content in ["1", "2", "3"] {
            fs::write(folder.path.join("a"), content).unwrap();
            let listed = folder.list().unwrap().remove(0);
            assert_eq!(folder.put_away(&listed, "done").unwrap(), Moved::Away);
            assert_eq!(folder.put_away(&listed, "done").unwrap(), Moved::Gone);
        }
        for (name, content) in [("a", "1"), ("a.1", "2"), ("a.2", "3")] {
            let read = fs::read_to_string(folder.path.join("done").join(name)).unwrap();
            assert_eq!(read, content);
        }
    }

    #[test]
    fn a_file_that_was_not_taken_in_is_put_back() {
        let (_temporary, folder) = folder();
        fs::write(folder.path.join("a"), "old").unwrap();
        let listed = folder.list().unwrap().remove(0);
        fs::write(folder.path.join("new"), "another").unwrap();
        fs::rename(folder.path.join("new"), folder.path.join("a")).unwrap();
        assert_eq!(folder.put_away(&listed, "done").unwrap(), Moved::Changed);
        assert_eq!(
            fs::read_to_string(folder.path.join("a")).unwrap(),
            "another"
        );
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
