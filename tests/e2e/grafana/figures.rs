//! What panels must show, made from answers of the API.

mod domain;
mod operations;
mod overview;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::reader::Rows;
use crate::harness::Service;

pub(super) use source::Source;

/// The range of the API that has everything in it.
const ALL_DAYS: &str = "from=2020-01-01&to=2026-12-31";

/// Everything that the API says.
pub(super) struct Figures {
    domains: BTreeMap<String, Value>,
    summaries: BTreeMap<String, Value>,
    sources: BTreeMap<String, Vec<Value>>,
    reports: Vec<Value>,
    /// Each with the domain of its report.
    records: Vec<(String, Value)>,
    deliveries: Vec<Value>,
    mailboxes: Vec<Value>,
}

impl Figures {
    pub(super) async fn fetch(service: &Service) -> Self {
        let list = async |path: &str| service.list(&format!("/api/v1/{path}")).await;
        let mut figures = Self {
            domains: BTreeMap::new(),
            summaries: BTreeMap::new(),
            sources: BTreeMap::new(),
            reports: list(&format!("reports?limit=1000&{ALL_DAYS}")).await,
            records: Vec::new(),
            deliveries: list("deliveries?limit=1000").await,
            mailboxes: list("mailboxes").await,
        };
        for item in list(&format!("domains?limit=1000&{ALL_DAYS}")).await {
            let domain = text(&item, "domain");
            let path = format!("/api/v1/domains/{domain}");
            let summary = service.get(&format!("{path}/summary?{ALL_DAYS}")).await;
            let sources = service
                .list(&format!("{path}/sources?limit=1000&{ALL_DAYS}"))
                .await;
            figures.summaries.insert(domain.clone(), summary);
            figures.sources.insert(domain.clone(), sources);
            figures.domains.insert(domain, item);
        }
        for report in &figures.reports {
            let path = format!("reports/{}/records?limit=1000", text(report, "report_uid"));
            let domain = text(report, "domain");
            let records = list(&path).await.into_iter();
            figures
                .records
                .extend(records.map(|record| (domain.clone(), record)));
        }
        figures
    }

    /// All policy domains, by name.
    pub(super) fn domains(&self) -> Vec<String> {
        self.domains.keys().cloned().collect()
    }

    /// All sources.
    pub(super) fn source_ips(&self) -> BTreeSet<String> {
        let sources = self.sources.values().flatten();
        sources.map(|source| text(source, "source_ip")).collect()
    }

    fn reports_of<'a>(&'a self, domains: &'a [String]) -> impl Iterator<Item = &'a Value> {
        self.reports
            .iter()
            .filter(|report| domains.contains(&text(report, "domain")))
    }

    /// Reports by reporter: their number, messages, pass rate and latest end.
    fn reporters(&self, domains: &[String]) -> Rows {
        let mut reporters: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for report in self.reports_of(domains) {
            reporters
                .entry(text(report, "org_name"))
                .or_default()
                .push(report);
        }
        Rows::of(reporters.into_iter().map(|(org_name, reports)| {
            let last = reports.iter().map(|report| text(report, "end_at")).max();
            let messages = sum(&reports, "/message_count");
            let passed = sum(&reports, "/dmarc_pass_count");
            [
                json!(org_name),
                json!(reports.len()),
                json!(messages),
                rate(passed, messages),
                json!(last),
            ]
        }))
    }

    /// The daily series of some domains, each day's totals together.
    fn days(&self, domains: &[String]) -> BTreeMap<String, Vec<&Value>> {
        let summaries = domains.iter().map(|domain| &self.summaries[domain]);
        by_day(summaries.flat_map(|summary| summary["series"].as_array().unwrap()))
    }
}

fn by_day<'a>(series: impl Iterator<Item = &'a Value>) -> BTreeMap<String, Vec<&'a Value>> {
    let mut days: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for day in series {
        days.entry(text(day, "day")).or_default().push(day);
    }
    days
}

/// A panel over time with these sums, for each day.
fn series(days: &BTreeMap<String, Vec<&Value>>, sums: &[&str]) -> Rows {
    Rows::of(days.iter().map(|(day, totals)| {
        let sums = sums.iter().map(|pointer| json!(sum(totals, pointer)));
        std::iter::once(json!(format!("{day}T00:00:00Z")))
            .chain(sums)
            .collect::<Vec<_>>()
    }))
}

/// Panels that several dashboards have, for totals of these days.
fn common(title: &str, days: &BTreeMap<String, Vec<&Value>>) -> Option<Rows> {
    let all: Vec<&Value> = days.values().flatten().copied().collect();
    let messages = sum(&all, "/message_count");
    Some(match title {
        "Messages" => one(json!(messages)),
        "DMARC pass rate" => one(rate(sum(&all, "/dmarc_pass_count"), messages)),
        "Failing messages" => one(json!(sum(&all, "/dmarc_fail_count"))),
        "Quarantined or rejected" => one(json!(
            sum(&all, "/disposition/quarantine") + sum(&all, "/disposition/reject")
        )),
        "Messages by DMARC result" => series(days, &["/dmarc_pass_count", "/dmarc_fail_count"]),
        "What receivers did" => series(days, &DISPOSITIONS),
        "Pass rates" => Rows::of(days.iter().map(|(day, totals)| {
            let messages = sum(totals, "/message_count");
            let part = |pointer| rate(sum(totals, pointer), messages);
            [
                json!(format!("{day}T00:00:00Z")),
                part("/dmarc_pass_count"),
                part("/dkim_aligned_count"),
                part("/spf_aligned_count"),
            ]
        })),
        _ => return None,
    })
}

const DISPOSITIONS: [&str; 5] = [
    "/disposition/none",
    "/disposition/pass",
    "/disposition/quarantine",
    "/disposition/reject",
    "/disposition/unknown",
];

fn one(value: Value) -> Rows {
    Rows::of([[value]])
}

fn text(item: &Value, key: &str) -> String {
    item[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {item}"))
        .into()
}

fn number(item: &Value, pointer: &str) -> u64 {
    let value = item.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {pointer} in {item}"))
}

fn sum(items: &[&Value], pointer: &str) -> u64 {
    items.iter().map(|item| number(item, pointer)).sum()
}

fn rate(part: u64, whole: u64) -> Value {
    match whole {
        0 => Value::Null,
        whole => json!(part as f64 / whole as f64),
    }
}
