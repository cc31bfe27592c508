//! A small generator of realistic reports, for machines that have no other: the same seed gives the same bytes.
//!
//! Reporters differ in what they write and how they wrap it; domains, sources and sizes are as uneven as in life.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Cursor, Write as _},
    net::Ipv4Addr,
    path::PathBuf,
};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::input::{Container, Input, Wanted};

const DOMAIN_COUNT: u64 = 200;
const DAY_COUNT: u64 = 30;
const DAY_SECONDS: u64 = 86_400;
/// 2026-06-01.
const FIRST_DAY: u64 = 1_780_272_000;
/// Half the reports are smaller; the mean is about five times as much.
const MEDIAN_RECORDS: f64 = 5.0;
const SPREAD: f64 = 1.8;
const RECORDS_MAX: f64 = 5_000.0;
/// Reports of one seed at most.
pub(crate) const REPORTS_MAX: u64 = 1_000_000;

struct Reporter {
    org_name: &'static str,
    indent: &'static str,
    eol: &'static str,
    /// Writes `<version>`, `<scope>`, `<envelope_from>` and `<human_result>`.
    is_wordy: bool,
    is_zip: bool,
}

const REPORTERS: [Reporter; 4] = [
    Reporter {
        org_name: "search.example",
        indent: "  ",
        eol: "\n",
        is_wordy: false,
        is_zip: true,
    },
    Reporter {
        org_name: "Enterprise Mail",
        indent: "  ",
        eol: "\r\n",
        is_wordy: true,
        is_zip: false,
    },
    Reporter {
        org_name: "Portal",
        indent: "",
        eol: "",
        is_wordy: false,
        is_zip: false,
    },
    Reporter {
        org_name: "freemail.example",
        indent: "\t",
        eol: "\n",
        is_wordy: true,
        is_zip: false,
    },
];

/// Writes a folder of reports, one file each. Those of different seeds are different reports.
pub(crate) fn reports(wanted: &Wanted, path: PathBuf) -> Result<Input> {
    let Wanted {
        seed,
        report_count,
        record_count,
        container,
    } = *wanted;
    let mut input = Input {
        path,
        report_count,
        record_count: 0,
        message_count: 0,
    };
    let mut chance = Chance(seed);
    for number in 0..report_count {
        let record_count = record_count.unwrap_or_else(|| chance.record_count());
        let mut report = Report::draw(&mut chance, seed * REPORTS_MAX + number);
        let mut xml = Vec::new();
        report.write(&mut chance, record_count, &mut xml)?;
        let (name, content) = match container {
            Container::Gz => (format!("{number:05}.xml.gz"), gzip(&xml)?),
            Container::Eml => (format!("{number:05}.eml"), report.mail(&xml)?.into_bytes()),
        };
        fs::write(input.path.join(name), content)?;
        input.record_count += record_count;
        input.message_count += report.message_count;
    }
    Ok(input)
}

/// A report that can be written again and again, each time as another one with the same records.
pub(crate) struct Template {
    report: Report,
    /// Everything behind the head, as a gzip member of its own.
    records: Vec<u8>,
    pub(crate) record_count: u64,
}

/// Reports as uneven as in life, to be written many times.
pub(crate) fn templates(seed: u64, report_count: u64) -> Result<Vec<Template>> {
    let mut chance = Chance(seed);
    let template = |_| {
        let record_count = chance.record_count();
        let mut report = Report::draw(&mut chance, 0);
        let mut xml = Vec::new();
        report.write_records(&mut chance, record_count, &mut xml)?;
        Ok(Template {
            records: gzip(&xml)?,
            report,
            record_count,
        })
    };
    (0..report_count).map(template).collect()
}

impl Template {
    pub(crate) fn message_count(&self) -> u64 {
        self.report.message_count
    }

    /// Writes it as the report of this number.
    pub(crate) fn write(&self, number: u64, path: PathBuf) -> Result<()> {
        let head = self.report.head(number)?;
        let mut gz = GzEncoder::new(Vec::new(), Compression::none());
        gz.write_all(head.as_bytes())?;
        let mut content = gz.finish()?;
        content.extend_from_slice(&self.records);
        Ok(fs::write(path, content)?)
    }
}

/// Writes one report of any size.
pub(crate) fn huge(seed: u64, record_count: u64, path: PathBuf) -> Result<Input> {
    let mut chance = Chance(seed);
    let mut report = Report::draw(&mut chance, 0);
    let mut gz = GzEncoder::new(BufWriter::new(File::create(&path)?), Compression::default());
    report.write(&mut chance, record_count, &mut gz)?;
    gz.finish()?.flush()?;
    Ok(Input {
        path,
        report_count: 1,
        record_count,
        message_count: report.message_count,
    })
}

/// Numbers that look random (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly a normal distribution, by Irwin and Hall.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// A number below `end`; small ones are much more frequent.
    fn skewed(&mut self, end: u64) -> u64 {
        (self.unit().powi(4) * end as f64) as u64
    }

    fn record_count(&mut self) -> u64 {
        let size = (MEDIAN_RECORDS.ln() + SPREAD * self.normal()).exp();
        size.clamp(1.0, RECORDS_MAX) as u64
    }
}

struct Report {
    reporter: &'static Reporter,
    number: u64,
    domain: String,
    domain_number: u64,
    begin: u64,
    message_count: u64,
}

impl Report {
    fn draw(chance: &mut Chance, number: u64) -> Self {
        let domain_number = chance.skewed(DOMAIN_COUNT);
        Self {
            reporter: &REPORTERS[chance.below(4) as usize],
            number,
            domain: format!("domain-{domain_number}.example"),
            domain_number,
            begin: FIRST_DAY + chance.below(DAY_COUNT) * DAY_SECONDS,
            message_count: 0,
        }
    }

    fn write(
        &mut self,
        chance: &mut Chance,
        record_count: u64,
        out: &mut dyn io::Write,
    ) -> Result<()> {
        out.write_all(self.head(self.number)?.as_bytes())?;
        self.write_records(chance, record_count, out)
    }

    fn write_records(
        &mut self,
        chance: &mut Chance,
        record_count: u64,
        out: &mut dyn io::Write,
    ) -> Result<()> {
        let mut text = String::new();
        for _ in 0..record_count {
            text.clear();
            self.record(chance, &mut text)?;
            out.write_all(text.as_bytes())?;
        }
        out.write_all(b"</feedback>\n")?;
        Ok(())
    }

    fn head(&self, number: u64) -> Result<String> {
        let Self { domain, begin, .. } = self;
        let org_name = self.reporter.org_name;
        let end = begin + DAY_SECONDS - 1;
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n");
        if self.reporter.is_wordy {
            text.push_str("  <version>1.0</version>\n");
        }
        write!(
            text,
            "  <report_metadata>\n    <org_name>{org_name}</org_name>\n    <email>dmarc@reporter.example</email>\n    \
             <report_id>{number}.{begin}</report_id>\n    <date_range>\n      <begin>{begin}</begin>\n      \
             <end>{end}</end>\n    </date_range>\n  </report_metadata>\n  <policy_published>\n    \
             <domain>{domain}</domain>\n    <adkim>r</adkim>\n    <aspf>r</aspf>\n    <p>quarantine</p>\n    \
             <sp>none</sp>\n    <pct>100</pct>\n  </policy_published>\n"
        )?;
        Ok(text)
    }

    fn record(&mut self, chance: &mut Chance, text: &mut String) -> Result<()> {
        let Reporter {
            indent,
            eol,
            is_wordy,
            ..
        } = *self.reporter;
        let mut line = |depth: usize, content: &str| {
            (0..depth).for_each(|_| text.push_str(indent));
            text.push_str(content);
            text.push_str(eol);
        };
        // A few hosts of one's own send most of the mail; the rest comes from everywhere.
        let own = chance.percent(40);
        let host = if own {
            chance.below(8)
        } else {
            1_000 + chance.skewed(20_000)
        };
        let source =
            Ipv4Addr::from_bits(0x1700_0000 + (self.domain_number << 16) as u32 + host as u32);
        let dkim = chance.percent(if own { 98 } else { 30 });
        let spf = chance.percent(if own { 95 } else { 10 });
        let disposition = if dkim || spf { "none" } else { "quarantine" };
        let count = 1 + chance.skewed(if own { 400 } else { 12 });
        self.message_count += count;
        let pass = |passes: bool| if passes { "pass" } else { "fail" };
        let domain = &self.domain;
        let signer = if dkim {
            domain.as_str()
        } else {
            "mailer.example"
        };

        line(1, "<record>");
        line(2, "<row>");
        line(3, &format!("<source_ip>{source}</source_ip>"));
        line(3, &format!("<count>{count}</count>"));
        line(3, "<policy_evaluated>");
        line(4, &format!("<disposition>{disposition}</disposition>"));
        line(4, &format!("<dkim>{}</dkim>", pass(dkim)));
        line(4, &format!("<spf>{}</spf>", pass(spf)));
        if chance.percent(5) {
            line(4, "<reason>");
            line(5, "<type>local_policy</type>");
            line(5, "<comment>arc=pass &amp; known list</comment>");
            line(4, "</reason>");
        }
        line(3, "</policy_evaluated>");
        line(2, "</row>");
        line(2, "<identifiers>");
        if is_wordy {
            line(
                3,
                &format!("<envelope_from>bounce.{domain}</envelope_from>"),
            );
        }
        line(3, &format!("<header_from>{domain}</header_from>"));
        line(2, "</identifiers>");
        line(2, "<auth_results>");
        for _ in 0..1 + chance.below(5) / 4 {
            line(3, "<dkim>");
            line(4, &format!("<domain>{signer}</domain>"));
            line(4, &format!("<selector>s{}</selector>", chance.below(20)));
            line(4, "<result>pass</result>");
            if is_wordy {
                line(4, "<human_result>2048-bit key</human_result>");
            }
            line(3, "</dkim>");
        }
        line(3, "<spf>");
        line(4, &format!("<domain>bounce.{domain}</domain>"));
        if is_wordy {
            line(4, "<scope>mfrom</scope>");
        }
        line(4, &format!("<result>{}</result>", pass(spf)));
        line(3, "</spf>");
        line(2, "</auth_results>");
        line(1, "</record>");
        Ok(())
    }

    fn mail(&self, xml: &[u8]) -> Result<String> {
        let Self {
            domain,
            number,
            begin,
            ..
        } = self;
        let end = begin + DAY_SECONDS - 1;
        let stem = format!("reporter.example!{domain}!{begin}!{end}!{number}");
        let (media_type, name, content) = if self.reporter.is_zip {
            ("application/zip", format!("{stem}.zip"), zip(&stem, xml)?)
        } else {
            ("application/gzip", format!("{stem}.xml.gz"), gzip(xml)?)
        };
        let mut mail = format!(
            "From: dmarc@reporter.example\r\nTo: reports@{domain}\r\n\
             Subject: Report Domain: {domain} Submitter: reporter.example Report-ID: {number}.{begin}\r\n\
             Date: Wed, 1 Jul 2026 04:05:06 +0000\r\nMessage-ID: <{number}@reporter.example>\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"part\"\r\n\r\n--part\r\nContent-Type: text/plain\r\n\r\n\
             This is an aggregate report.\r\n--part\r\nContent-Type: {media_type}\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        );
        for line in STANDARD.encode(content).as_bytes().chunks(76) {
            mail.push_str(&String::from_utf8_lossy(line));
            mail.push_str("\r\n");
        }
        mail.push_str("--part--\r\n");
        Ok(mail)
    }
}

fn gzip(xml: &[u8]) -> Result<Vec<u8>> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(xml)?;
    Ok(gz.finish()?)
}

fn zip(stem: &str, xml: &[u8]) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(format!("{stem}.xml"), SimpleFileOptions::default())?;
    zip.write_all(xml)?;
    Ok(zip.finish()?.into_inner())
}
