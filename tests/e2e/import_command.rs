//! `ruad import`: what it takes, and what it says.

use std::path::Path;

use serde_json::Value;

use crate::{
    harness::{Database, Program, eventually},
    reports::{Report, gzip, mail, mail_with},
};

fn report(number: u64) -> Report {
    Report::new("example.com", &number.to_string()).passing("192.0.2.1", number)
}

async fn import(path: &Path, database: &Database) -> Value {
    let import = Program::new(["import", "--format", "json"])
        .arg(path)
        .on(database);
    import.run().await.succeeded().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn import_takes_an_mbox() {
    let folder = tempfile::tempdir().unwrap();
    let mut mbox = Vec::new();
    for number in 1..=3 {
        mbox.extend(b"From dmarc@reporter.example Fri Mar  1 00:00:00 2024\n");
        mbox.extend(mail(&gzip(&report(number).xml())));
        mbox.push(b'\n');
    }
    std::fs::write(folder.path().join("inbox"), mbox).unwrap();
    let database = Database::fresh().await;

    let json = import(folder.path(), &database).await;

    assert_eq!(
        (
            &json["deliveries"],
            &json["reports"]["stored"],
            &json["messages"]
        ),
        (&3.into(), &3.into(), &6.into())
    );
    let names: i64 = database
        .value("select count(*) from deliveries where name like '%/inbox#_'")
        .await;
    assert_eq!(names, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn import_takes_a_maildir_without_mail_in_the_making() {
    let folder = tempfile::tempdir().unwrap();
    for (number, place) in (1..).zip(["cur", "new", "tmp", ".Archive/cur", ".Archive/new"]) {
        let place = folder.path().join(place);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(
            place.join(format!("{number}.host:2,S")),
            mail(&gzip(&report(number).xml())),
        )
        .unwrap();
    }
    std::fs::write(folder.path().join("dovecot.index"), "no mail").unwrap();
    let database = Database::fresh().await;

    let json = import(folder.path(), &database).await;

    assert_eq!(
        (&json["deliveries"], &json["messages"]),
        (&4.into(), &(1 + 2 + 4 + 5).into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn import_takes_folders_within_folders_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b/c");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("1.xml"), report(1).xml()).unwrap();
    std::fs::write(folder.path().join("2.gz"), gzip(&report(2).xml())).unwrap();
    let database = Database::fresh().await;

    let program = Program::new(["import", "--format", "json"])
        .arg(folder.path())
        .arg("-")
        .on(&database);
    let message = mail_with(&[&report(4).xml(), &report(8).xml()]);
    let json = program.input(message).run().await.succeeded().json();

    assert_eq!(
        (
            &json["deliveries"],
            &json["reports"]["stored"],
            &json["messages"]
        ),
        (&3.into(), &4.into(), &15.into())
    );
    assert!(json["seconds"].is_number(), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn import_names_the_file_and_reason_of_what_it_rejects() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("a.xml", report(1).xml()),
        ("b.xml", report(1).passing("192.0.2.9", 1).xml()),
        ("c.xml", b"<feedback>".to_vec()),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let database = Database::fresh().await;

    let ended = Program::new(["import"])
        .arg(folder.path())
        .on(&database)
        .run()
        .await;

    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stdout.contains("1 reports stored") && ended.stdout.contains("1 conflicts"),
        "{ended:?}"
    );
    let line = |name: &str| {
        ended
            .stderr
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name}: {ended:?}"))
    };
    assert!(line("b.xml").contains("conflict"));
    assert!(line("c.xml").contains("rejected (truncated)"));
    assert!(!ended.stderr.contains("a.xml"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_finishes_what_it_began() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=3000 {
        std::fs::write(
            folder.path().join(format!("{number}.xml")),
            report(number).xml(),
        )
        .unwrap();
    }
    let database = Database::fresh().await;
    let importing = Program::new(["import", "--format", "json"])
        .arg(folder.path())
        .on(&database)
        .spawn();
    eventually("some reports are stored", async || {
        database.report_count().await > 0
    })
    .await;

    importing.signal(rustix::process::Signal::INT);
    let ended = importing.end().await;

    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("interrupted"), "{ended:?}");
    assert_eq!(
        ended.json()["reports"]["stored"],
        database.report_count().await,
        "what it counts is stored"
    );
    let rest = import(folder.path(), &database).await;
    assert_eq!(rest["deliveries"], 3000);
    assert_eq!(database.report_count().await, 3000);
}
