//! Hostile bytes are rejected quickly and in little memory.

use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use crate::{
    harness::{Database, Ended, Program, Service},
    reports::{Report, mail, zip},
};

const TIME_MAX: Duration = Duration::from_secs(10);
const PEAK_KIB_MAX: u64 = 256 * 1024;

const HEAD: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>reporter.example</org_name><email>";

/// Deflated bytes that can be repeated: they refer to nothing before them.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(bytes.len() + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    compress
        .compress_vec(bytes, &mut deflated, FlushCompress::Full)
        .unwrap();
    deflated
}

/// 10 GiB in one gzip member of some 10 MiB: after `head`, the same text again and again.
fn bomb(head: &str, text: &[u8]) -> Vec<u8> {
    const PIECE: usize = 16 * 1024 * 1024;
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.extend(deflate(head.as_bytes()));
    let piece = deflate(&text.repeat(PIECE / text.len()));
    for _ in 0..640 {
        bomb.extend(&piece);
    }
    assert!((5 << 20..25 << 20).contains(&bomb.len()), "{}", bomb.len());
    bomb
}

/// Imports a file with the program and asserts its rejection within the bounds.
async fn assert_rejected(bytes: &[u8], code: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile");
    std::fs::write(&path, bytes).unwrap();
    let database = Database::fresh().await;
    let start = Instant::now();

    let ended = Program::new(["import", "--format", "json"])
        .arg(&path)
        .on(&database)
        .run()
        .await;

    assert!(
        start.elapsed() < TIME_MAX,
        "{code} took {:?}",
        start.elapsed()
    );
    assert!(
        ended.peak_kib < PEAK_KIB_MAX,
        "{code}: {} KiB",
        ended.peak_kib
    );
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("rejected ({code})")),
        "{ended:?}"
    );
    assert_eq!(ended.json()["reports"]["rejected"], 1);
    assert_eq!(database.report_count().await, 0);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_bombs_are_rejected() {
    assert_rejected(&bomb(HEAD, b"a"), "too_large").await;
    assert_rejected(&bomb("<feedback>", b" "), "too_large").await;
    assert_rejected(&bomb("<feedback>", b"<!-- -->"), "too_large").await;
    assert_rejected(&bomb("<feedback>", b"<x y=''/>       "), "too_large").await;
    assert_rejected(&bomb("\0", b"\0"), "not_a_report").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_in_a_message_is_rejected() {
    let bomb = bomb(HEAD, b"a");
    assert_rejected(&mail(&bomb), "too_large").await;
    assert_rejected(&zip(&[("report.xml.gz", &bomb)]), "too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_of_text_is_rejected_as_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.xml");
    std::fs::write(&path, HEAD).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // A hole in the file: zero bytes, which cost no disk.
    file.set_len(1 << 30).unwrap();
    let database = Database::fresh().await;

    let ended = Program::new(["import"])
        .arg(&path)
        .on(&database)
        .run()
        .await;

    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.peak_kib < PEAK_KIB_MAX, "{} KiB", ended.peak_kib);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_is_rejected() {
    let mut xml = String::from("<feedback>");
    xml.push_str(&"<a>".repeat(1_000_000));
    xml.push_str(&"</a>".repeat(1_000_000));
    xml.push_str("</feedback>");
    assert_rejected(xml.as_bytes(), "too_many_parts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_are_never_expanded() {
    let mut lol = String::from("<?xml version=\"1.0\"?><!DOCTYPE feedback [<!ENTITY a0 \"lol\">");
    for level in 1..10 {
        lol.push_str(&format!(
            "<!ENTITY a{level} \"{}\">",
            format!("&a{};", level - 1).repeat(10)
        ));
    }
    lol.push_str(
        "]><feedback><report_metadata><org_name>&a9;</org_name></report_metadata></feedback>",
    );
    assert_rejected(lol.as_bytes(), "doctype").await;

    let outside =
        "<!DOCTYPE feedback [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><feedback>&x;</feedback>";
    let ended = assert_rejected(outside.as_bytes(), "doctype").await;
    assert!(!ended.stderr.contains("root:"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_uploads_stop_nobody_else() {
    let service = Service::start().await;
    let bomb = Bytes::from(bomb(HEAD, b"a"));
    let hostile = futures_util::future::join_all((0..4).map(|_| service.upload(bomb.clone())));
    let honest = async {
        let start = Instant::now();
        for number in 0..20 {
            service
                .store(
                    Report::new("example.com", &number.to_string())
                        .passing("192.0.2.1", 1)
                        .xml(),
                )
                .await;
        }
        start.elapsed()
    };

    let (rejected, elapsed) = tokio::join!(hostile, honest);

    assert!(
        rejected.iter().all(|answer| answer.status == 422),
        "{rejected:?}"
    );
    assert!(elapsed < TIME_MAX, "{elapsed:?}");
    assert_eq!(service.totals("example.com").await.message_count, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_cut_anywhere_is_rejected() {
    let service = Service::start().await;
    let report = Report::new("example.com", "1")
        .passing("192.0.2.1", 1)
        .failing("192.0.2.2", 2);
    let xml = report.xml();
    let end = xml.len() - "</feedback>\n".len();

    let folder = tempfile::tempdir().unwrap();
    for cut in (0..=end).step_by(7) {
        std::fs::write(folder.path().join(format!("{cut:05}.xml")), &xml[..cut]).unwrap();
    }
    let ended = Program::new(["import", "--format", "json"])
        .arg(folder.path())
        .on(&service.database)
        .run()
        .await;

    assert_eq!(ended.code, Some(3), "{ended:?}");
    let json = ended.json();
    assert_eq!(json["reports"]["rejected"], json["deliveries"]);
    assert_eq!(service.database.report_count().await, 0);
    service.store(xml).await;
}
