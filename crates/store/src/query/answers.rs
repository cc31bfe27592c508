//! Answers that took long, kept for as long as nothing new comes in.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Error,
    query::{Range, SourceFilter, SourceRow, blocks::Version, text_bytes},
};

/// Answers with fewer sums are as quickly made anew.
pub(crate) const SUMS_MIN: i64 = 5_000;

/// Rows of an answer that is kept.
pub(crate) const KEPT_ROWS_MAX: i64 = 1_001;

/// Answers with as many sums or more are large: they take turns.
pub(crate) const TURN_SUMS_MIN: i64 = 50_000;

/// Large answers are made so many at a time: each takes some 40 MiB.
const LARGE_AT_ONCE: usize = 1;

/// Domains are told apart by so many remainders when it is about whose turn it is.
const QUEUES: usize = 64;

/// Bytes of a row that is kept, about.
const ROW_BYTES: usize = 200;

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
    large: Arc<Semaphore>,
    queues: [Arc<Semaphore>; QUEUES],
    cores: Arc<Semaphore>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            source_counts: Cache::new(COUNTS_MAX),
            sources: Cache::new(ROWS_MAX),
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            queues: std::array::from_fn(|_| Arc::new(Semaphore::new(LARGE_AT_ONCE))),
            cores: Arc::new(Semaphore::new(
                available_parallelism().map_or(1, usize::from),
            )),
        }
    }
}

impl Answers {
    /// Waits until it is the turn of a large answer about this domain.
    ///
    /// Domains take turns, not questions: whoever sees one domain only cannot keep others waiting for long by asking much.
    /// Whoever sees all of them can, and is trusted with more than that.
    pub(crate) async fn turn(&self, domain_id: i64) -> Result<Turn, Error> {
        let queue = &self.queues[domain_id.rem_euclid(QUEUES as i64) as usize];
        let first_of_domain = permit(queue).await?;
        let first_of_all = permit(&self.large).await?;
        Ok(Turn {
            _permits: Arc::new([first_of_domain, first_of_all]),
        })
    }

    /// Waits until one of the cores is free for work that keeps it busy.
    pub(crate) async fn core(&self) -> Result<OwnedSemaphorePermit, Error> {
        permit(&self.cores).await
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.map_err(|_| Error::Closed)
}

/// Held while a large answer is made, by all that work on it: whoever asked may be gone before they are done.
#[derive(Clone)]
pub(crate) struct Turn {
    _permits: Arc<[OwnedSemaphorePermit; 2]>,
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

/// How much of a cache a question or an answer takes, in rows.
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

/// No more than what an answer takes at least.
impl Weight for (i64, Range) {
    fn weight(&self) -> usize {
        0
    }
}

impl Weight for SourcesQuestion {
    fn weight(&self) -> usize {
        let (_, _, filter, _) = self;
        text_bytes(&filter.header_from) / ROW_BYTES
    }
}

impl<K: Eq + Hash + Weight, V: Clone + Weight> Cache<K, V> {
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
        let weight = question.weight() + answer.weight();
        if kept.weight + weight > self.weight_max {
            kept.answers.clear();
            kept.weight = 0;
        }
        kept.weight += weight;
        let question_weight = question.weight();
        if let Some((_, before)) = kept.answers.insert(question, (version, answer)) {
            kept.weight -= question_weight + before.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    impl Weight for &str {
        fn weight(&self) -> usize {
            self.len()
        }
    }

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
        for question in ["a", "b", "c", "d", "e", "f", "a", "f"] {
            cache.put(question, (1, 1), 1);
            assert!(cache.kept.lock().unwrap().answers.len() <= 5);
        }
        assert_eq!(cache.get(&"f", (1, 1)), Some(1));
    }

    #[test]
    fn long_questions_take_the_room_of_many() {
        let cache = Cache::new(10);
        cache.put("a", (1, 1), 1);
        cache.put("123456789", (1, 1), 1);
        assert_eq!(cache.get(&"a", (1, 1)), None);
        assert_eq!(cache.kept.lock().unwrap().weight, 10);
        cache.put("123456789", (2, 1), 1);
        assert_eq!(cache.kept.lock().unwrap().weight, 10);
    }

    #[tokio::test]
    async fn a_domain_has_one_place_in_the_queue() {
        let answers = Answers::default();
        let first = answers.turn(1).await.unwrap();
        let mut waiting = [1, 1, 2].map(|domain_id| Box::pin(answers.turn(domain_id)));
        for turn in &mut waiting {
            assert!(turn.now_or_never().is_none());
        }
        drop(first);
        let [second, _, other] = &mut waiting;
        let other = other.now_or_never();
        assert!(
            other.is_some(),
            "it does not wait for all of the first domain"
        );
        drop(other);
        assert!(second.now_or_never().is_some());
    }
}
