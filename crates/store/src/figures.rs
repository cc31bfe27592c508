//! What the store tells of itself: how long commits take, what waits, and what became of documents.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{NOT_STORABLE, Outcome, OutcomeRow};

/// Reasons for a rejection that are none of the parser's.
const OTHER_REJECTIONS: [&str; 4] = [
    NOT_STORABLE,
    "domain_not_allowed",
    "internal",
    "not_authentic",
];

/// What a document may be instead of an aggregate report.
const NO_AGGREGATES: [&str; 3] = ["failure_report", "no_report", "tls_report"];

/// Upper ends of the classes of a [`Histogram`], in seconds; the last class has none.
pub const DURATION_CLASSES: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; DURATION_CLASSES.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one more.
    pub fn add(&self, duration: Duration) {
        let secs = duration.as_secs_f64();
        let class = DURATION_CLASSES.iter().position(|&end| secs <= end);
        let class = class.unwrap_or(DURATION_CLASSES.len());
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many there are in each class.
    pub fn counts(&self) -> [u64; DURATION_CLASSES.len() + 1] {
        std::array::from_fn(|class| self.counts[class].load(Ordering::Relaxed))
    }

    /// What all of them took together.
    pub fn sum_secs(&self) -> f64 {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// What was counted since the start.
#[derive(Debug)]
pub struct Figures {
    /// Group commits, from the beginning of their transaction.
    pub commits: Histogram,
    documents: Mutex<BTreeMap<(&'static str, String), u64>>,
}

impl Default for Figures {
    /// Whatever may be counted is there from the beginning: Prometheus does not see a counter rise that begins at 1, and a rule
    /// about nothing being stored needs one that stays at 0.
    fn default() -> Self {
        let rejections = report::Code::FINAL.map(report::Code::as_str).into_iter();
        let rejections = rejections.chain(OTHER_REJECTIONS);
        let rejections = rejections.map(|code| (Outcome::Rejected, code));
        let no_aggregates = NO_AGGREGATES.map(|code| (Outcome::NotAggregate, code));
        let without_code = [Outcome::Stored, Outcome::Duplicate, Outcome::Conflict];
        let all = rejections
            .chain(no_aggregates)
            .chain(without_code.map(|outcome| (outcome, "")));
        let zeros = all.map(|(outcome, code)| ((outcome.as_str(), code.to_owned()), 0));
        Self {
            commits: Histogram::default(),
            documents: Mutex::new(zeros.collect()),
        }
    }
}

impl Figures {
    /// Counts what became of documents, once it is committed.
    pub(crate) fn count(&self, documents: &[OutcomeRow]) {
        let mut counts = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for row in documents {
            let code = match row.outcome {
                Outcome::Rejected | Outcome::NotAggregate => row.code.clone(),
                Outcome::Stored | Outcome::Duplicate | Outcome::Conflict => None,
            };
            let key = (row.outcome.as_str(), code.unwrap_or_default());
            *counts.entry(key).or_default() += 1;
        }
    }

    /// Documents by outcome and code; the code is empty where there is none.
    pub fn documents(&self) -> BTreeMap<(&'static str, String), u64> {
        let counts = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

/// How things stand right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections that answer questions.
    pub reading: Connections,
    /// Connections for everything else.
    pub writing: Connections,
    /// Deliveries that wait for a writer.
    pub waiting_deliveries: u64,
}

/// Connections to the database for one kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those in use.
    pub busy: u64,
    /// Those that wait for work.
    pub idle: u64,
    /// How many there are at most.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_counted_is_there_before_it_is() {
        let documents = Figures::default().documents();
        for (outcome, code) in [
            ("stored", ""),
            ("conflict", ""),
            ("rejected", "truncated"),
            ("rejected", "not_storable"),
            ("not_aggregate", "tls_report"),
        ] {
            let count = documents.get(&(outcome, code.to_owned()));
            assert_eq!(count, Some(&0), "{outcome} {code}");
        }
    }

    #[test]
    fn durations_fall_into_classes() {
        let histogram = Histogram::default();
        for millis in [1, 5, 6, 60_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let counts = histogram.counts();
        assert_eq!(
            (counts[0], counts[1], counts[DURATION_CLASSES.len()]),
            (2, 1, 1)
        );
        assert!((histogram.sum_secs() - 60.012).abs() < 1e-6);
    }
}
