//! What the answers must be, counted from the reports themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::AddAssign,
};

use serde::Deserialize;

use super::{Record, Report};

/// The sums that every summary has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Totals {
    pub(crate) message_count: u64,
    pub(crate) dmarc_pass_count: u64,
    pub(crate) dmarc_fail_count: u64,
    pub(crate) dkim_aligned_count: u64,
    pub(crate) spf_aligned_count: u64,
    pub(crate) disposition: Disposition,
}

/// Messages by disposition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Disposition {
    pub(crate) none: u64,
    pub(crate) pass: u64,
    pub(crate) quarantine: u64,
    pub(crate) reject: u64,
    pub(crate) unknown: u64,
}

impl Totals {
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut totals = Self::default();
        for record in records {
            totals += record;
        }
        totals
    }
}

impl AddAssign<&Record> for Totals {
    fn add_assign(&mut self, record: &Record) {
        let count = record.count;
        let pass = record.dkim || record.spf;
        self.message_count += count;
        self.dmarc_pass_count += if pass { count } else { 0 };
        self.dmarc_fail_count += if pass { 0 } else { count };
        self.dkim_aligned_count += if record.dkim { count } else { 0 };
        self.spf_aligned_count += if record.spf { count } else { 0 };
        let disposition = match record.disposition {
            Some("none") => &mut self.disposition.none,
            Some("pass") => &mut self.disposition.pass,
            Some("quarantine") => &mut self.disposition.quarantine,
            Some("reject") => &mut self.disposition.reject,
            Some(other) => panic!("{other} is no disposition"),
            None => &mut self.disposition.unknown,
        };
        *disposition += count;
    }
}

/// A source as the API lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Source {
    pub(crate) source_ip: IpAddr,
    #[serde(flatten)]
    pub(crate) totals: Totals,
    pub(crate) report_count: u64,
    pub(crate) first_day: String,
    pub(crate) last_day: String,
}

/// Distinct reports, and the questions that they answer.
#[derive(Clone, Copy)]
pub(crate) struct Truth<'a>(pub(crate) &'a [Report]);

impl<'a> Truth<'a> {
    /// Policy domains as they are stored.
    pub(crate) fn domains(self) -> BTreeSet<String> {
        self.0
            .iter()
            .map(|report| report.domain.to_lowercase())
            .collect()
    }

    pub(crate) fn reports(self, domain: &str) -> impl Iterator<Item = &'a Report> {
        self.0
            .iter()
            .filter(move |report| report.domain.to_lowercase() == domain)
    }

    pub(crate) fn records(self, domain: &str) -> impl Iterator<Item = &'a Record> {
        self.reports(domain).flat_map(|report| &report.records)
    }

    pub(crate) fn totals(self, domain: &str) -> Totals {
        Totals::of(self.records(domain))
    }

    pub(crate) fn sources(self, domain: &str) -> BTreeMap<IpAddr, Source> {
        self.sources_where(domain, |_| true)
    }

    /// Counting only some records; `report_count` counts the reports that name a source, whatever the filter.
    pub(crate) fn sources_where(
        self,
        domain: &str,
        counts: impl Fn(&Record) -> bool,
    ) -> BTreeMap<IpAddr, Source> {
        let mut sources = BTreeMap::new();
        for report in self.reports(domain) {
            let day = report.day().to_string();
            for record in report.records.iter().filter(|record| counts(record)) {
                let source = sources.entry(record.source_ip).or_insert_with(|| Source {
                    source_ip: record.source_ip,
                    totals: Totals::default(),
                    report_count: self.naming(domain, record.source_ip),
                    first_day: day.clone(),
                    last_day: day.clone(),
                });
                source.totals += record;
                source.first_day = source.first_day.clone().min(day.clone());
                source.last_day = source.last_day.clone().max(day.clone());
            }
        }
        sources
    }

    /// Day by day.
    pub(crate) fn series(self, domain: &str) -> BTreeMap<String, Totals> {
        let mut days: BTreeMap<String, Totals> = BTreeMap::new();
        for report in self
            .reports(domain)
            .filter(|report| !report.records.is_empty())
        {
            let day = days.entry(report.day().to_string()).or_default();
            report.records.iter().for_each(|record| *day += record);
        }
        days
    }

    fn naming(self, domain: &str, source_ip: IpAddr) -> u64 {
        let names = |report: &&Report| {
            report
                .records
                .iter()
                .any(|record| record.source_ip == source_ip)
        };
        self.reports(domain).filter(names).count() as u64
    }
}
