//! Files that are put into a watched directory.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    generated::assert_true,
    harness::{Cluster, Database, Program, Service, Serving, eventually},
    reports::{Generated, Options, Random, Report, Truth, generate, mail},
};

/// A service that watches a directory.
struct Spool {
    service: Service,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Spool {
    /// With a poll so rare that only what the system tells is seen.
    async fn start() -> Self {
        Self::start_with(Database::fresh().await, 3600, |_| {}).await
    }

    async fn start_with(
        database: Database,
        poll_interval_secs: u64,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        fs::create_dir(&path).unwrap();
        prepare(&path);
        let service = watching(database, &path, poll_interval_secs).await;
        Self {
            service,
            path,
            _folder: folder,
        }
    }

    /// Puts a file in at once, from elsewhere on the same disk.
    fn rename_in(&self, name: &str, bytes: &[u8]) {
        let elsewhere = self.path.with_file_name("elsewhere");
        fs::write(&elsewhere, bytes).unwrap();
        fs::rename(elsewhere, self.path.join(name)).unwrap();
    }

    async fn becomes(&self, done: &[&str], rejected: &[&str]) {
        eventually("the files are where they belong", async || {
            names(&self.path.join("done")) == done && names(&self.path.join("rejected")) == rejected
        })
        .await;
    }

    async fn delivery_count(&self) -> i64 {
        let database = &self.service.database;
        database.value("select count(*) from deliveries").await
    }
}

async fn watching(database: Database, path: &Path, poll_interval_secs: u64) -> Service {
    Service::start_with(database, |config| {
        let spool = json!({"path": path, "poll_interval_secs": poll_interval_secs});
        config.directories = serde_json::from_value(json!({"spool": spool})).unwrap();
    })
    .await
}

/// The files in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let files = entries
        .map(Result::unwrap)
        .filter(|entry| !entry.path().is_dir());
    let mut names: Vec<String> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn report(report_id: &str) -> Vec<u8> {
    Report::new("example.com", report_id)
        .passing("192.0.2.1", 3)
        .xml()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_taken_in_and_moved() {
    let spool = Spool::start().await;
    spool.rename_in("a.xml", &report("1"));
    fs::write(spool.path.join("b.xml"), report("1")).unwrap();
    fs::write(spool.path.join("c.eml"), mail(&report("2"))).unwrap();
    fs::write(spool.path.join("bad.xml"), "<feedback><x/></feedback>").unwrap();
    fs::write(spool.path.join("empty"), "").unwrap();
    spool
        .becomes(&["a.xml", "b.xml", "c.eml"], &["bad.xml", "empty"])
        .await;

    assert_eq!(spool.delivery_count().await, 5);
    assert_eq!(spool.service.database.report_count().await, 2);
    let deliveries = spool
        .service
        .list("/api/v1/deliveries?outcome=rejected")
        .await;
    assert_eq!(deliveries[0]["origin"], "file");
    assert_eq!(deliveries.len(), 2, "{deliveries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_taken_before_it_is_closed() {
    let spool = Spool::start_with(Database::fresh().await, 1, |_| {}).await;
    let bytes = report("1");
    let mut file = File::create(spool.path.join("slow.xml")).unwrap();
    file.write_all(&bytes[..200]).unwrap();
    fs::write(spool.path.join("other.xml"), report("2")).unwrap();
    spool.becomes(&["other.xml"], &[]).await;
    // Longer than files lie still of which nothing was heard.
    sleep(Duration::from_millis(3500)).await;
    assert_eq!(names(&spool.path), ["slow.xml"]);
    file.write_all(&bytes[200..]).unwrap();
    drop(file);
    spool.becomes(&["other.xml", "slow.xml"], &[]).await;
    assert_eq!(spool.delivery_count().await, 2);
    assert_eq!(spool.service.database.report_count().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_there_before_are_found() {
    let spool = Spool::start_with(Database::fresh().await, 3600, |path| {
        for number in 0..10 {
            fs::write(
                path.join(format!("{number}.xml")),
                report(&number.to_string()),
            )
            .unwrap();
        }
    })
    .await;
    eventually("all are moved", async || {
        names(&spool.path.join("done")).len() == 10
    })
    .await;
    // A second name of a file is neither written nor closed.
    fs::write(spool.path.with_file_name("elsewhere"), report("10")).unwrap();
    fs::hard_link(
        spool.path.with_file_name("elsewhere"),
        spool.path.join("10.xml"),
    )
    .unwrap();
    eventually("the link is moved", async || {
        names(&spool.path.join("done")).len() == 11
    })
    .await;
    assert_eq!(spool.service.database.report_count().await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_for_it_is_left_alone() {
    let spool = Spool::start_with(Database::fresh().await, 1, |_| {}).await;
    let secret = spool.path.with_file_name("secret.xml");
    fs::write(&secret, report("secret")).unwrap();
    symlink(&secret, spool.path.join("link.xml")).unwrap();
    fs::create_dir(spool.path.join("folder")).unwrap();
    fs::write(spool.path.join("folder/x.xml"), report("1")).unwrap();
    for name in [".hidden", "a.tmp", "b.part"] {
        fs::write(spool.path.join(name), report("1")).unwrap();
    }
    fs::write(spool.path.join("mine.xml"), report("2")).unwrap();
    spool.becomes(&["mine.xml"], &[]).await;
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        names(&spool.path),
        [".hidden", "a.tmp", "b.part", "link.xml"]
    );
    assert_eq!(spool.delivery_count().await, 1);
    fs::rename(spool.path.join("a.tmp"), spool.path.join("a.xml")).unwrap();
    spool.becomes(&["a.xml", "mine.xml"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_one_name_are_kept_beside_one_another() {
    let spool = Spool::start().await;
    for number in 0..3 {
        spool.rename_in("report.xml", &report(&number.to_string()));
        eventually("it is taken", async || names(&spool.path).is_empty()).await;
    }
    let database = &spool.service.database;
    let mut expected = vec!["report.xml".to_owned()];
    for offset in [1, 2] {
        let id = format!(
            "select delivery_id::text from deliveries order by received_at offset {offset} limit 1"
        );
        let id: String = database.value(&id).await;
        expected.push(format!("report.xml.{id}"));
    }
    expected.sort();
    assert_eq!(names(&spool.path.join("done")), expected);
    assert_eq!(spool.delivery_count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mbox_is_taken_message_by_message() {
    let spool = Spool::start().await;
    let mbox = |ids: std::ops::Range<usize>, last: &[u8]| {
        let mut mbox = Vec::new();
        for id in ids {
            mbox.extend_from_slice(b"From a@example.com Tue Jun 30 00:00:00 2026\n");
            mbox.extend_from_slice(&mail(&report(&id.to_string())));
            mbox.extend_from_slice(b"\n");
        }
        mbox.extend_from_slice(last);
        mbox
    };
    spool.rename_in("good", &mbox(0..20, b""));
    spool.becomes(&["good"], &[]).await;
    assert_eq!(spool.delivery_count().await, 20);
    let bad =
        b"From a@example.com Tue Jun 30 00:00:00 2026\nSubject: x\n\n<feedback><x/></feedback>\n";
    spool.rename_in("bad", &mbox(20..22, bad));
    spool.becomes(&["good"], &["bad"]).await;
    assert_eq!(spool.delivery_count().await, 23);
    assert_eq!(spool.service.database.report_count().await, 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_may_come_and_go() {
    let spool = Spool::start_with(Database::fresh().await, 1, |path| {
        fs::remove_dir(path).unwrap();
    })
    .await;
    for round in 0..3 {
        fs::create_dir(&spool.path).unwrap();
        fs::write(spool.path.join("a.xml"), report(&round.to_string())).unwrap();
        spool.becomes(&["a.xml"], &[]).await;
        fs::remove_dir_all(&spool.path).unwrap();
    }
    assert_eq!(spool.delivery_count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_the_limit_is_rejected_and_recorded() {
    const TOO_MANY_BYTES: u64 = (2 << 30) + 1;
    let spool = Spool::start().await;
    for (name, start) in [
        ("mbox", "From a@example.com Tue Jun 30 00:00:00 2026\n"),
        ("plain", "<feedback>"),
    ] {
        let elsewhere = spool.path.with_file_name("elsewhere");
        fs::write(&elsewhere, start).unwrap();
        // The rest is a hole, which takes no room.
        let file = File::options().write(true).open(&elsewhere).unwrap();
        file.set_len(TOO_MANY_BYTES).unwrap();
        fs::rename(elsewhere, spool.path.join(name)).unwrap();
    }
    spool.becomes(&[], &["mbox", "plain"]).await;
    let deliveries = spool.service.list("/api/v1/deliveries").await;
    assert_eq!(deliveries.len(), 2, "{deliveries:?}");
    for delivery in deliveries {
        assert_eq!(delivery["outcome"], "rejected", "{delivery}");
        assert_eq!(delivery["size_bytes"], TOO_MANY_BYTES, "{delivery}");
        assert_eq!(delivery["documents"][0]["code"], "too_large", "{delivery}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_database_refuses_does_not_keep_others() {
    let database = Database::fresh().await;
    let refuse = "alter table deliveries add constraint no_poison check (name <> 'poison.xml')";
    database.execute(refuse).await;
    let spool = Spool::start_with(database, 1, |path| {
        fs::write(path.join("poison.xml"), report("poison")).unwrap();
        for number in 0..100 {
            let name = format!("{number:03}.xml");
            fs::write(path.join(name), report(&number.to_string())).unwrap();
        }
    })
    .await;
    eventually("the others are taken", async || {
        names(&spool.path.join("done")).len() == 100
    })
    .await;
    assert_eq!(names(&spool.path), ["poison.xml"]);
    let database = &spool.service.database;
    database
        .execute("alter table deliveries drop constraint no_poison")
        .await;
    eventually("it is taken when it can be", async || {
        names(&spool.path.join("done")).len() == 101
    })
    .await;
    assert_eq!(spool.service.database.report_count().await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_directory_costs_nothing() {
    let database = Database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let serve = Program::new(["serve"])
        .on(&database)
        .env("RUAD_DIRECTORIES__SPOOL__PATH", folder.path());
    let serving = Serving::start(serve).await;
    fs::write(folder.path().join("a.xml"), report("1")).unwrap();
    let done = folder.path().join("done");
    eventually("it is taken", async || names(&done) == ["a.xml"]).await;
    // Whatever is left to be done after the start and the file is done before long.
    eventually("nothing is done any more", async || {
        let before = serving.process.processor_ticks();
        sleep(Duration::from_secs(1)).await;
        serving.process.processor_ticks() - before < 10
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_moved_is_taken_in_once() {
    // A link in place of the folder stops the move, for root as well.
    let spool = Spool::start_with(Database::fresh().await, 1, |path| {
        symlink("/nowhere", path.join("done")).unwrap();
    })
    .await;
    fs::write(spool.path.join("a.xml"), report("1")).unwrap();
    let database = &spool.service.database;
    eventually("it is taken in", async || {
        database.report_count().await == 1
    })
    .await;
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(names(&spool.path), ["a.xml", "done"]);
    assert_eq!(spool.delivery_count().await, 1);

    // Whoever begins anew asks the ledger.
    let Spool {
        service,
        path,
        _folder,
    } = spool;
    let service = watching(service.stop().await, &path, 1).await;
    sleep(Duration::from_millis(1500)).await;
    fs::remove_file(path.join("done")).unwrap();
    eventually("it is moved", async || {
        names(&path.join("done")) == ["a.xml"]
    })
    .await;
    let deliveries: Vec<_> = service.list("/api/v1/deliveries").await;
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    assert_eq!(deliveries[0]["outcome"], "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_files_stay() {
    let mut cluster = Cluster::start().await;
    let spool = Spool::start_with(cluster.database(), 1, |_| {}).await;
    fs::write(spool.path.join("a.xml"), report("1")).unwrap();
    spool.becomes(&["a.xml"], &[]).await;
    cluster.stop().await;
    fs::write(spool.path.join("b.xml"), report("2")).unwrap();
    fs::write(spool.path.join("bad"), "<feedback/>").unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(names(&spool.path), ["b.xml", "bad"]);
    cluster.restart().await;
    spool.becomes(&["a.xml", "b.xml"], &["bad"]).await;
    assert_eq!(spool.delivery_count().await, 3);
    spool.service.stop().await;
    cluster.stop().await;
}

fn many(seed: u64) -> Generated {
    generate(Options {
        seed,
        reports: 2000,
        records_max: 3,
        duplicates: 5,
        malformed: 3,
    })
}

/// Every file is where it belongs, has one row in the ledger, and the totals are right.
async fn assert_taken(path: &Path, service: &Service, generated: &Generated) {
    let (done, rejected) = (names(&path.join("done")), names(&path.join("rejected")));
    assert_eq!(rejected.len(), generated.malformed);
    assert_eq!(done.len() + rejected.len(), generated.deliveries.len());
    let counts = "select count(*) || '/' || count(distinct name) || '/' || count(*) filter (where not is_complete) from deliveries";
    let files = generated.deliveries.len();
    assert_eq!(
        service.database.value::<String>(counts).await,
        format!("{files}/{files}/0")
    );
    assert_true(service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_files_at_once_are_counted_right() {
    let generated = many(61);
    let spool = Spool::start().await;
    for (name, bytes) in &generated.deliveries {
        spool.rename_in(name, bytes);
    }
    eventually("all are taken", async || names(&spool.path).is_empty()).await;
    assert_taken(&spool.path, &spool.service, &generated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_watch_one_directory_take_every_file_once() {
    let generated = many(63);
    let spool = Spool::start().await;
    let other = Database::at(spool.service.database.url.clone());
    let other = watching(other, &spool.path, 3600).await;
    for (name, bytes) in &generated.deliveries {
        spool.rename_in(name, bytes);
    }
    eventually("all are taken", async || names(&spool.path).is_empty()).await;
    assert_taken(&spool.path, &spool.service, &generated).await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_survive_kills_and_have_one_row_each() {
    let generated = many(62);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    generated.write_to(&path);
    let database = Database::fresh().await;
    let mut random = Random(62);
    let mut interrupted = 0;
    let mut left = names(&path).len();
    while left > 0 {
        let serve = Program::new(["serve"])
            .on(&database)
            .env("RUAD_DIRECTORIES__SPOOL__PATH", &path);
        let serving = Serving::start(serve).await;
        let target = left.saturating_sub(100);
        eventually("some more are taken", async || names(&path).len() <= target).await;
        sleep(Duration::from_millis(random.below(40))).await;
        serving.process.kill().await;
        left = names(&path).len();
        interrupted += usize::from(left > 0);
    }
    assert!(interrupted > 2, "{interrupted}");
    let service = Service::start_with(database, |_| {}).await;
    assert_taken(&path, &service, &generated).await;
}
