//! Answers that took long, kept for as long as nothing new comes in.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use crate::query::{Range, SourceFilter, SourceRow, blocks::Version};

/// Answers with fewer sums are as quickly made anew.
pub(crate) const SUMS_MIN: i64 = 5_000;

/// Rows of an answer that is kept.
pub(crate) const KEPT_ROWS_MAX: i64 = 1_001;

/// Large answers are made so many at a time: each takes some 40 MiB.
const LARGE_AT_ONCE: usize = 1;

/// Numbers and rows that are kept at most, some megabytes each.
const COUNTS_MAX: usize = 50_000;
const ROWS_MAX: usize = 20_000;

/// Which list of sources: the domain, the days, the filter and the length.
type SourcesQuestion = (i64, Range, SourceFilter, i64);

/// What is known of large domains.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) source_counts: Cache<(i64, Range), i64>,
    pub(crate) sources: Cache<SourcesQuestion, Vec<SourceRow>>,
    pub(crate) large: Semaphore,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            source_counts: Cache::new(COUNTS_MAX),
            sources: Cache::new(ROWS_MAX),
            large: Semaphore::new(LARGE_AT_ONCE),
        }
    }
}

/// Answers with the version of the rollup that they were made from, or an older one.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    weight_max: usize,
    kept: Mutex<Kept<K, V>>,
}

#[derive(Debug)]
struct Kept<K, V> {
    weight: usize,
    answers: HashMap<K, (Version, V)>,
}

/// How much of a cache an answer takes.
pub(crate) trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for i64 {
    fn weight(&self) -> usize {
        1
    }
}

impl Weight for Vec<SourceRow> {
    fn weight(&self) -> usize {
        self.len() + 1
    }
}

impl<K: Eq + Hash, V: Clone + Weight> Cache<K, V> {
    fn new(weight_max: usize) -> Self {
        Self {
            weight_max,
            kept: Mutex::new(Kept {
                weight: 0,
                answers: HashMap::new(),
            }),
        }
    }

    /// The answer, unless the rollup has changed since.
    pub(crate) fn get(&self, question: &K, version: Version) -> Option<V> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = kept.answers.get(question)?;
        (*at == version).then(|| answer.clone())
    }

    /// Keeps an answer. When there are too many, all are forgotten: what is asked again is soon back.
    pub(crate) fn put(&self, question: K, version: Version, answer: V) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let weight = answer.weight();
        if kept.weight + weight > self.weight_max {
            kept.answers.clear();
            kept.weight = 0;
        }
        kept.weight += weight;
        if let Some((_, before)) = kept.answers.insert(question, (version, answer)) {
            kept.weight -= before.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_until_something_new_comes_in() {
        let cache = Cache::new(10);
        cache.put("a", (1, 10), 5);
        assert_eq!(cache.get(&"a", (1, 10)), Some(5));
        assert_eq!(cache.get(&"a", (2, 10)), None);
        cache.put("a", (2, 10), 6);
        assert_eq!(cache.get(&"a", (2, 10)), Some(6));
        assert_eq!(cache.get(&"b", (2, 10)), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::new(10);
        for question in 0..100 {
            cache.put(question, (1, 1), 1);
            assert!(cache.kept.lock().unwrap().answers.len() <= 10);
        }
        assert_eq!(cache.get(&99, (1, 1)), Some(1));
    }
}
