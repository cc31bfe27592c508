//! The dashboard of one domain.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::{Value, json};

use super::{Figures, Rows, common, number, one, rate, text};

/// Rows of the panel of failing sources.
const FAILING_MAX: usize = 20;

impl Figures {
    /// What a panel must show when this domain is chosen.
    pub(in super::super) fn of_domain(&self, title: &str, domain: &str) -> Option<Rows> {
        let domains = [domain.to_owned()];
        if let Some(rows) = common(title, &self.days(&domains)) {
            return Some(rows);
        }
        Some(match title {
            "Sources" => Rows::of(self.sources[domain].iter().map(source_row)),
            "Different sources" => one(json!(self.sources[domain].len())),
            "Policy" => one(self.domains[domain]["policy_published"]["p"].clone()),
            "Failing sources" => self.failing_sources(domain),
            "From domains" => self.header_froms(domain),
            "Reporters" => self.reporters(&domains),
            "Policy history" => self.policies(&domains),
            _ => return None,
        })
    }

    fn failing_sources(&self, domain: &str) -> Rows {
        let sources = self.sources[domain].iter();
        let mut failing: Vec<&Value> = sources
            .filter(|source| number(source, "/dmarc_fail_count") > 0)
            .collect();
        failing.sort_by_key(|source| {
            let ip: IpAddr = text(source, "source_ip").parse().unwrap();
            (Reverse(number(source, "/dmarc_fail_count")), ip)
        });
        Rows::of(failing.into_iter().take(FAILING_MAX).map(|source| {
            let refused =
                number(source, "/disposition/quarantine") + number(source, "/disposition/reject");
            [
                source["source_ip"].clone(),
                source["dmarc_fail_count"].clone(),
                source["message_count"].clone(),
                json!(refused),
            ]
        }))
    }

    fn header_froms(&self, domain: &str) -> Rows {
        let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for (_, record) in self.records.iter().filter(|(of, _)| of == domain) {
            groups
                .entry(text(record, "header_from"))
                .or_default()
                .push(record);
        }
        Rows::of(groups.into_iter().map(|(header_from, records)| {
            let messages = records
                .iter()
                .map(|record| number(record, "/message_count"))
                .sum();
            let passes =
                |record: &&&Value| record["dkim_aligned"] == true || record["spf_aligned"] == true;
            let passed = records.iter().filter(passes);
            let passed = passed.map(|record| number(record, "/message_count")).sum();
            let sources: BTreeSet<String> = records
                .iter()
                .map(|record| text(record, "source_ip"))
                .collect();
            [
                json!(header_from),
                json!(messages),
                rate(passed, messages),
                json!(sources.len()),
            ]
        }))
    }

    fn policies(&self, domains: &[String]) -> Rows {
        let mut policies: BTreeMap<String, (Vec<Value>, Vec<String>)> = BTreeMap::new();
        for report in self.reports_of(domains) {
            let policy = &report["policy_published"];
            let columns = ["p", "sp", "np", "adkim", "aspf", "pct"].map(|tag| policy[tag].clone());
            let (_, days) = policies
                .entry(json!(columns).to_string())
                .or_insert_with(|| (columns.to_vec(), Vec::new()));
            days.push(text(report, "day"));
        }
        Rows::of(policies.into_values().map(|(mut columns, days)| {
            columns.extend([
                json!(days.iter().min()),
                json!(days.iter().max()),
                json!(days.len()),
            ]);
            columns
        }))
    }
}

fn source_row(source: &Value) -> [Value; 10] {
    let messages = number(source, "/message_count");
    [
        source["source_ip"].clone(),
        json!(messages),
        rate(number(source, "/dmarc_pass_count"), messages),
        source["dkim_aligned_count"].clone(),
        source["spf_aligned_count"].clone(),
        source["disposition"]["quarantine"].clone(),
        source["disposition"]["reject"].clone(),
        source["report_count"].clone(),
        source["first_day"].clone(),
        source["last_day"].clone(),
    ]
}
