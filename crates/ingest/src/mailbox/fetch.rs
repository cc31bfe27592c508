//! Getting mail from the server: what it is first, then its body. A mail that makes trouble keeps no other waiting.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    fault::Fault,
    imap::uid_set,
    mail::{Identity, Mail, body_of, uid_of},
    session::Session,
};

/// Bytes of mail fetched at a time, unless a single mail is larger.
const FETCH_BYTES: u64 = 8 * 1024 * 1024;

/// A mail is left alone for a while when so many sessions broke while it was fetched.
const STRIKES_MAX: u8 = 4;

/// For how long: so many times the longest pause between tries. Several such mails would take turns otherwise, and each
/// turn costs a session.
const LEFT_ALONE_PAUSES: u32 = 12;

impl Session<'_> {
    /// Asks for what can be known without fetching the mails. Those that are gone by now are missing.
    pub(super) async fn sizes(&mut self, uids: &[u32]) -> Result<Vec<Mail>, Fault> {
        match self.ask_sizes(uids).await {
            Err(Fault::Refused(refusal)) if !refusal.is_passing() => {}
            asked => return asked,
        }
        // One of them is to blame; the others need not suffer.
        let mut mails = Vec::with_capacity(uids.len());
        for uid in uids {
            match self.ask_sizes(&[*uid]).await {
                Err(Fault::Refused(refusal)) => self.note_unfetched(*uid, &refusal.to_string()),
                asked => mails.extend(asked?),
            }
        }
        Ok(mails)
    }

    async fn ask_sizes(&mut self, uids: &[u32]) -> Result<Vec<Mail>, Fault> {
        let identity = Identity {
            mailbox: &self.mailbox.name,
            folder: &self.config.folder,
            uid_validity: self.selected.uid_validity,
        };
        let command = format!("UID FETCH {} (UID INTERNALDATE RFC822.SIZE)", uid_set(uids));
        let mut mails = HashMap::new();
        self.imap
            .run(&command, |answer| {
                if let Some(mail) = identity.mail(answer) {
                    mails.insert(mail.uid, mail);
                }
            })
            .await?;
        self.note_unanswered(uids, |uid| mails.contains_key(&uid))
            .await?;
        Ok(uids.iter().filter_map(|uid| mails.remove(uid)).collect())
    }

    /// Most mails that a FETCH says nothing about are gone. One that is there must not be taken for dealt with.
    async fn note_unanswered(
        &mut self,
        uids: &[u32],
        is_answered: impl Fn(u32) -> bool,
    ) -> Result<(), Fault> {
        let missing: Vec<u32> = uids
            .iter()
            .copied()
            .filter(|uid| !is_answered(*uid))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let criteria = format!("UID {}", uid_set(&missing));
        for uid in self.imap.search(&criteria).await? {
            self.note_unfetched(uid, "the server says nothing about it");
        }
        Ok(())
    }

    /// A mail that several sessions broke at is left alone, so that it does not keep those behind it waiting.
    pub(super) fn has_too_many_strikes(&mut self, uid: u32) -> bool {
        let Some(strikes) = self.memory.strikes.get_mut(&uid) else {
            return false;
        };
        let now = Instant::now();
        match strikes.until {
            _ if strikes.count < STRIKES_MAX => return false,
            Some(until) if until > now => {}
            // It is tried once more; if the session breaks again, it is left alone anew.
            Some(_) => {
                strikes.until = None;
                strikes.count = STRIKES_MAX - 1;
                return false;
            }
            None => {
                let pause = Duration::from_secs(self.config.retry_max_secs);
                strikes.until = Some(now + pause * LEFT_ALONE_PAUSES);
            }
        }
        self.note_unfetched(uid, "the connection broke each time");
        true
    }

    pub(super) fn note_unfetched(&mut self, uid: u32, text: &str) {
        match &mut self.trouble {
            Some(Fault::Fetch { count, .. }) => *count += 1,
            Some(_) => {}
            None => {
                self.trouble = Some(Fault::Fetch {
                    count: 1,
                    uid,
                    text: text.into(),
                });
            }
        }
    }

    /// Splits what is to be fetched, so that no fetch is too large and mails that broke a session go alone.
    pub(super) fn groups<'m>(&self, mails: &'m [Mail]) -> Vec<&'m [Mail]> {
        let mut bytes = 0;
        mails
            .chunk_by(|one, other| {
                bytes += one.size_bytes;
                let fits = bytes + other.size_bytes <= FETCH_BYTES;
                let is_calm = [one, other]
                    .iter()
                    .all(|mail| !self.memory.strikes.contains_key(&mail.uid));
                if !(fits && is_calm) {
                    bytes = 0;
                }
                fits && is_calm
            })
            .collect()
    }

    pub(super) async fn fetch_each(
        &mut self,
        mails: &[Mail],
    ) -> Result<HashMap<u32, Bytes>, Fault> {
        let mut bodies = HashMap::new();
        for mail in mails {
            match self.fetch(&[*mail]).await {
                Err(Fault::Refused(refusal)) => {
                    self.note_unfetched(mail.uid, &refusal.to_string());
                }
                fetched => bodies.extend(fetched?),
            }
        }
        Ok(bodies)
    }

    /// Fetches bodies, each up to a byte more than a message may have.
    pub(super) async fn fetch(&mut self, mails: &[Mail]) -> Result<HashMap<u32, Bytes>, Fault> {
        let uids: Vec<u32> = mails.iter().map(|mail| mail.uid).collect();
        let command = format!(
            "UID FETCH {} (UID BODY.PEEK[]<0.{}>)",
            uid_set(&uids),
            self.size_max() + 1
        );
        self.memory.in_flight = uids;
        let mut bodies = HashMap::with_capacity(mails.len());
        let fetched = self.imap.run(&command, |answer| {
            if let (Some(uid), Some(body)) = (uid_of(answer), body_of(answer)) {
                bodies.insert(uid, Bytes::copy_from_slice(body));
            }
        });
        if let Err(fault) = fetched.await {
            if !fault.is_disconnect() {
                self.memory.in_flight.clear();
            }
            return Err(fault);
        }
        let answered = std::mem::take(&mut self.memory.in_flight);
        for uid in &answered {
            self.memory.strikes.remove(uid);
        }
        self.note_unanswered(&answered, |uid| bodies.contains_key(&uid))
            .await?;
        Ok(bodies)
    }
}
