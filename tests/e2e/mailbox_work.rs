//! Folders with much mail: work begins at once, and nothing is asked for twice.

use std::time::Instant;

use server::mailbox::{self, After};

use crate::{
    harness::{Database, Dovecot, DovecotOptions, Program, Scripted, Serving, eventually},
    mailbox::{becomes, in_environment, plain_config, reports, serve, settles},
};

/// The UIDs that a set such as `1:3,5` names.
fn uids(set: &str) -> Vec<u32> {
    set.split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            first.parse::<u32>().unwrap()..=last.parse().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_fetched_twice_and_no_folder_listed_for_each_batch() {
    const MAILS: usize = 950;
    for after in [After::MarkSeen, After::Move, After::Delete, After::Leave] {
        let server = Scripted::start().await;
        for mail in reports(MAILS) {
            server.deliver("INBOX", mail);
        }
        let service = serve(mailbox::Config {
            after,
            idle_renew_secs: 1,
            ..plain_config(&server)
        })
        .await;
        settles(&service, MAILS).await;
        becomes(&service, "waiting").await;
        let idles = |commands: &[String]| commands.iter().filter(|one| *one == "IDLE").count();
        eventually("IDLE is renewed", async || idles(&server.commands()) >= 3).await;

        let commands = server.commands();
        let mut fetched = Vec::new();
        for command in &commands {
            if command.contains("BODY.PEEK[]") {
                fetched.extend(uids(command.split(' ').nth(2).unwrap()));
            }
        }
        assert_eq!(fetched, (1..=MAILS as u32).collect::<Vec<_>>());
        let count = |start: &str| commands.iter().filter(|one| one.starts_with(start)).count();
        assert_eq!(count("UID SEARCH"), 1, "{after:?}");
        assert!(
            count("UID FETCH") <= 2 * 10 + idles(&commands) + 1,
            "{after:?}"
        );
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_marked_as_unseen_again_is_known() {
    let server = Scripted::start().await;
    for mail in reports(2) {
        server.deliver("INBOX", mail);
    }
    let service = serve(plain_config(&server)).await;
    settles(&service, 2).await;
    becomes(&service, "waiting").await;
    server.change(|folders| folders.remove_flag("INBOX", 1, "\\Seen"));
    // A session that begins looks through the whole folder.
    server.hang_up("");
    eventually("it is seen again", async || {
        server.folder("INBOX")[0].has("\\Seen")
    })
    .await;
    becomes(&service, "waiting").await;
    settles(&service, 2).await;
    let commands = server.commands();
    let bodies = commands.iter().filter(|one| one.contains("BODY.PEEK"));
    assert_eq!(bodies.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_mail_is_worked_on_at_once_and_in_bounded_memory() {
    const MAILS: i64 = 10_000;
    let dovecot = Dovecot::start_with(DovecotOptions {
        fsync: "never",
        ..DovecotOptions::default()
    })
    .await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver_all("INBOX", reports(MAILS as usize)).await;
    let database = Database::fresh().await;
    let program = in_environment(Program::new(["serve"]).on(&database), &dovecot, &[]);
    let serving = Serving::start(program).await;
    let start = Instant::now();
    let mut first = None;
    eventually("all mails are stored", async || {
        let stored = database.report_count().await;
        if stored > 0 {
            first.get_or_insert((start.elapsed(), stored));
        }
        stored == MAILS
    })
    .await;
    let (began, begun_with) = first.unwrap();
    let per_second = MAILS as f64 / start.elapsed().as_secs_f64();
    assert!(begun_with < MAILS / 10, "{begun_with} came at once");
    serving.process.signal(rustix::process::Signal::TERM);
    let ended = serving.process.end().await;
    println!(
        "{per_second:.0} mails/s, the first after {began:.1?}, {} KiB",
        ended.peak_kib
    );
    assert!(ended.peak_kib < 200 * 1024, "{} KiB", ended.peak_kib);
}
