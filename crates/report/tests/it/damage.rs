//! Fixtures cut short and with bits flipped: nothing may panic, and nothing incomplete may pass.

use std::{fs, path::Path};

use crate::{
    fixtures::{fixtures, name_of},
    outcome::{Outcome, read_bytes},
};

/// Every file cut at every byte. What is still accepted must have all its records; that can only be where the cut is
/// behind the end of the root element.
#[test]
fn what_is_cut_short_is_never_accepted_in_part() {
    for name in [
        "reports/any_order.xml",
        "reports/rfc9990.xml",
        "reports/utf16.xml",
        "reports/trailing_line_break.xml.gz",
        "reports/two_members.xml.gz",
        "reports/twice.xml.gz.gz",
        "messages/gzip_attachment.eml",
        "messages/single_part_zip.eml",
        "messages/forwarded.eml",
        "messages/quoted_printable_xml.eml",
    ] {
        let (folder, file) = name.split_once('/').unwrap();
        let path = fixtures(folder)
            .into_iter()
            .find(|path| name_of(path) == file);
        let bytes = fs::read(path.unwrap()).unwrap();
        let whole = record_counts(&bytes);
        for end in 0..bytes.len() {
            let part = record_counts(&bytes[..end]);
            assert!(part.is_empty() || part == whole, "{name} cut at {end}");
        }
    }
}

/// Members of an archive stand for themselves, so that some may be accepted, but each of them whole.
#[test]
fn a_zip_cut_short_has_no_directory() {
    let path = fixtures("reports")
        .into_iter()
        .find(|path| name_of(path) == "several.zip");
    let bytes = fs::read(path.unwrap()).unwrap();
    for end in 4..bytes.len() - 22 {
        let outcomes = read_bytes(&bytes[..end]);
        assert_eq!(outcomes[0].1.word(), "truncated", "cut at {end}");
    }
}

#[test]
fn flipped_bits_do_no_harm() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let paths = ["reports", "messages", "hostile"].map(fixtures);
    for path in paths.iter().flatten() {
        let bytes = fs::read(path).unwrap();
        if bytes.is_empty() || is_long(path) {
            continue;
        }
        for _ in 0..150 {
            let mut damaged = bytes.clone();
            for _ in 0..4 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let place = random as usize % damaged.len();
                damaged[place] ^= 1 << (random >> 61);
            }
            let _ = read_bytes(damaged);
        }
    }
}

/// Left out for the time they take; they differ from others in length only.
fn is_long(path: &Path) -> bool {
    name_of(path).contains("many_results")
}

fn record_counts(bytes: &[u8]) -> Vec<u64> {
    let outcomes = read_bytes(bytes).into_iter();
    let counts = outcomes.filter_map(|(_, outcome)| match outcome {
        Outcome::Report(report) => Some(report.0.record_count),
        _ => None,
    });
    counts.collect()
}
