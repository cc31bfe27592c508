//! ruad and Dovecot are killed again and again while mail is taken, and every mail is dealt with exactly once.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use server::mailbox;
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    generated::assert_true,
    harness::{Database, Dovecot, Mail, Mailbox, PASSWORD, Program, Service, Serving, eventually},
    mailbox::{becomes, config, mail, settles, with_mailbox},
    reports::{Generated, Options, Random, Truth, generate},
};

/// `ruad serve` as a process, with a mailbox for each user, named like them.
pub(crate) fn serve(
    database: &Database,
    dovecot: &Dovecot,
    users: &[&str],
    settings: &[(&str, &str)],
) -> Program {
    let port = dovecot.imaps_port.to_string();
    let ca_file = dovecot.certificates.ca_file.to_str().unwrap();
    let mut program = Program::new(["serve"]).on(database);
    for user in users {
        let usual = [
            ("HOST", "localhost"),
            ("PORT", &port),
            ("CA_FILE", ca_file),
            ("USER", user),
            ("PASSWORD", PASSWORD),
            ("RETRY_MAX_SECS", "1"),
            ("LEASE_SECS", "3"),
            // A server that was killed while it started or held a lock may be silent for a while.
            ("TIMEOUT_SECS", "10"),
        ];
        for (key, value) in usual.iter().chain(settings) {
            let name = format!("RUAD_MAILBOXES__{}__{key}", user.to_uppercase());
            program = program.env(&name, value);
        }
    }
    program
}

/// Mails for a user `dmarc`, delivered part by part, and what must become of them.
pub(crate) struct Load {
    pub(crate) dovecot: Dovecot,
    pub(crate) mailbox: Mailbox,
    pub(crate) database: Database,
    generated: Generated,
    /// Mail that is still to come.
    coming: VecDeque<Bytes>,
    /// One connection for all the questions how far it is.
    watch: PgPool,
    settings: &'static [(&'static str, &'static str)],
}

pub(crate) const MOVE: &[(&str, &str)] = &[
    ("AFTER", "move"),
    ("DONE_FOLDER", "done"),
    ("REJECTED_FOLDER", "rejected"),
];

const MARK_SEEN: &[(&str, &str)] = &[("AFTER", "mark-seen")];

impl Load {
    pub(crate) async fn new(
        options: Options,
        settings: &'static [(&'static str, &'static str)],
    ) -> Self {
        let dovecot = Dovecot::start().await;
        let mailbox = dovecot.mailbox("dmarc").await;
        let generated = generate(options);
        let mails = generated.deliveries.iter().zip(1..);
        let mails = mails.map(|((name, body), number)| as_mail(number, name, body));
        let coming = mails.collect();
        let database = Database::fresh().await;
        let watch = PgPoolOptions::new().max_connections(1);
        Self {
            dovecot,
            mailbox,
            watch: watch.connect_lazy_with(database.connect_options()),
            database,
            generated,
            coming,
            settings,
        }
    }

    /// Another process that takes the mail.
    pub(crate) async fn serve(&self) -> Serving {
        let program = serve(&self.database, &self.dovecot, &["dmarc"], self.settings);
        Serving::start(program).await
    }

    pub(crate) fn mail_count(&self) -> i64 {
        self.generated.deliveries.len() as i64
    }

    pub(crate) async fn settled_count(&self) -> i64 {
        let count = sqlx::query_scalar("select count(*) from deliveries where is_complete");
        count.fetch_one(&self.watch).await.unwrap()
    }

    /// Delivers a part of all mail, or what is left of it.
    async fn deliver_part(&mut self, parts: usize) {
        let count = self.generated.deliveries.len().div_ceil(parts);
        let part = self.coming.drain(..count.min(self.coming.len()));
        self.mailbox.deliver_all("INBOX", part.collect()).await;
    }

    pub(crate) async fn deliver_rest(&mut self) {
        self.deliver_part(1).await;
    }

    /// Delivers a part of all mail and waits until some of it is dealt with: however quick ruad is, there is work left.
    pub(crate) async fn makes_progress(&mut self, parts: usize) {
        let before = self.settled_count().await;
        self.deliver_part(parts).await;
        eventually("mail is taken", async || {
            self.settled_count().await > before
        })
        .await;
    }

    /// Kills one after another, always while mail is being taken, and starts it again.
    async fn torment(&mut self, servings: &mut Vec<Serving>, kills: usize, random: &mut Random) {
        for _ in 0..kills {
            self.makes_progress(kills + 1).await;
            // Any moment will do: between fetching, storing and moving.
            tokio::time::sleep(Duration::from_millis(random.below(150))).await;
            match random.below(2) {
                0 => {
                    self.dovecot.kill().await;
                    self.dovecot.start_again().await;
                }
                _ => {
                    let number = random.below(servings.len() as u64) as usize;
                    servings.swap_remove(number).process.kill().await;
                    servings.push(self.serve().await);
                }
            }
        }
        self.deliver_rest().await;
    }

    /// Waits until all mail is dealt with.
    pub(crate) async fn is_finished(&self) {
        eventually("all mail is dealt with", async || {
            let waiting = "select count(*) from mailboxes where state = 'waiting' and backlog = 0";
            self.settled_count().await >= self.mail_count()
                && self.database.value::<i64>(waiting).await == 1
        })
        .await;
    }

    /// Asserts that every mail has its one row and lies where it belongs, and that what is stored is the truth.
    pub(crate) async fn assert_right(self) {
        self.watch.close().await;
        let deliveries = self.deliveries().await;
        let count = |outcome: &str| {
            let of = |delivery: &&Value| delivery["outcome"] == outcome;
            deliveries.iter().filter(of).count()
        };
        assert_eq!(
            (count("stored"), count("duplicate"), count("rejected")),
            (
                self.generated.reports.len(),
                self.generated.duplicates,
                self.generated.malformed
            )
        );
        assert_eq!(deliveries.len(), self.generated.deliveries.len());
        let rejected: BTreeSet<String> = deliveries
            .iter()
            .filter(|delivery| delivery["outcome"] == "rejected")
            .map(|delivery| delivery["name"].as_str().unwrap().to_owned())
            .collect();
        self.assert_filed(&rejected).await;
        let service = Service::start_with(self.database, |_| {}).await;
        assert_true(&service, Truth(&self.generated.reports)).await;
    }

    async fn assert_filed(&self, rejected: &BTreeSet<String>) {
        let all: BTreeSet<String> = (1..=self.mail_count()).map(message_id).collect();
        let done: BTreeSet<String> = all.difference(rejected).cloned().collect();
        let inbox = self.mailbox.folder("INBOX").await;
        if self.settings == MOVE {
            assert_eq!(inbox, []);
            assert_same(&self.mailbox.folder("rejected").await, rejected);
            assert_same(&self.mailbox.folder("done").await, &done);
            return;
        }
        let (kept, seen): (Vec<Mail>, Vec<Mail>) = inbox
            .into_iter()
            .partition(|mail| mail.has("$RuadRejected"));
        assert!(kept.iter().chain(&seen).all(|mail| mail.has("\\Seen")));
        assert_same(&kept, rejected);
        assert_same(&seen, &done);
    }

    async fn deliveries(&self) -> Vec<Value> {
        let service = Service::start_with(Database::at(self.database.url.clone()), |_| {}).await;
        let deliveries = service.list("/api/v1/deliveries?limit=1000").await;
        service.stop().await;
        deliveries
    }
}

fn message_id(number: i64) -> String {
    format!("<{number}@example.net>")
}

/// Its id is its subject as well, by which the ledger names it.
fn as_mail(number: i64, name: &str, body: &[u8]) -> Bytes {
    let id = message_id(number);
    if name.ends_with(".eml") {
        let header = format!("Subject: {id}\r\nMessage-ID: {id}\r\n");
        return [header.as_bytes(), body].concat().into();
    }
    let header = format!("Subject: {id}\r\n");
    let rest = mail(id.trim_matches(['<', '>']), body);
    [header.as_bytes(), &rest].concat().into()
}

/// Asserts that these are the mails with these ids, each of them once.
fn assert_same(mails: &[Mail], expected: &BTreeSet<String>) {
    let mut ids = BTreeSet::new();
    let ids_twice: Vec<&str> = mails
        .iter()
        .map(|mail| mail.message_id.as_str())
        .filter(|id| !ids.insert((*id).to_owned()))
        .collect();
    let differing: Vec<&String> = ids.symmetric_difference(expected).collect();
    assert!(
        ids_twice.is_empty() && differing.is_empty(),
        "twice: {ids_twice:?}; missing or elsewhere: {differing:?}"
    );
}

/// 5 % duplicates and 3 % malformed besides.
pub(crate) fn options(seed: u64, reports: usize, records_max: u64) -> Options {
    Options {
        seed,
        reports,
        records_max,
        duplicates: 5,
        malformed: 3,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_move_nothing_twice() {
    let mut load = Load::new(options(21, 4630, 38), MOVE).await;
    let mut servings = vec![load.serve().await];
    load.torment(&mut servings, 20, &mut Random(21)).await;
    load.is_finished().await;
    drop(servings);
    load.assert_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_they_where_mail_is_only_marked() {
    let mut load = Load::new(options(22, 1600, 5), MARK_SEEN).await;
    let mut servings = vec![load.serve().await];
    load.torment(&mut servings, 6, &mut Random(22)).await;
    load.is_finished().await;
    drop(servings);
    load.assert_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_mailbox_through_the_same() {
    let mut load = Load::new(options(23, 4630, 38), MOVE).await;
    let mut servings = vec![load.serve().await, load.serve().await];
    load.torment(&mut servings, 20, &mut Random(23)).await;
    load.is_finished().await;
    drop(servings);
    load.assert_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_cut_off_leaves_no_second_copy() {
    let dovecot = Dovecot::start().await;
    let mailbox = dovecot.mailbox("dmarc").await;
    let reports = generate(options(24, 2, 3)).deliveries;
    let mails: Vec<Bytes> = [(1, 0), (1, 0), (2, 1)]
        .map(|(number, report): (i64, usize)| {
            as_mail(number, &reports[report].0, &reports[report].1)
        })
        .into();
    mailbox.deliver_all("INBOX", mails).await;
    let settings = config(&dovecot, "dmarc");
    let marking = with_mailbox(settings.clone());
    let service = Service::start_with(Database::fresh().await, marking).await;
    settles(&service, 3).await;
    becomes(&service, "waiting").await;
    let database = service.stop().await;

    // Of the mail that came twice, one is there already, and so is the other mail.
    mailbox.create_folder("done").await;
    mailbox.copy("INBOX", 1, "done").await;
    mailbox.copy("INBOX", 3, "done").await;
    let moving = with_mailbox(mailbox::Config {
        after: mailbox::After::Move,
        done_folder: "done".into(),
        ..settings
    });
    let service = Service::start_with(database, moving).await;
    eventually("the mail is moved", async || {
        mailbox.folder("INBOX").await.is_empty()
    })
    .await;

    becomes(&service, "waiting").await;
    let done = mailbox.folder("done").await;
    let mut ids: Vec<&str> = done.iter().map(|mail| mail.message_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        ["<1@example.net>", "<1@example.net>", "<2@example.net>"]
    );
    settles(&service, 3).await;
}
