//! Several processes share the mailboxes: one works on each, and another takes over when it is gone.

use std::time::Instant;

use rustix::process::Signal;

use crate::{
    harness::{Database, Dovecot, Mailbox, Serving, eventually},
    mailbox::mail,
    mailbox_chaos::{Load, MOVE, options, serve},
};

/// Two processes for the same mailboxes.
struct Pair {
    dovecot: Dovecot,
    database: Database,
    processes: Vec<Serving>,
}

impl Pair {
    async fn start(users: &[&str], settings: &[(&str, &str)]) -> (Self, Vec<Mailbox>) {
        let dovecot = Dovecot::start().await;
        let database = Database::fresh().await;
        let (mut mailboxes, mut processes) = (Vec::new(), Vec::new());
        for user in users {
            mailboxes.push(dovecot.mailbox(user).await);
        }
        for _ in 0..2 {
            processes.push(Serving::start(serve(&database, &dovecot, users, settings)).await);
        }
        let pair = Self {
            dovecot,
            database,
            processes,
        };
        pair.all_wait(users.len()).await;
        (pair, mailboxes)
    }

    async fn all_wait(&self, count: usize) {
        let waiting = "select count(*) from mailboxes where state = 'waiting'";
        eventually("all mailboxes are looked into", async || {
            self.database.value::<i64>(waiting).await == count as i64
        })
        .await;
    }

    /// Takes the process that works on a mailbox out of the pair.
    async fn take_holder(&mut self) -> Serving {
        let number = holder(&self.database, &self.processes).await;
        self.processes.swap_remove(number)
    }

    /// Waits until so many mails are in the ledger.
    async fn settles(&self, count: i64) {
        eventually("the mail is taken", async || {
            let settled = "select count(*) from deliveries";
            self.database.value::<i64>(settled).await == count
        })
        .await;
    }
}

/// Which of the processes works on the only mailbox, by the process id after the colon.
async fn holder(database: &Database, processes: &[Serving]) -> usize {
    let label: String = database.value("select holder from mailboxes limit 1").await;
    let is_holder = |serving: &Serving| label.ends_with(&format!(":{}", serving.process.id()));
    processes.iter().position(is_holder).unwrap()
}

fn nonsense(number: usize) -> Vec<u8> {
    mail(&format!("{number}@example.net"), b"<feedback><oops>").to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_is_replaced() {
    let (mut pair, mailboxes) = Pair::start(&["dmarc"], &[]).await;
    assert_eq!(mailboxes[0].session_count().await, 1);

    pair.take_holder().await.process.kill().await;
    let start = Instant::now();
    mailboxes[0].deliver(&nonsense(1)).await;
    pair.settles(1).await;

    println!("a dead holder is replaced after {:?}", start.elapsed());
    assert!(pair.processes[0].process.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_hands_over_without_waiting_for_the_lease() {
    // Far longer than the test may take.
    let lease = [("LEASE_SECS", "3600")];
    let (mut pair, mailboxes) = Pair::start(&["dmarc"], &lease).await;

    let stopping = pair.take_holder().await.process;
    stopping.signal(Signal::TERM);
    stopping.end().await.succeeded();
    let start = Instant::now();
    mailboxes[0].deliver(&nonsense(1)).await;
    pair.settles(1).await;

    println!("a stopped holder is replaced after {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_for_longer_than_its_lease_does_nothing_twice() {
    let mut load = Load::new(options(31, 1500, 4), MOVE).await;
    let processes = vec![load.serve().await, load.serve().await];
    for _ in 0..3 {
        load.makes_progress(4).await;
        let number = holder(&load.database, &processes).await;
        let frozen = &processes[number].process;
        frozen.signal(Signal::STOP);
        eventually("the other process takes over", async || {
            holder(&load.database, &processes).await != number
        })
        .await;
        frozen.signal(Signal::CONT);
    }
    load.deliver_rest().await;
    load.is_finished().await;

    eventually("only the holder is connected", async || {
        load.mailbox.session_count().await == 1
    })
    .await;
    drop(processes);
    load.assert_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mailbox_is_worked_on() {
    let users = ["one", "two"];
    let (mut pair, mailboxes) = Pair::start(&users, &[]).await;
    for (number, mailbox) in mailboxes.iter().enumerate() {
        mailbox.deliver(&nonsense(number)).await;
    }
    pair.settles(2).await;

    // Whoever is left works on both.
    pair.processes.pop().unwrap().process.kill().await;
    for (number, mailbox) in mailboxes.iter().enumerate() {
        mailbox.deliver(&nonsense(2 + number)).await;
    }
    pair.settles(4).await;
    pair.all_wait(2).await;
    for mailbox in &mailboxes {
        let inbox = mailbox.folder("INBOX").await;
        assert_eq!(inbox.len(), 2);
        assert!(inbox.iter().all(|mail| mail.has("$RuadRejected")));
        assert_eq!(mailbox.session_count().await, 1);
    }
    drop(pair.dovecot);
}
