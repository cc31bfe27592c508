//! What the scripted server keeps.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::harness::mail::Mail;

/// The folders of the one user.
pub(crate) struct Folders {
    by_name: BTreeMap<String, Folder>,
    /// Whether clients may make up flags of their own.
    pub(crate) takes_keywords: bool,
    next_uid_validity: u32,
}

pub(super) struct Folder {
    pub(super) uid_validity: u32,
    pub(super) next_uid: u32,
    pub(super) read_only: bool,
    /// By UID.
    pub(super) mails: BTreeMap<u32, Stored>,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub(super) flags: BTreeSet<String>,
    pub(super) body: Bytes,
    /// What RFC822.SIZE says.
    pub(super) stated_size: usize,
}

impl Folders {
    pub(super) fn new() -> Self {
        let mut folders = Self {
            by_name: BTreeMap::new(),
            takes_keywords: true,
            next_uid_validity: 1000,
        };
        folders.create("INBOX");
        folders
    }

    /// A new folder; of one that is there, a new one with the same name.
    pub(crate) fn create(&mut self, name: &str) {
        let folder = Folder {
            uid_validity: self.next_uid_validity,
            next_uid: 1,
            read_only: false,
            mails: BTreeMap::new(),
        };
        self.next_uid_validity += 1;
        self.by_name.insert(name.to_owned(), folder);
    }

    /// A new mail. Returns its UID.
    pub(crate) fn deliver(&mut self, folder: &str, body: Bytes) -> u32 {
        let stored = Stored {
            flags: BTreeSet::new(),
            stated_size: body.len(),
            body,
        };
        self.named(folder).add(stored)
    }

    /// Lets RFC822.SIZE of a mail say something else than the truth.
    pub(crate) fn state_size(&mut self, folder: &str, uid: u32, size: usize) {
        let mail = self.named(folder).mails.get_mut(&uid);
        mail.expect("there is such a mail").stated_size = size;
    }

    pub(crate) fn expunge(&mut self, folder: &str, uid: u32) {
        self.named(folder).mails.remove(&uid);
    }

    /// Another client takes a flag away.
    pub(crate) fn remove_flag(&mut self, folder: &str, uid: u32, flag: &str) {
        let mail = self.named(folder).mails.get_mut(&uid);
        mail.expect("there is such a mail").flags.remove(flag);
    }

    /// From the next SELECT on, nothing in it can be changed.
    pub(crate) fn make_read_only(&mut self, folder: &str) {
        self.named(folder).read_only = true;
    }

    /// The same mails under the same UIDs, which mean nothing any more.
    pub(crate) fn change_uid_validity(&mut self, folder: &str) {
        let new = self.next_uid_validity;
        self.next_uid_validity += 1;
        self.named(folder).uid_validity = new;
    }

    pub(super) fn mails(&self, folder: &str) -> Vec<Mail> {
        let mails = self.by_name.get(folder).map(|folder| &folder.mails);
        mails
            .into_iter()
            .flatten()
            .map(|(uid, stored)| Mail {
                uid: *uid,
                message_id: stored.header_field("message-id"),
                subject: stored.header_field("subject"),
                flags: stored.flags.clone(),
            })
            .collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Folder> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Folder> {
        self.by_name.get_mut(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    fn named(&mut self, name: &str) -> &mut Folder {
        self.by_name
            .get_mut(name)
            .unwrap_or_else(|| panic!("there is no folder {name}"))
    }
}

impl Folder {
    pub(super) fn add(&mut self, stored: Stored) -> u32 {
        let uid = self.next_uid;
        self.next_uid += 1;
        self.mails.insert(uid, stored);
        uid
    }
}

impl Stored {
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags
            .iter()
            .any(|other| other.eq_ignore_ascii_case(flag))
    }

    /// The header, with the empty line.
    pub(super) fn header(&self) -> &[u8] {
        let end = self.body.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        end.map_or(&self.body, |end| &self.body[..end + 4])
    }

    /// The first line of a field; empty if there is none.
    fn header_field(&self, name: &str) -> String {
        let header = String::from_utf8_lossy(self.header());
        let fields = header.lines().filter_map(|line| line.split_once(':'));
        fields
            .into_iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    }
}
