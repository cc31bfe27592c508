//! The dashboard of all domains.

use serde_json::{Value, json};

use super::{Figures, Rows, common, number, one, rate};

impl Figures {
    /// What a panel must show when these domains are chosen.
    pub(in super::super) fn of_overview(&self, title: &str, domains: &[String]) -> Option<Rows> {
        let days = self.days(domains);
        if let Some(rows) = common(title, &days) {
            return Some(rows);
        }
        let items = domains.iter().map(|domain| &self.domains[domain]);
        let mut with_messages = items.filter(|item| number(item, "/message_count") > 0);
        Some(match title {
            "Domains with mail" => one(json!(with_messages.count())),
            "Reports" => one(json!(self.reports_of(domains).count())),
            "Reporters" => self.reporters(domains),
            "Domains" => Rows::of(with_messages.by_ref().map(domain_row)),
            _ => return None,
        })
    }
}

fn domain_row(item: &Value) -> [Value; 9] {
    let messages = number(item, "/message_count");
    [
        item["domain"].clone(),
        json!(messages),
        rate(number(item, "/dmarc_pass_count"), messages),
        item["dmarc_fail_count"].clone(),
        item["disposition"]["quarantine"].clone(),
        item["disposition"]["reject"].clone(),
        item["policy_published"]["p"].clone(),
        item["policy_published"]["sp"].clone(),
        item["last_report"]["end_at"].clone(),
    ]
}
