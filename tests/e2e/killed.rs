//! `kill -9` at any moment loses nothing that was acknowledged and stores nothing by halves.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    generated::assert_true,
    harness::{Cluster, Database, Ended, Program, Service, Serving, eventually},
    reports::{Generated, Options, Random, Truth, generate},
};

/// Kills of one test, half on a server of the user's own and half on the private one.
const KILLS: usize = 10;

fn reports(seed: u64, reports: usize) -> Generated {
    generate(Options {
        seed,
        reports,
        records_max: 4,
        duplicates: 0,
        malformed: 0,
    })
}

fn import(folder: &std::path::Path) -> Program {
    Program::new(["import", "--format", "json"]).arg(folder)
}

fn assert_complete(ended: &Ended, generated: &Generated) {
    let json = ended.json();
    let (stored, duplicate) = (
        json["reports"]["stored"].as_u64().unwrap(),
        json["reports"]["duplicate"].as_u64().unwrap(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((stored + duplicate) as usize, generated.reports.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_many_times_is_finished_by_one_more() {
    let generated = reports(9, 2000);
    let folder = tempfile::tempdir().unwrap();
    generated.write_to(folder.path());
    let database = Database::fresh().await;
    let mut random = Random(9);

    let (mut seen, mut interrupted) = (0, 0);
    for _ in 0..KILLS {
        let mut importing = import(folder.path()).on(&database).spawn();
        tokio::time::sleep(Duration::from_millis(50 + random.below(400))).await;
        interrupted += usize::from(importing.is_running());
        importing.kill().await;
        let now = database.report_count().await;
        assert!(now >= seen, "what was committed stays");
        seen = now;
    }
    assert!(
        seen > 0 && interrupted > 0,
        "some were stored before the last kill, and not all before the first"
    );
    assert_eq!(database.mismatches().await, []);
    let last = import(folder.path()).on(&database).run().await;

    assert_complete(&last, &generated);
    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_whose_private_server_is_killed_with_it() {
    let generated = reports(10, 2000);
    let folder = tempfile::tempdir().unwrap();
    generated.write_to(folder.path());
    let mut cluster = Cluster::empty();
    let private = |program: Program| program.env("RUAD_DATA", cluster.data());
    let mut random = Random(10);

    let mut interrupted = 0;
    for number in 0..KILLS {
        let mut importing = private(import(folder.path())).spawn();
        eventually("the server runs", async || cluster.is_running()).await;
        tokio::time::sleep(Duration::from_millis(100 + random.below(500))).await;
        interrupted += usize::from(importing.is_running());
        // Every other time the server survives and is adopted by the next import.
        if number % 2 == 0 {
            cluster.kill();
        }
        importing.kill().await;
    }
    assert!(interrupted > 0);
    let last = private(import(folder.path())).run().await;
    assert_complete(&last, &generated);
    private(Program::new(["verify"])).run().await.succeeded();

    assert!(
        !cluster.is_running(),
        "whoever leaves last stops the server"
    );
    cluster.restart().await;
    let service = Service::start_with(cluster.database(), |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
    service.stop().await;
    cluster.stop().await;
}

/// Uploads one after another until the server is gone, and returns how many were acknowledged.
async fn upload_until_killed(
    serving: &Serving,
    deliveries: &[(String, Vec<u8>)],
    all: &AtomicUsize,
) -> usize {
    let mut acknowledged = 0;
    for (name, bytes) in deliveries {
        match serving.upload(&Bytes::copy_from_slice(bytes)).await {
            Some(answer) if answer.status == 201 => {
                acknowledged += 1;
                all.fetch_add(1, Ordering::Relaxed);
            }
            // The private server is killed first.
            Some(answer) if answer.status == 503 => break,
            Some(answer) => panic!("{name}: {answer:?}"),
            None => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_upload_that_was_acknowledged_survives() {
    let generated = reports(11, 800);
    let mut cluster = Cluster::empty();
    let serve = Program::new(["serve"]).env("RUAD_DATA", cluster.data());
    let serving = Serving::start(serve).await;
    serving.ready().await;

    let parts: Vec<&[(String, Vec<u8>)]> = generated.deliveries.chunks(200).collect();
    let all = AtomicUsize::new(0);
    let uploads = join_all(
        parts
            .iter()
            .map(|part| upload_until_killed(&serving, part, &all)),
    );
    let killer = async {
        eventually("some uploads are acknowledged", async || {
            all.load(Ordering::Relaxed) >= 40
        })
        .await;
        assert!(cluster.kill());
        serving.process.signal(rustix::process::Signal::KILL);
    };
    let (acknowledged, ()) = tokio::join!(uploads, killer);
    drop(serving);

    let count = acknowledged.iter().sum::<usize>();
    assert!(
        count < generated.deliveries.len(),
        "killed before the last of them"
    );
    cluster.restart().await;
    let service = Service::start_with(cluster.database(), |_| {}).await;
    for (part, count) in parts.iter().zip(acknowledged) {
        for (name, bytes) in &part[..count] {
            assert_eq!(
                service.upload(bytes.clone()).await.outcomes(),
                ["duplicate"],
                "{name} was acknowledged"
            );
        }
    }
    assert_eq!(service.database.mismatches().await, []);
    service.stop().await;
    cluster.stop().await;
}
