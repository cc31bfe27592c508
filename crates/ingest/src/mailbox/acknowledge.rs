//! What becomes of mail after the commit.

use store::Outcome;
use tokio::time::Instant;

use super::{
    After,
    fault::{Fault, Refusal},
    imap::{quoted, uid_set},
    session::Session,
};

impl Session<'_> {
    /// Marks, moves or deletes mail that is dealt with. What the server refuses is told when all other mail is dealt with:
    /// nothing is lost, because the ledger knows these mails.
    pub(super) async fn acknowledge(&mut self, outcomes: &[(u32, Outcome)]) -> Result<(), Fault> {
        if self.config.after == After::Leave || outcomes.is_empty() {
            return Ok(());
        }
        if self.selected.is_read_only {
            self.trouble.get_or_insert(Fault::ReadOnly {
                folder: self.config.folder.clone(),
            });
            return Ok(());
        }
        let (rejected, done): (Vec<_>, Vec<_>) = outcomes
            .iter()
            .partition(|(_, outcome)| *outcome == Outcome::Rejected);
        for (uids, is_rejected) in [(rejected, true), (done, false)] {
            if uids.is_empty() {
                continue;
            }
            let uids: Vec<u32> = uids.into_iter().map(|(uid, _)| uid).collect();
            let filed = if is_rejected {
                self.file_rejected(&uid_set(&uids)).await
            } else {
                self.file_done(&uid_set(&uids)).await
            };
            match filed {
                Err(fault @ (Fault::Target { .. } | Fault::Mark(_))) => {
                    self.trouble.get_or_insert(fault);
                }
                filed => filed?,
            }
        }
        Ok(())
    }

    /// Runs a command that changes mail, if the mailbox is still ours: we may have been held up since the last answer, and
    /// another process may be at work on the same mails by now.
    async fn change(&mut self, command: &str) -> Result<(), Fault> {
        if *self.held.borrow() <= Instant::now() {
            return Err(Fault::LeaseLost);
        }
        self.imap.run(command, |_| {}).await
    }

    async fn file_done(&mut self, set: &str) -> Result<(), Fault> {
        match self.config.after {
            After::MarkSeen => self.mark(set, "\\Seen").await,
            After::Move => {
                let folder = self.config.done_folder.clone();
                self.move_to(set, &folder).await
            }
            After::Delete => self.delete(set).await,
            After::Leave => Ok(()),
        }
    }

    /// Rejected mail is never deleted.
    async fn file_rejected(&mut self, set: &str) -> Result<(), Fault> {
        if !self.config.rejected_folder.is_empty() {
            let folder = self.config.rejected_folder.clone();
            return self.move_to(set, &folder).await;
        }
        if self.selected.takes_keywords {
            self.mark(set, "\\Seen $RuadRejected").await
        } else {
            self.mark(set, "\\Seen").await
        }
    }

    async fn mark(&mut self, set: &str, flags: &str) -> Result<(), Fault> {
        let marking = format!("UID STORE {set} +FLAGS.SILENT ({flags})");
        self.change(&marking).await.map_err(as_mark)
    }

    pub(super) async fn delete(&mut self, set: &str) -> Result<(), Fault> {
        self.mark(set, "\\Deleted").await?;
        // A plain EXPUNGE would remove what others have marked as well.
        if self.imap.can("UIDPLUS") {
            let removing = format!("UID EXPUNGE {set}");
            self.change(&removing).await.map_err(as_mark)?;
        }
        Ok(())
    }

    /// Moves mail. A folder that is missing is made; it may have been renamed a moment ago.
    async fn move_to(&mut self, set: &str, folder: &str) -> Result<(), Fault> {
        match self.try_move(set, folder).await {
            Err(Fault::Refused(refusal)) => {
                if !refusal.is("TRYCREATE") && self.imap.has_folder(folder).await? {
                    return Err(as_target(folder, refusal));
                }
                self.make_folder(folder).await?;
                match self.try_move(set, folder).await {
                    Err(Fault::Refused(refusal)) => Err(as_target(folder, refusal)),
                    moved => moved,
                }
            }
            moved => moved,
        }
    }

    /// MOVE (RFC 6851), or what it stands for.
    async fn try_move(&mut self, set: &str, folder: &str) -> Result<(), Fault> {
        if self.imap.can("MOVE") {
            let moving = format!("UID MOVE {set} {}", quoted(folder));
            return self.change(&moving).await;
        }
        let copying = format!("UID COPY {set} {}", quoted(folder));
        self.change(&copying).await?;
        self.delete(set).await
    }

    async fn make_folder(&mut self, folder: &str) -> Result<(), Fault> {
        match self
            .imap
            .run(&format!("CREATE {}", quoted(folder)), |_| {})
            .await
        {
            // Somebody else was quicker.
            Err(Fault::Refused(refusal)) if refusal.is("ALREADYEXISTS") => return Ok(()),
            Err(Fault::Refused(refusal)) => return Err(as_target(folder, refusal)),
            made => made?,
        }
        // Mail programs show what is subscribed. Where that is refused, the folder is there all the same.
        match self
            .imap
            .run(&format!("SUBSCRIBE {}", quoted(folder)), |_| {})
            .await
        {
            Err(Fault::Refused(_)) => Ok(()),
            subscribed => subscribed,
        }
    }
}

fn as_mark(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(refusal) => Fault::Mark(refusal),
        other => other,
    }
}

fn as_target(folder: &str, refusal: Refusal) -> Fault {
    Fault::Target {
        folder: folder.into(),
        refusal,
    }
}
