//! A report of any size in the same memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;

use crate::{
    harness::{Database, Program, Service, Serving},
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

/// The largest body that `ruad serve` takes by default.
const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

/// Bodies of that size: reports, reports that break off, a form, and what is no report.
fn largest_bodies() -> Vec<(Bytes, u16)> {
    let mut random = Random(5);
    let mut records = String::new();
    while records.len() < BODY_BYTES_MAX - 64 * 1024 {
        record(&mut random).write(&mut records);
    }
    let body = |number: usize| {
        let report = Report::new("example.com", &number.to_string()).xml();
        let empty = String::from_utf8(report).unwrap();
        let (head, tail) = empty.split_once("</feedback>").unwrap();
        match number % 4 {
            0 => (format!("{head}{records}</feedback>{tail}"), 201),
            1 => (format!("{head}{records}"), 422),
            2 => ("no report ".repeat(BODY_BYTES_MAX / 10), 422),
            _ => {
                let form = format!(
                    "--b\r\ncontent-disposition: form-data; name=f; filename=f.xml\r\n\r\n{head}{records}\r\n--b--\r\n"
                );
                (form, 422)
            }
        }
    };
    (0..16)
        .map(body)
        .map(|(text, status)| (Bytes::from(text), status))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_of_the_largest_uploads_at_a_time_take_less_than_128_mib() {
    let bodies = largest_bodies();
    let database = Database::fresh().await;
    let serving = Serving::start(Program::new(["serve"]).on(&database)).await;
    serving.ready().await;

    let uploads = bodies.iter().enumerate().map(async |(number, (body, _))| {
        let form = "multipart/form-data; boundary=b";
        let content_type = if number % 4 == 3 {
            form
        } else {
            "application/octet-stream"
        };
        serving.upload_as(content_type, body).await.unwrap().status
    });
    let statuses = join_all(uploads).await;

    let expected: Vec<u16> = bodies.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, expected);
    let kept: String = database
        .value("select string_agg(delivery_id::text, ' ') from quarantine")
        .await;
    let downloads = kept.split(' ').map(async |delivery_id| {
        let path = format!("/api/v1/deliveries/{delivery_id}/raw");
        serving.get(&path).await.unwrap().body.len()
    });
    let lengths = join_all(downloads).await;
    assert_eq!(lengths.len(), 12);
    assert!(
        lengths
            .iter()
            .all(|length| *length > BODY_BYTES_MAX - 128 * 1024)
    );
    let peak_kib = serving.process.peak_kib();
    assert!(peak_kib < 128 * 1024, "{peak_kib} KiB");
}

/// A report of as much as a record may hold, in each record: as much text as a million records of others.
fn write_heavy(path: &Path, report_id: &str, records: usize, are_equal: bool) {
    let empty = String::from_utf8(Report::new("example.com", report_id).xml()).unwrap();
    let (head, tail) = empty.split_once("</feedback>").unwrap();
    let mut file = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    file.write_all(head.as_bytes()).unwrap();
    for number in 0..records {
        let text = format!(
            "{}{}",
            if are_equal { 0 } else { number },
            "x".repeat(1_990)
        );
        let reason = format!("<reason><type>other</type><comment>{text}</comment></reason>");
        let dkim = format!(
            "<dkim><domain>example.com</domain><result>pass</result><human_result>{text}</human_result></dkim>"
        );
        let spf = "<spf><domain>example.com</domain><result>pass</result></spf>";
        let record = format!(
            "<record><row><source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated><disposition>none</disposition>\
             <dkim>pass</dkim><spf>pass</spf>{}</policy_evaluated></row><identifiers><header_from>example.com</header_from>\
             </identifiers><auth_results>{}{spf}</auth_results></record>",
            reason.repeat(100),
            dkim.repeat(100)
        );
        file.write_all(record.as_bytes()).unwrap();
    }
    file.write_all(format!("</feedback>{tail}").as_bytes())
        .unwrap();
    file.finish().unwrap();
}

/// The number of items of each page of a list.
async fn page_lengths(serving: &Serving, path: &str) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = serving.get(&format!("{path}?limit=1000{cursor}")).await;
        let page = page.unwrap().json();
        lengths.push(page["items"].as_array().unwrap().len());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return lengths,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_largest_records_take_less_than_128_mib() {
    const EQUAL: usize = 200;
    const OTHER: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    write_heavy(&folder.path().join("equal.xml.gz"), "equal", EQUAL, true);
    write_heavy(&folder.path().join("other.xml.gz"), "other", OTHER, false);
    let database = Database::fresh().await;
    let import = Program::new(["import"]).arg(folder.path()).on(&database);
    import.run().await.succeeded();
    let serving = Serving::start(Program::new(["serve"]).on(&database)).await;
    serving.ready().await;

    let reports = serving.get("/api/v1/reports").await.unwrap().json();
    let reports = reports["items"].as_array().unwrap();
    let of_reports = reports.iter().map(|report| {
        let uid = report["report_uid"].as_str().unwrap();
        let count = if report["report_id"] == "equal" {
            EQUAL
        } else {
            OTHER
        };
        (format!("/api/v1/reports/{uid}/records"), count)
    });
    let of_source = "/api/v1/domains/example.com/sources/192.0.2.1/records";
    for (path, count) in of_reports.chain([(of_source.to_owned(), EQUAL + OTHER)]) {
        let lengths = page_lengths(&serving, &path).await;
        assert_eq!(lengths.iter().sum::<usize>(), count, "{path}");
        assert!(lengths.len() > 5, "{path}: {lengths:?}");
        let export = serving.get(&format!("{path}?format=ndjson")).await.unwrap();
        let lines = export.body.iter().filter(|byte| **byte == b'\n');
        assert_eq!(lines.count(), count, "{path}");
    }

    assert_eq!(reports.len(), 2);
    let peak_kib = serving.process.peak_kib();
    assert!(peak_kib < 128 * 1024, "{peak_kib} KiB");
}
