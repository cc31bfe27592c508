//! A session: mail is looked for, fetched, taken in, and acknowledged after the commit, until something ends it.
//!
//! The ledger is what tells which mails are dealt with: a mail's delivery has the same id however often it is fetched. A
//! session that ends anywhere is therefore carried on by the next one, without storing or fetching anything twice.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use report::Body;
use store::{MailboxPosition, MailboxState, Outcome};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    After, Auth, Config, Mailbox,
    connect::{connect, log_in},
    fault::Fault,
    imap::{Imap, Selected},
    mail::{Mail, uid_of},
    token::TokenSource,
};
use crate::{
    Delivery,
    mail::{accept_mail, name_in},
    refuse::{Refusal, refuse},
};

/// Mails whose sizes are asked for at a time.
const BATCH_MAILS: usize = 100;

/// UIDs searched at a time: an answer of some 70 KB at most.
const WINDOW_UIDS: u32 = 10_000;

/// Where fewer mails are found in a window, the next one is wider.
const WINDOW_MAILS_FEW: usize = 1_000;

/// An IDLE that ends sooner without news was no wait.
const IDLE_MIN: Duration = Duration::from_millis(500);

/// How often the whole folder is looked through: mails marked as unseen again are found then.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What is remembered from session to session.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) tokens: TokenSource,
    uid_validity: u32,
    /// Mails being fetched.
    pub(super) in_flight: Vec<u32>,
    /// Mails that were being fetched when a session broke.
    pub(super) strikes: HashMap<u32, Strikes>,
    /// Whether the session at hand got somewhere: mail was taken in, or all is well.
    pub(super) did_work: bool,
}

/// How often a session broke while a mail was fetched.
#[derive(Default)]
pub(super) struct Strikes {
    pub(super) count: u8,
    /// Until when it is left alone.
    pub(super) until: Option<Instant>,
}

impl Memory {
    /// Remembers which mails may have been the reason for the end of a session.
    pub(super) fn blame(&mut self) {
        for uid in self.in_flight.drain(..) {
            let strikes = self.strikes.entry(uid).or_default();
            strikes.count = strikes.count.saturating_add(1);
        }
    }
}

/// Connects and serves until `stop` (`Ok`), or until something goes wrong.
pub(super) async fn serve(
    mailbox: &Mailbox,
    config: &Config,
    memory: &mut Memory,
    held: &watch::Receiver<Instant>,
    stop: &CancellationToken,
) -> Result<(), Fault> {
    mailbox.set_state(MailboxState::Connecting).await?;
    if config.auth != Auth::Password {
        memory.tokens.token(config).await?;
        keep_token(mailbox, &mut memory.tokens).await?;
    }
    let Some(greeted) = stop.run_until_cancelled(connect(config)).await else {
        return Ok(());
    };
    let greeted = greeted?;
    let logged_in = log_in(config, greeted, &mut memory.tokens).await;
    keep_token(mailbox, &mut memory.tokens).await?;
    let mut imap = logged_in?;
    let selected = imap.open(open_command(config), &config.folder).await?;
    if memory.uid_validity != selected.uid_validity {
        memory.uid_validity = selected.uid_validity;
        memory.strikes.clear();
    }
    let mut session = Session {
        mailbox,
        config,
        memory,
        held,
        imap,
        selected,
        trouble: None,
        cannot_idle: false,
    };
    session.rounds(stop).await?;
    session.imap.log_out().await;
    Ok(())
}

/// Keeps a new refresh token at once: the one before may be good for nothing by now.
async fn keep_token(mailbox: &Mailbox, tokens: &mut TokenSource) -> Result<(), Fault> {
    if let Some(sealed) = &tokens.to_keep {
        let store = &mailbox.intake.store;
        store.keep_refresh_token(&mailbox.name, sealed).await?;
        tokens.to_keep = None;
    }
    Ok(())
}

pub(super) fn open_command(config: &Config) -> &'static str {
    match config.after {
        After::Leave => "EXAMINE",
        After::MarkSeen | After::Move | After::Delete => "SELECT",
    }
}

/// Which mails are taken.
pub(super) fn criteria(config: &Config, selected: &Selected) -> &'static str {
    match config.after {
        After::MarkSeen => "UNSEEN UNDELETED",
        // Rejected mail that stays is known by its keyword.
        After::Move | After::Delete if selected.takes_keywords => {
            "UNDELETED UNKEYWORD $RuadRejected"
        }
        After::Move | After::Delete | After::Leave => "UNDELETED",
    }
}

pub(super) struct Session<'a> {
    pub(super) mailbox: &'a Mailbox,
    pub(super) config: &'a Config,
    pub(super) memory: &'a mut Memory,
    /// Until when the mailbox is ours.
    pub(super) held: &'a watch::Receiver<Instant>,
    pub(super) imap: Imap,
    pub(super) selected: Selected,
    /// The first thing that went wrong without being in the way of other mail.
    pub(super) trouble: Option<Fault>,
    cannot_idle: bool,
}

impl Session<'_> {
    async fn rounds(&mut self, stop: &CancellationToken) -> Result<(), Fault> {
        loop {
            let rescan_at = Instant::now() + RESCAN_INTERVAL;
            let mut next_uid = self.first_uid().await?;
            while Instant::now() < rescan_at {
                self.imap.has_news = false;
                next_uid = self.round(next_uid, stop).await?;
                if let Some(trouble) = self.trouble.take() {
                    return Err(trouble);
                }
                if stop.is_cancelled() || self.has_old_token() {
                    return Ok(());
                }
                self.memory.did_work = true;
                if !self.imap.has_news {
                    self.mailbox.set_state(MailboxState::Waiting).await?;
                    self.wait(rescan_at, stop).await?;
                }
                if stop.is_cancelled() || self.has_old_token() {
                    return Ok(());
                }
            }
        }
    }

    /// Where to begin: only a mailbox that is left as it is needs a position, in others mail shows what became of it.
    async fn first_uid(&self) -> Result<u32, Fault> {
        if self.config.after != After::Leave {
            return Ok(1);
        }
        let position = self
            .mailbox
            .intake
            .store
            .mailbox_position(&self.mailbox.name);
        Ok(match position.await? {
            Some(position) if position.uid_validity == self.selected.uid_validity => {
                position.next_uid
            }
            Some(_) | None => 1,
        })
    }

    /// The server ends a session whose token has expired: it is renewed before.
    fn has_old_token(&self) -> bool {
        self.token_renewal().is_some_and(|at| at <= Instant::now())
    }

    fn token_renewal(&self) -> Option<Instant> {
        self.memory.tokens.renew_at()
    }

    /// Takes in what there is from a UID on, window by window, and returns where to go on.
    async fn round(&mut self, first: u32, stop: &CancellationToken) -> Result<u32, Fault> {
        let last = self.last_uid().await?;
        let criteria = criteria(self.config, &self.selected);
        let (mut low, mut width) = (first, WINDOW_UIDS);
        while low <= last {
            let high = low.saturating_add(width - 1).min(last);
            let mut uids = self
                .imap
                .search(&format!("UID {low}:{high} {criteria}"))
                .await?;
            uids.retain(|uid| (low..=high).contains(uid));
            if !uids.is_empty() {
                self.mailbox.set_state(MailboxState::Working).await?;
            }
            self.mailbox.set_progress(0, uids.len()).await?;
            let mut waiting = uids.len();
            for batch in uids.chunks(BATCH_MAILS) {
                self.batch(batch).await?;
                waiting -= batch.len();
                self.mailbox.set_progress(batch.len(), waiting).await?;
                self.keep_position(batch[batch.len() - 1]).await?;
                if stop.is_cancelled() {
                    return Ok(low);
                }
            }
            self.keep_position(high).await?;
            width = if uids.len() < WINDOW_MAILS_FEW {
                width.saturating_mul(4)
            } else {
                WINDOW_UIDS
            };
            let Some(next) = high.checked_add(1) else {
                break;
            };
            low = next;
        }
        if first > last {
            self.mailbox.set_progress(0, 0).await?;
        }
        Ok(low)
    }

    /// The UID of the last mail in the folder, or 0 if it is empty.
    async fn last_uid(&mut self) -> Result<u32, Fault> {
        if self.imap.exists == 0 {
            return Ok(0);
        }
        let mut last = None;
        let asked = self.imap.run("UID FETCH * (UID)", |answer| {
            last = uid_of(answer).max(last);
        });
        match asked.await {
            Ok(()) | Err(Fault::Refused(_)) => {}
            Err(fault) => return Err(fault),
        }
        match last {
            Some(last) => Ok(last),
            // It has just been removed. Never look beyond what may be there: those that come later would be missed.
            None => {
                let next = self.imap.next_uid(&self.config.folder).await?;
                Ok(next.saturating_sub(1))
            }
        }
    }

    /// Every mail up to this one is dealt with.
    async fn keep_position(&mut self, uid: u32) -> Result<(), Fault> {
        if self.config.after != After::Leave || self.trouble.is_some() {
            return Ok(());
        }
        let position = MailboxPosition {
            uid_validity: self.selected.uid_validity,
            next_uid: uid.saturating_add(1),
        };
        Ok(self.mailbox.set_position(position).await?)
    }

    async fn batch(&mut self, uids: &[u32]) -> Result<(), Fault> {
        let mails = self.sizes(uids).await?;
        let ids: Vec<Uuid> = mails.iter().map(|mail| mail.delivery_id).collect();
        let settled = self.mailbox.intake.store.settled(&ids).await?;
        let (mut again, mut outcomes) = (Vec::new(), Vec::new());
        let mut wanted = Vec::new();
        for mail in mails {
            match settled.get(&mail.delivery_id) {
                Some(outcome) => again.push((mail, *outcome)),
                None if mail.size_bytes > self.size_max() => {
                    outcomes.push(self.refuse_large(mail).await?);
                }
                None if self.has_too_many_strikes(mail.uid) => {}
                None => wanted.push(mail),
            }
        }
        self.acknowledge_again(&again).await?;
        for group in self.groups(&wanted) {
            let taken = self.take(group).await?;
            self.memory.did_work |= !taken.is_empty();
            outcomes.extend(taken);
        }
        self.acknowledge(&outcomes).await
    }

    pub(super) fn size_max(&self) -> u64 {
        self.mailbox.intake.limits.message_bytes
    }

    /// Fetches mails and takes them in.
    async fn take(&mut self, mails: &[Mail]) -> Result<Vec<(u32, Outcome)>, Fault> {
        let mut bodies = match self.fetch(mails).await {
            // One of them is to blame; the others need not suffer.
            Err(Fault::Refused(refusal)) if !refusal.is_passing() => self.fetch_each(mails).await?,
            fetched => fetched?,
        };
        let taking = mails
            .iter()
            .filter_map(|mail| Some((*mail, bodies.remove(&mail.uid)?)))
            .map(async |(mail, body)| (mail.uid, self.accept(mail, body).await));
        let mut outcomes = Vec::with_capacity(mails.len());
        for (uid, taken) in join_all(taking).await {
            match taken {
                // It may stay so for ever, for one domain: other mail must not wait.
                Err(fault @ Fault::Unverified) => {
                    self.trouble.get_or_insert(fault);
                }
                // The bytes are in memory: only a defect of ours can be behind it, and it meets this mail again.
                Err(Fault::Store(crate::Error::Read(error))) => {
                    self.note_unfetched(uid, &error.to_string());
                }
                taken => outcomes.push((uid, taken?)),
            }
        }
        Ok(outcomes)
    }

    async fn accept(&self, mail: Mail, body: Bytes) -> Result<Outcome, Fault> {
        let mailbox = self.mailbox;
        let accepted = if body.len() as u64 > self.size_max() {
            // The server said that it was smaller.
            let refusal = Refusal::TooLarge {
                size_bytes: mail.size_bytes.max(body.len() as u64),
            };
            refuse(&mailbox.intake, self.delivery(mail, Bytes::new()), refusal).await?
        } else {
            let check = self.config.check();
            let delivery = self.delivery(mail, body);
            accept_mail(&mailbox.intake, &mailbox.verifier, &check, delivery).await?
        };
        Ok(accepted.outcome())
    }

    async fn refuse_large(&self, mail: Mail) -> Result<(u32, Outcome), Fault> {
        let refusal = Refusal::TooLarge {
            size_bytes: mail.size_bytes,
        };
        let delivery = self.delivery(mail, Bytes::new());
        let refused = refuse(&self.mailbox.intake, delivery, refusal).await?;
        Ok((mail.uid, refused.outcome()))
    }

    fn delivery(&self, mail: Mail, body: Bytes) -> Delivery {
        Delivery {
            delivery_id: mail.delivery_id,
            origin: format!("imap:{}", self.mailbox.name),
            name: name_in(&body)
                .or_else(|| Some(format!("{};UID={}", self.config.folder, mail.uid))),
            received_at: (self.mailbox.clock)(),
            body: Body::Memory(body),
            authenticity: None,
        }
    }

    /// Waits for mail: with IDLE where there is it, else by asking now and then.
    async fn wait(&mut self, until: Instant, stop: &CancellationToken) -> Result<(), Fault> {
        let until = match self.token_renewal() {
            Some(renew_at) => until.min(renew_at),
            None => until,
        };
        if self.imap.can("IDLE") && !self.cannot_idle {
            let begun = Instant::now();
            let renew_at = begun + Duration::from_secs(self.config.idle_renew_secs);
            match self.imap.idle(until.min(renew_at), stop.cancelled()).await {
                // A server that ends it at once would be asked without a pause.
                Ok(()) if !self.imap.has_news && begun.elapsed() < IDLE_MIN => {}
                Err(Fault::Refused(_)) => self.cannot_idle = true,
                waited => return waited,
            }
        }
        let poll_at = Instant::now() + Duration::from_secs(self.config.poll_interval_secs);
        let sleeping = tokio::time::sleep_until(until.min(poll_at));
        if stop.run_until_cancelled(sleeping).await.is_some() {
            self.imap.run("NOOP", |_| {}).await?;
        }
        Ok(())
    }
}
