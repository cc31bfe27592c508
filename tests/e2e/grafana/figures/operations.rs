//! The dashboard of deliveries and mailboxes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Figures, Rows, number, one, text};

impl Figures {
    /// What a panel must show.
    pub(in super::super) fn of_operations(&self, title: &str) -> Option<Rows> {
        let with_outcome = |outcome: &str| {
            let documents = self
                .documents()
                .filter(|(_, document)| document["outcome"] == outcome);
            documents.count()
        };
        Some(match title {
            "Deliveries" => one(json!(self.deliveries.len())),
            "Reports stored" => one(json!(with_outcome("stored"))),
            "Duplicates" => one(json!(with_outcome("duplicate"))),
            "Conflicts" => one(json!(with_outcome("conflict"))),
            "Rejected" => one(json!(with_outcome("rejected"))),
            "Records skipped" => {
                let stored = self
                    .documents()
                    .filter(|(_, document)| document["outcome"] == "stored");
                one(json!(
                    stored
                        .map(|(_, document)| number(document, "/skipped_count"))
                        .sum::<u64>()
                ))
            }
            "Documents by outcome" => self.outcomes_by_day(),
            "Ways in" => self.ways_in(),
            "Mailboxes" => Rows::of(self.mailboxes.iter().map(mailbox_row)),
            "Reasons" => self.reasons(),
            "How late reports come" => self.delays(),
            "Not stored" => self.not_stored(),
            _ => return None,
        })
    }

    /// Every document with its delivery.
    fn documents(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.deliveries.iter().flat_map(|delivery| {
            let documents = delivery["documents"].as_array().unwrap();
            assert!(!documents.is_empty(), "{delivery}");
            documents.iter().map(move |document| (delivery, document))
        })
    }

    fn outcomes_by_day(&self) -> Rows {
        const OUTCOMES: [&str; 5] = [
            "stored",
            "duplicate",
            "conflict",
            "rejected",
            "not_aggregate",
        ];
        let mut days: BTreeMap<i64, [u64; 5]> = BTreeMap::new();
        for (delivery, document) in self.documents() {
            let second = time(delivery, "received_at").unix_timestamp();
            let place = OUTCOMES
                .iter()
                .position(|outcome| document["outcome"] == *outcome);
            days.entry(second / 86_400 * 86_400).or_default()[place.unwrap()] += 1;
        }
        Rows::of(days.into_iter().map(|(second, counts)| {
            std::iter::once(json!(second))
                .chain(counts.map(Value::from))
                .collect::<Vec<_>>()
        }))
    }

    fn ways_in(&self) -> Rows {
        let mut origins: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for delivery in &self.deliveries {
            origins
                .entry(text(delivery, "origin"))
                .or_default()
                .push(delivery);
        }
        Rows::of(origins.into_iter().map(|(origin, deliveries)| {
            let with = |outcome: &str| {
                let documents = deliveries
                    .iter()
                    .flat_map(|delivery| delivery["documents"].as_array().unwrap());
                documents
                    .filter(|document| document["outcome"] == outcome)
                    .count()
            };
            let last = deliveries
                .iter()
                .max_by_key(|delivery| time(delivery, "received_at"));
            let last = last.map(|delivery| text(delivery, "received_at"));
            [
                json!(origin),
                json!(deliveries.len()),
                json!(with("stored")),
                json!(with("rejected")),
                json!(last),
            ]
        }))
    }

    fn reasons(&self) -> Rows {
        let mut reasons: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
        for (delivery, document) in self
            .documents()
            .filter(|(_, document)| document["code"].is_string())
        {
            let reason = (text(document, "outcome"), text(document, "code"));
            reasons.entry(reason).or_default().push(delivery);
        }
        Rows::of(
            reasons
                .into_iter()
                .map(|((outcome, code), mut deliveries)| {
                    deliveries.sort_by_key(|delivery| time(delivery, "received_at"));
                    let received =
                        |delivery: Option<&&Value>| delivery.unwrap()["received_at"].clone();
                    [
                        json!(outcome),
                        json!(code),
                        json!(deliveries.len()),
                        received(deliveries.first()),
                        received(deliveries.last()),
                    ]
                }),
        )
    }

    fn delays(&self) -> Rows {
        let mut delays: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for report in &self.reports {
            let delay = time(report, "received_at") - time(report, "end_at");
            delays
                .entry(text(report, "org_name"))
                .or_default()
                .push(delay.as_seconds_f64() / 3600.0);
        }
        let rounded = |hours: f64| json!((hours * 10.0).round() / 10.0);
        Rows::of(delays.into_iter().map(|(org_name, mut hours)| {
            hours.sort_by(f64::total_cmp);
            let middle = (hours[(hours.len() - 1) / 2] + hours[hours.len() / 2]) / 2.0;
            [
                json!(org_name),
                json!(hours.len()),
                rounded(middle),
                rounded(hours[hours.len() - 1]),
            ]
        }))
    }

    fn not_stored(&self) -> Rows {
        let lost = self.documents().filter(|(_, document)| {
            document["outcome"] == "rejected" || document["outcome"] == "conflict"
        });
        Rows::of(lost.map(|(delivery, document)| {
            let of_delivery = ["received_at", "origin", "name"].map(|key| delivery[key].clone());
            let keys = [
                "outcome",
                "code",
                "detail",
                "element",
                "offset_bytes",
                "domain",
                "org_name",
            ];
            let of_document = keys.map(|key| document[key].clone());
            let id = [delivery["delivery_id"].clone()];
            of_delivery
                .into_iter()
                .chain(of_document)
                .chain(id)
                .collect::<Vec<_>>()
        }))
    }
}

fn mailbox_row(mailbox: &Value) -> [Value; 8] {
    [
        mailbox["name"].clone(),
        mailbox["state"].clone(),
        mailbox["state_at"].clone(),
        mailbox["backlog"].clone(),
        mailbox["last_poll_at"].clone(),
        mailbox["last_delivery_at"].clone(),
        mailbox["last_error"]["detail"].clone(),
        mailbox["last_error"]["at"].clone(),
    ]
}

fn time(item: &Value, key: &str) -> OffsetDateTime {
    OffsetDateTime::parse(&text(item, key), &Rfc3339).unwrap()
}
