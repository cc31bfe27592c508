//! A quiet day in a minute: IDLE is renewed, connections are lost and come back, a mail comes in now and then, and nothing
//! grows.

use std::fs;

use futures_util::future::join_all;

use crate::{
    harness::{Database, Dovecot, Mailbox, Serving, eventually},
    mailbox::mail,
    mailbox_chaos::serve,
};

/// Mailboxes of the process. Each makes a pause before it connects again, so that one alone would take too long.
const MAILBOXES: usize = 50;

/// How often each of them loses its connection.
const ROUNDS: usize = 10;

/// What a process uses.
#[derive(Debug)]
struct Usage {
    resident_kib: u64,
    descriptor_count: usize,
    connection_count: i64,
}

impl Usage {
    async fn of(serving: &Serving, database: &Database) -> Self {
        let id = serving.process.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.unwrap().trim().trim_end_matches(" kB");
        // All but the connection that asks.
        let others = "select count(*) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        Self {
            resident_kib: resident.parse().unwrap(),
            descriptor_count: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            connection_count: database.value(others).await,
        }
    }
}

struct Day {
    dovecot: Dovecot,
    mailboxes: Vec<Mailbox>,
    database: Database,
}

impl Day {
    /// Waits until all mailboxes have logged in so many times and wait for mail.
    async fn all_wait(&self, login_count: usize) {
        let waiting = "select count(*) from mailboxes where state = 'waiting'";
        eventually("all mailboxes are connected", async || {
            let log = self.dovecot.log();
            let logins = log.lines().filter(|line| is_login(line)).count();
            logins >= login_count && self.database.value::<i64>(waiting).await == MAILBOXES as i64
        })
        .await;
    }

    /// All connections end, and there may be a mail.
    async fn round(&mut self, number: usize) {
        if number % 5 == 4 {
            self.dovecot.restart().await;
        } else {
            self.mailboxes[0].disconnect_all().await;
        }
        let mail = mail(&format!("{number}@example.net"), b"<feedback><oops>");
        self.mailboxes[number].deliver(&mail).await;
        self.all_wait(MAILBOXES * (number + 2)).await;
    }
}

/// In the words of Dovecot 2.3 and 2.4.
fn is_login(line: &str) -> bool {
    ["Login: user", "Logged in: user"]
        .iter()
        .any(|words| line.contains(words))
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_reconnects_leave_nothing_behind() {
    let dovecot = Dovecot::start().await;
    let users: Vec<String> = (1..=MAILBOXES).map(|number| format!("u{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mailboxes = join_all(users.iter().map(|user| dovecot.mailbox(user))).await;
    let database = Database::fresh().await;
    let settings = [("IDLE_RENEW_SECS", "1")];
    let serving = Serving::start(serve(&database, &dovecot, &users, &settings)).await;
    let mut day = Day {
        dovecot,
        mailboxes,
        database,
    };
    day.all_wait(MAILBOXES).await;

    day.round(0).await;
    let first = Usage::of(&serving, &day.database).await;
    for number in 1..ROUNDS {
        day.round(number).await;
    }
    let last = Usage::of(&serving, &day.database).await;

    println!("after 50 reconnects: {first:?}; after 500: {last:?}");
    assert!(last.resident_kib < first.resident_kib + 8 * 1024);
    assert!(last.descriptor_count <= first.descriptor_count + 5);
    assert!(last.connection_count <= first.connection_count);
    let settled = "select count(*) from deliveries";
    assert_eq!(day.database.value::<i64>(settled).await, ROUNDS as i64);
}
