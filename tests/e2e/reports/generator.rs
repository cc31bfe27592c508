//! Reports by the hundred, the same for the same seed.

use std::{net::IpAddr, path::Path};

use super::{Container, DAY, FIRST_SECOND, Random, Record, Report, Schema};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) reports: usize,
    pub(crate) records_max: u64,
    /// Reports delivered again in another container, per cent.
    pub(crate) duplicates: u64,
    /// Broken deliveries besides, per cent.
    pub(crate) malformed: u64,
}

/// Deliveries, and the distinct reports that are to be stored of them.
pub(crate) struct Generated {
    /// In the order to deliver them: a name for a file, and the bytes.
    pub(crate) deliveries: Vec<(String, Vec<u8>)>,
    pub(crate) reports: Vec<Report>,
    pub(crate) duplicates: usize,
    pub(crate) malformed: usize,
}

impl Generated {
    /// Writes the deliveries as files.
    pub(crate) fn write_to(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for (name, bytes) in &self.deliveries {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

pub(crate) fn generate(options: Options) -> Generated {
    let mut random = Random(options.seed);
    let mut reports = Vec::with_capacity(options.reports);
    let mut deliveries = Vec::new();
    let (mut duplicates, mut malformed) = (0, 0);
    for number in 0..options.reports {
        let report = report(&mut random, number, options.records_max);
        let xml = report.xml();
        let mut deliver = |random: &mut Random, xml: &[u8]| {
            let container = *random.pick(&Container::ALL);
            let name = format!("{:05}.{}", deliveries.len(), container.extension());
            deliveries.push((name, container.pack(xml)));
        };
        deliver(&mut random, &xml);
        if random.chance(options.duplicates) {
            duplicates += 1;
            deliver(&mut random, &xml);
        }
        if random.chance(options.malformed) {
            malformed += 1;
            let broken = broken(&mut random, &xml);
            deliver(&mut random, &broken);
        }
        reports.push(report);
    }
    Generated {
        deliveries,
        reports,
        duplicates,
        malformed,
    }
}

fn report(random: &mut Random, number: usize, records_max: u64) -> Report {
    const REPORTERS: [&str; 4] = [
        "big.example",
        "Mail Receiver GmbH",
        "small.example",
        "Post & Söhne",
    ];
    const DOMAINS: [&str; 5] = [
        "example.com",
        "Example.ORG",
        "example.net",
        "mail.example.com",
        "beispiel.example",
    ];
    let schema = *random.pick(&[Schema::Rfc7489, Schema::Rfc9990]);
    // Some reporters' days begin at noon of another zone, and some end on the first second after.
    let begin = FIRST_SECOND + DAY * random.below(45) as i64 + 3600 * *random.pick(&[0, 0, 7, -2]);
    let domain = *random.pick(&DOMAINS);
    // Ids may be used by several reporters, and each makes a report of its own.
    let report_id = format!("{}", number / 2);
    let org_name = format!("{}{}", random.pick(&REPORTERS), number % 2);
    let records = (0..=random.below(records_max))
        .map(|_| record(random, domain, schema))
        .collect();
    Report {
        schema,
        org_name,
        report_id,
        domain: domain.into(),
        begin,
        end: begin + DAY - *random.pick(&[0, 1]),
        records,
    }
}

fn record(random: &mut Random, domain: &str, schema: Schema) -> Record {
    let last = random.below(40) as u16;
    let (spelled, source_ip): (String, IpAddr) = match random.below(4) {
        0 => (
            format!("2001:0db8:0000:0000:0000:0000:0000:{last:04X}"),
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into(),
        ),
        1 => (
            format!("203.0.113.{last}"),
            [203, 0, 113, last as u8].into(),
        ),
        _ => (
            format!("198.51.100.{last}"),
            [198, 51, 100, last as u8].into(),
        ),
    };
    let dispositions = match schema {
        Schema::Rfc7489 => [Some("none"), Some("quarantine"), Some("reject"), None],
        Schema::Rfc9990 => [
            Some("none"),
            Some("quarantine"),
            Some("reject"),
            Some("pass"),
        ],
    };
    let sub = *random.pick(&["", "", "news.", "Shop."]);
    Record {
        spelled,
        source_ip,
        count: 1 + random.below(50) * random.below(50),
        disposition: *random.pick(&dispositions),
        dkim: random.chance(60),
        spf: random.chance(50),
        header_from: format!("{sub}{domain}"),
    }
}

/// Something of which no record can be stored.
fn broken(random: &mut Random, xml: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(xml).unwrap();
    match random.below(4) {
        0 => xml[..xml.len() / 2].to_vec(),
        1 => text
            .replace("</report_metadata>", "</report_data>")
            .into_bytes(),
        2 => text
            .replacen('\n', "\n<!DOCTYPE feedback>\n", 1)
            .into_bytes(),
        _ => text.replace("begin>", "start>").into_bytes(),
    }
}
