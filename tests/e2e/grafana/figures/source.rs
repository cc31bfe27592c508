//! The dashboard of one source.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ALL_DAYS, Figures, Rows, by_day, common, number, one, rate, sum};
use crate::harness::Service;

/// What the API says of one source.
pub(in super::super) struct Source {
    summary: Value,
    items: Vec<Value>,
}

impl Source {
    pub(in super::super) async fn fetch(service: &Service, source_ip: &str) -> Self {
        let path = format!("/api/v1/sources/{source_ip}?limit=1000&{ALL_DAYS}");
        Self {
            summary: service.get(&path).await,
            items: service.list(&path).await,
        }
    }

    /// What a panel must show.
    pub(in super::super) fn of(&self, title: &str, figures: &Figures) -> Option<Rows> {
        let days = by_day(self.summary["series"].as_array().unwrap().iter());
        if let Some(rows) = common(title, &days) {
            return Some(rows);
        }
        let items: Vec<&Value> = self.items.iter().collect();
        Some(match title {
            "Domains" => one(json!(items.len())),
            "Reports" => one(json!(sum(&items, "/report_count"))),
            "Domains it sends for" => Rows::of(items.into_iter().map(domain_row)),
            "Results" => self.results(figures),
            _ => return None,
        })
    }

    fn results(&self, figures: &Figures) -> Rows {
        let mut results: BTreeMap<[String; 4], u64> = BTreeMap::new();
        let of_source = |record: &&Value| record["source_ip"] == self.summary["source_ip"];
        for record in figures
            .records
            .iter()
            .map(|(_, record)| record)
            .filter(of_source)
        {
            let word = |key: &str| record[key].as_str().unwrap_or("not reported").to_owned();
            let key = [
                word("header_from"),
                alignment(&record["dkim_aligned"]).into(),
                alignment(&record["spf_aligned"]).into(),
                word("disposition"),
            ];
            *results.entry(key).or_default() += number(record, "/message_count");
        }
        Rows::of(results.into_iter().map(|(key, messages)| {
            key.into_iter()
                .map(Value::from)
                .chain([json!(messages)])
                .collect::<Vec<_>>()
        }))
    }
}

fn alignment(aligned: &Value) -> &'static str {
    match aligned.as_bool() {
        Some(true) => "aligned",
        Some(false) => "not aligned",
        None => "not reported",
    }
}

fn domain_row(item: &Value) -> [Value; 8] {
    let messages = number(item, "/message_count");
    [
        item["domain"].clone(),
        json!(messages),
        rate(number(item, "/dmarc_pass_count"), messages),
        item["dkim_aligned_count"].clone(),
        item["spf_aligned_count"].clone(),
        item["report_count"].clone(),
        item["first_day"].clone(),
        item["last_day"].clone(),
    ]
}
