//! A report of any size in the same memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

use crate::{
    harness::{Database, Program, Service},
    reports::{Random, Record, Report, Totals},
};

const RECORDS: usize = 200_000;
const PEAK_KIB_MAX: u64 = 64 * 1024;

/// Writes a report of many records and returns what each source of it comes to.
fn write_large(path: &Path, records: usize) -> BTreeMap<IpAddr, Totals> {
    let mut random = Random(3);
    let mut file = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    let empty = String::from_utf8(Report::new("example.com", "large").xml()).unwrap();
    let (head, tail) = empty.split_once("</feedback>").unwrap();
    file.write_all(head.as_bytes()).unwrap();
    let mut sources: BTreeMap<IpAddr, Totals> = BTreeMap::new();
    let mut xml = String::new();
    for _ in 0..records {
        let record = record(&mut random);
        *sources.entry(record.source_ip).or_default() += &record;
        record.write(&mut xml);
        file.write_all(xml.as_bytes()).unwrap();
        xml.clear();
    }
    file.write_all(format!("</feedback>{tail}").as_bytes())
        .unwrap();
    file.finish().unwrap();
    sources
}

fn record(random: &mut Random) -> Record {
    let source_ip = Ipv4Addr::from(0xc612_0000 + random.below(4_000) as u32);
    Record {
        disposition: *random.pick(&[Some("none"), Some("reject"), None]),
        dkim: random.chance(70),
        spf: random.chance(50),
        ..Record::new(&source_ip.to_string(), 1 + random.below(100), "example.com")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_200_000_records_is_imported_in_64_mib() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.xml.gz");
    let sources = write_large(&path, RECORDS);
    let database = Database::fresh().await;

    let ended = Program::new(["import", "--format", "json"])
        .arg(&path)
        .on(&database)
        .run()
        .await
        .succeeded();

    assert!(ended.peak_kib < PEAK_KIB_MAX, "{} KiB", ended.peak_kib);
    assert_eq!(ended.json()["records"], RECORDS);
    let service = Service::start_with(database, |_| {}).await;
    let listed = service
        .list("/api/v1/domains/example.com/sources?limit=1000")
        .await;
    let listed: BTreeMap<IpAddr, Totals> = listed
        .into_iter()
        .map(|item| {
            (
                item["source_ip"].as_str().unwrap().parse().unwrap(),
                serde_json::from_value(item).unwrap(),
            )
        })
        .collect();
    assert!(listed == sources, "some source differs");
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_reports_are_stored_once_and_in_conflict_kept_raw() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.xml.gz");
    write_large(&path, 6_000);
    let first = std::fs::read(&path).unwrap();
    write_large(&path, 6_001);
    let other = std::fs::read(&path).unwrap();
    let service = Service::start().await;

    let outcomes = [
        service.upload(first.clone()).await,
        service.upload(first.clone()).await,
        service.upload(other.clone()).await,
        service.upload(first[..first.len() / 2].to_vec()).await,
    ];

    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|answer| (answer.status, answer.outcomes().concat()))
        .collect();
    let expected = [
        (201, "stored"),
        (200, "duplicate"),
        (409, "conflict"),
        (422, "rejected"),
    ];
    assert_eq!(
        outcomes,
        expected.map(|(status, outcome)| (status, outcome.to_owned()))
    );
    assert_eq!(
        service
            .database
            .value::<i64>("select count(*) from records")
            .await,
        6_000
    );
    assert_eq!(
        service
            .database
            .value::<i64>("select count(*) from quarantine")
            .await,
        2
    );
    assert_eq!(service.database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_report_between_small_ones_of_one_message_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.xml.gz");
    let sources = write_large(&path, 6_000);
    let large = std::fs::read(&path).unwrap();
    let small = |id: &str| Report::new("example.org", id).passing("192.0.2.1", 5).xml();
    let message = crate::reports::mail_with(&[&small("1"), &large, b"<feedback>", &small("2")]);
    let service = Service::start().await;

    let answer = service.upload(message).await;

    assert_eq!(
        (answer.status, answer.outcomes().join(" ").as_str()),
        (201, "stored stored rejected stored")
    );
    assert_eq!(service.totals("example.org").await.message_count, 10);
    let messages: u64 = sources.values().map(|totals| totals.message_count).sum();
    assert_eq!(service.totals("example.com").await.message_count, messages);
    assert_eq!(
        service.list("/api/v1/deliveries").await[0]["documents"],
        answer.json()["reports"]
    );
    assert_eq!(service.database.mismatches().await, []);
}
