//! Input made to exhaust us: small on the outside, endless inside. Each must be refused soon, in little memory.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use report::{Body, Limits};

use crate::outcome::{read, read_bytes};

const MIB: u64 = 1024 * 1024;

const START: &str = "<feedback><report_metadata><org_name>r</org_name><report_id>1</report_id><date_range>\
    <begin>1</begin><end>2</end></date_range></report_metadata><policy_published><domain>d.example</domain>\
    </policy_published>";
const RECORD: &str = "<record><row><source_ip>::1</source_ip><count>1</count></row></record>";

/// A gzip stream of a start and then the same over and over again. As one block repeats the one before it, a block
/// is compressed once and its bytes are repeated, which makes ten gigabytes in no time.
fn gzip(start: &str, repeated: &str, size_bytes: u64) -> Vec<u8> {
    let block = repeated.repeat((MIB as usize).div_ceil(repeated.len()));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(start.as_bytes()).unwrap();
    // A flush aligns to bytes and starts a block of its own, so that what comes between two flushes repeats.
    encoder.flush().unwrap();
    encoder.write_all(block.as_bytes()).unwrap();
    encoder.flush().unwrap();
    let before = encoder.get_ref().len();
    encoder.write_all(block.as_bytes()).unwrap();
    encoder.flush().unwrap();
    let stream = encoder.get_ref().clone();
    let mut bomb = stream.clone();
    for _ in 0..size_bytes / block.len() as u64 {
        bomb.extend_from_slice(&stream[before..]);
    }
    bomb
}

#[track_caller]
fn check(bomb: Vec<u8>, code: &str) {
    let start = Instant::now();
    let outcomes = read_bytes(bomb);
    let words: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.word()).collect();
    assert_eq!(words, [code], "{outcomes:?}");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn ten_gigabytes_of_one_thing_in_gzip() {
    let size_bytes = 10 * 1024 * MIB;
    let endless = |start: &str, repeated| gzip(&[START, start].concat(), repeated, size_bytes);
    check(endless("", "\0"), "not_well_formed");
    check(endless("", " "), "too_large");
    check(endless("<note>", "a"), "too_large");
    check(endless("<note ", "a=\"1\" "), "too_large");
    check(endless("<note a=\"", "b"), "too_large");
    check(endless("<", "n"), "too_large");
    check(endless("<!--", "c"), "too_large");
    check(endless("<?", "p"), "too_large");
    check(endless("<![CDATA[", "d"), "too_large");
    check(endless("", "<a/>"), "too_large");
    check(endless("", "<!-- -->"), "too_large");
    check(endless("", "<a>"), "too_many_parts");
    check(endless("<record><row>", "<count>1</count>"), "too_large");
    check(
        endless("<record><auth_results>", "<spf><domain>d</domain></spf>"),
        "too_large",
    );
    check(
        gzip("<!DOCTYPE a [", "<!ENTITY a \"b\">", size_bytes),
        "doctype",
    );
    check(gzip("", " ", size_bytes), "empty");
    check(gzip("hello", "hello", size_bytes), "not_a_report");
    check(gzip("{\"policies\":[", "1,", size_bytes), "not_a_report");
    check(
        gzip("From: a@b.example\n\n", "hello\n", size_bytes),
        "too_large",
    );
    check(gzip("PK\x03\x04", "hello", size_bytes), "too_large");
}

#[test]
fn endless_bytes_behind_the_report() {
    let end = format!("{START}{RECORD}</feedback>");
    check(gzip(&end, "\0", 10 * 1024 * MIB), "too_large");
    check(gzip(&end, "\n", 10 * 1024 * MIB), "too_large");
}

#[test]
fn gzip_in_gzip_in_gzip() {
    let mut bomb = gzip(START, " ", 1024 * MIB);
    for _ in 0..3 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bomb).unwrap();
        bomb = encoder.finish().unwrap();
    }
    check(bomb, "too_large");
}

/// Complete records without end: bounded by the size of a report and by their number.
#[test]
fn endless_records() {
    let bomb = gzip(START, RECORD, 64 * MIB);
    let limits = Limits {
        report_bytes: 8 * MIB,
        ..Limits::default()
    };
    let outcomes = read(&Body::Memory(bomb.clone().into()), &limits);
    assert_eq!(outcomes[0].1.word(), "too_large");
    let limits = Limits {
        records: 10_000,
        ..Limits::default()
    };
    let outcomes = read(&Body::Memory(bomb.into()), &limits);
    assert_eq!(outcomes[0].1.word(), "too_large");
}

#[test]
fn a_zip_of_many_members_is_looked_at_as_far_as_the_limit() {
    let outcomes = read_bytes(zip(1000, &format!("{START}</feedback>")));
    assert_eq!(outcomes.len(), 65);
    assert_eq!(outcomes[0].1.word(), "report");
    assert_eq!(outcomes[64].1.word(), "too_many_parts");
}

/// All members share what a delivery may decompress to.
#[test]
fn members_share_one_allowance() {
    let content = format!("{START}{RECORD}</feedback>");
    let limits = Limits {
        delivery_bytes: content.len() as u64 * 2,
        ..Limits::default()
    };
    let bytes = zip(10, &content);
    let outcomes = read(&Body::Memory(bytes.into()), &limits);
    let words: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.word()).collect();
    assert_eq!(words[..4], ["report", "report", "too_large", "too_large"]);
}

/// A zip of stored members that all are the same bytes: the directory names one place again and again.
fn zip(entries: u32, content: &str) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(content.as_bytes());
    let size = content.len() as u32;
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for value in [crc.sum(), size, size] {
        common.extend_from_slice(&value.to_le_bytes());
    }
    common.extend_from_slice(&[1, 0, 0, 0]);
    let mut zip = [b"PK\x03\x04", common.as_slice(), b"a", content.as_bytes()].concat();
    let directory = zip.len() as u32;
    for _ in 0..entries {
        zip.extend_from_slice(&[b"PK\x01\x02\x14\0", common.as_slice(), &[0; 14], b"a"].concat());
    }
    let length = zip.len() as u32 - directory;
    zip.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    zip.extend_from_slice(
        &[entries as u16, entries as u16]
            .map(u16::to_le_bytes)
            .concat(),
    );
    zip.extend_from_slice(&[length, directory].map(u32::to_le_bytes).concat());
    zip.extend_from_slice(&[0, 0]);
    zip
}

#[test]
fn a_million_boundaries_and_nested_messages() {
    let header = "Content-Type: multipart/mixed; boundary=b\n\n";
    let outcomes = read_bytes([header, &"--b\n".repeat(1_000_000)].concat());
    assert_eq!(outcomes[0].1.word(), "too_many_parts");
    let outcomes = read_bytes("Content-Type: message/rfc822\n\n".repeat(300_000));
    assert_eq!(outcomes[0].1.word(), "too_many_parts");
    let outcomes = read_bytes(header.repeat(300_000));
    assert_eq!(outcomes[0].1.word(), "no_report");
}

#[test]
fn a_message_that_is_too_large_is_not_loaded() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"Subject: hello\n\n").unwrap();
    file.set_len(100 * 1024 * MIB).unwrap();
    let outcomes = read(&Body::File(std::sync::Arc::new(file)), &Limits::default());
    assert_eq!(outcomes[0].1.word(), "too_large");
}
