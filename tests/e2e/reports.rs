//! Reports that tests make up, and what must become of them.

mod containers;
mod generator;
mod random;
mod truth;

use std::{fmt::Write as _, net::IpAddr};

use time::{Date, OffsetDateTime};

pub(crate) use containers::{Container, gzip, mail, mail_with, zip};
pub(crate) use generator::{Generated, Options, generate};
pub(crate) use random::Random;
pub(crate) use truth::{Source, Totals, Truth};

/// 2024-03-01, the first day of most made-up reports.
pub(crate) const FIRST_SECOND: i64 = 1_709_251_200;
pub(crate) const DAY: i64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Rfc7489,
    Rfc9990,
}

/// One aggregate report.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) schema: Schema,
    pub(crate) org_name: String,
    pub(crate) report_id: String,
    pub(crate) domain: String,
    pub(crate) begin: i64,
    pub(crate) end: i64,
    pub(crate) records: Vec<Record>,
}

/// One `<record>`.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// As written; `source_ip` is what it means.
    pub(crate) spelled: String,
    pub(crate) source_ip: IpAddr,
    pub(crate) count: u64,
    pub(crate) disposition: Option<&'static str>,
    pub(crate) dkim: bool,
    pub(crate) spf: bool,
    pub(crate) header_from: String,
}

impl Report {
    /// A report of one day, without records.
    pub(crate) fn new(domain: &str, report_id: &str) -> Self {
        Self {
            schema: Schema::Rfc7489,
            org_name: "reporter.example".into(),
            report_id: report_id.into(),
            domain: domain.into(),
            begin: FIRST_SECOND,
            end: FIRST_SECOND + DAY - 1,
            records: Vec::new(),
        }
    }

    pub(crate) fn period(mut self, begin: i64, end: i64) -> Self {
        (self.begin, self.end) = (begin, end);
        self
    }

    /// With one more record: messages that pass.
    pub(crate) fn passing(mut self, source_ip: &str, count: u64) -> Self {
        self.records
            .push(Record::new(source_ip, count, &self.domain));
        self
    }

    /// With one more record: messages that fail and were rejected.
    pub(crate) fn failing(mut self, source_ip: &str, count: u64) -> Self {
        self.records.push(Record {
            disposition: Some("reject"),
            dkim: false,
            spf: false,
            ..Record::new(source_ip, count, &self.domain)
        });
        self
    }

    /// The UTC day that contains the middle of the period.
    pub(crate) fn day(&self) -> Date {
        day_of(self.begin + (self.end - self.begin).div_euclid(2))
    }

    pub(crate) fn message_count(&self) -> u64 {
        self.records.iter().map(|record| record.count).sum()
    }

    pub(crate) fn pass_count(&self) -> u64 {
        self.records
            .iter()
            .filter(|record| record.dkim || record.spf)
            .map(|record| record.count)
            .sum()
    }

    pub(crate) fn xml(&self) -> Vec<u8> {
        let namespace = match self.schema {
            Schema::Rfc7489 => "",
            Schema::Rfc9990 => " xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"",
        };
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback{namespace}>\n{}",
            self.header()
        );
        for record in &self.records {
            record.write(&mut xml);
        }
        xml.push_str("</feedback>\n");
        xml.into_bytes()
    }

    fn header(&self) -> String {
        let Self {
            domain, begin, end, ..
        } = self;
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let (org_name, report_id) = (escaped(&self.org_name), escaped(&self.report_id));
        let tags = match self.schema {
            Schema::Rfc7489 => "<p>quarantine</p><sp>none</sp><pct>100</pct>",
            Schema::Rfc9990 => {
                "<discovery_method>treewalk</discovery_method><p>reject</p><np>reject</np><testing>n</testing>"
            }
        };
        format!(
            "<version>1.0</version>\n<report_metadata><org_name>{org_name}</org_name><email>dmarc@reporter.example</email>\
             <report_id>{report_id}</report_id><date_range><begin>{begin}</begin><end>{end}</end></date_range></report_metadata>\n\
             <policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>r</aspf>{tags}</policy_published>\n"
        )
    }
}

impl Record {
    pub(crate) fn new(source_ip: &str, count: u64, header_from: &str) -> Self {
        Self {
            spelled: source_ip.into(),
            source_ip: source_ip.parse().unwrap(),
            count,
            disposition: Some("none"),
            dkim: true,
            spf: true,
            header_from: header_from.into(),
        }
    }

    pub(crate) fn write(&self, xml: &mut String) {
        let Self {
            spelled,
            count,
            header_from,
            ..
        } = self;
        let word = |passed| if passed { "pass" } else { "fail" };
        let (dkim, spf) = (word(self.dkim), word(self.spf));
        let disposition = self.disposition.map_or(String::new(), |word| {
            format!("<disposition>{word}</disposition>")
        });
        // The raw results are always the opposite: whoever counts them as aligned is found out.
        let (raw_dkim, raw_spf) = (word(!self.dkim), word(!self.spf));
        writeln!(
            xml,
            "<record><row><source_ip>{spelled}</source_ip><count>{count}</count>\
             <policy_evaluated>{disposition}<dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>\
             <identifiers><header_from>{header_from}</header_from></identifiers>\
             <auth_results><dkim><domain>{header_from}</domain><selector>s1</selector><result>{raw_dkim}</result></dkim>\
             <spf><domain>{header_from}</domain><result>{raw_spf}</result></spf></auth_results></record>"
        )
        .unwrap();
    }
}

pub(crate) fn day_of(second: i64) -> Date {
    OffsetDateTime::from_unix_timestamp(second).unwrap().date()
}
