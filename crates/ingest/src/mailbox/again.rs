//! Mail whose outcome is known and which lies in the folder all the same: what was to be done with it is made up for.
//!
//! A server that dies while it moves mail may leave the mail in both folders, and so may a connection that breaks between
//! COPY and EXPUNGE. To move such mail once more would double it, so that the folder it belongs in is looked into before.

use async_imap::imap_proto::{AttributeValue, Response};
use store::Outcome;
use uuid::Uuid;

use super::{
    After,
    fault::Fault,
    imap::uid_set,
    mail::{Mail, uid_of},
    session::{Session, open_command},
};

/// What was moved last lies at the end of a folder: no more mails than this are looked at.
const LAST_MAILS: u32 = 1_000;

/// By which a mail and its copy know each other: INTERNALDATE, size, Message-ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look(String, u32, Vec<u8>);

impl Session<'_> {
    /// Marks, moves or deletes mail that an earlier session has taken in.
    pub(super) async fn acknowledge_again(
        &mut self,
        settled: &[(Mail, Outcome)],
    ) -> Result<(), Fault> {
        let mut outcomes: Vec<(u32, Outcome)> = settled
            .iter()
            .map(|(mail, outcome)| (mail.uid, *outcome))
            .collect();
        for is_rejected in [true, false] {
            let mails: Vec<Mail> = settled
                .iter()
                .filter(|(_, outcome)| (*outcome == Outcome::Rejected) == is_rejected)
                .map(|(mail, _)| *mail)
                .collect();
            let Some(folder) = self.target(is_rejected) else {
                continue;
            };
            let copied = self.already_in(&folder, &mails).await?;
            if copied.is_empty() {
                continue;
            }
            outcomes.retain(|(uid, _)| !copied.contains(uid));
            match self.delete(&uid_set(&copied)).await {
                Err(fault @ Fault::Mark(_)) => {
                    self.trouble.get_or_insert(fault);
                }
                deleted => deleted?,
            }
        }
        self.acknowledge(&outcomes).await
    }

    /// The folder that mail is moved to, if it is.
    fn target(&self, is_rejected: bool) -> Option<String> {
        let config = self.config;
        match config.after {
            After::Leave => None,
            After::MarkSeen | After::Move | After::Delete if is_rejected => {
                let folder = &config.rejected_folder;
                (!folder.is_empty()).then(|| folder.clone())
            }
            After::Move => Some(config.done_folder.clone()),
            After::MarkSeen | After::Delete => None,
        }
    }

    /// Which of the mails have a copy in a folder that no other delivery accounts for.
    async fn already_in(&mut self, folder: &str, mails: &[Mail]) -> Result<Vec<u32>, Fault> {
        if mails.is_empty() || self.selected.is_read_only {
            return Ok(Vec::new());
        }
        let there = self.last_looks(folder).await?;
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let uids: Vec<u32> = mails.iter().map(|mail| mail.uid).collect();
        let here = self.looks(&format!("UID FETCH {}", uid_set(&uids))).await?;
        let ids: Vec<Uuid> = mails.iter().map(|mail| mail.delivery_id).collect();
        // The same mail may have come twice, and then it is right that two of it are there.
        let twins = self.mailbox.intake.store.twin_counts(&ids).await?;
        let count = |looks: &[(u32, Look)], wanted: &Look| {
            looks.iter().filter(|(_, look)| look == wanted).count()
        };
        let mut removed: Vec<(u32, Look)> = Vec::new();
        for mail in mails {
            let Some((_, look)) = here.iter().find(|(uid, _)| *uid == mail.uid) else {
                continue;
            };
            let present = count(&there, look) + count(&here, look) - count(&removed, look);
            let due = twins.get(&mail.delivery_id).copied().unwrap_or(1);
            if count(&there, look) > 0 && present > due {
                removed.push((mail.uid, look.clone()));
            }
        }
        Ok(removed.into_iter().map(|(uid, _)| uid).collect())
    }

    /// The looks of the last mails in another folder. The folder of the session is open again afterwards.
    async fn last_looks(&mut self, folder: &str) -> Result<Vec<(u32, Look)>, Fault> {
        let looks = match self.imap.open("EXAMINE", folder).await {
            Ok(opened) if opened.exists > 0 => {
                let first = opened.exists.saturating_sub(LAST_MAILS - 1).max(1);
                self.looks(&format!("FETCH {first}:*")).await?
            }
            // It is made when mail is moved.
            Ok(_) | Err(Fault::Folder { .. }) => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let command = open_command(self.config);
        let opened = self.imap.open(command, &self.config.folder).await?;
        if opened.uid_validity != self.selected.uid_validity {
            return Err(Fault::UidValidity);
        }
        self.selected = opened;
        // Mail that came in meanwhile was not told of as news.
        self.imap.has_news = true;
        Ok(looks)
    }

    /// By UID. Mails without a Message-ID are left out: they cannot be told apart.
    async fn looks(&mut self, fetch: &str) -> Result<Vec<(u32, Look)>, Fault> {
        let command =
            format!("{fetch} (UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])");
        let mut looks = Vec::new();
        let fetched = self.imap.run(&command, |answer| {
            if let (Some(uid), Some(look)) = (uid_of(answer), look_of(answer)) {
                looks.push((uid, look));
            }
        });
        match fetched.await {
            // Without them, mail is moved as ever.
            Ok(()) | Err(Fault::Refused(_)) => Ok(looks),
            Err(fault) => Err(fault),
        }
    }
}

fn look_of(answer: &Response<'_>) -> Option<Look> {
    let Response::Fetch(_, attributes) = answer else {
        return None;
    };
    let (mut date, mut size, mut id) = (None, None, None);
    for attribute in attributes {
        match attribute {
            AttributeValue::InternalDate(text) => date = Some(text.to_string()),
            AttributeValue::Rfc822Size(bytes) => size = Some(*bytes),
            AttributeValue::BodySection { data, .. } => id = data.as_deref(),
            _ => {}
        }
    }
    let id = id?.trim_ascii();
    (!id.is_empty()).then_some(Look(date?, size?, id.to_vec()))
}
