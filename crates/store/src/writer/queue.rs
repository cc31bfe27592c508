//! What waits for the writers, in order.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::{Error, Pending, Submission, delivery::OutcomeRow, report_uid, twins::twins_uid};

/// One transaction takes at most so many deliveries, and no more once it has so many records.
const GROUP_JOBS_MAX: usize = 400;
const GROUP_RECORDS_MAX: usize = 10_000;

/// A delivery that waits to be stored.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) submission: Submission,
    pub(super) reply: oneshot::Sender<Result<Vec<OutcomeRow>, Error>>,
}

/// Deliveries to be stored in one transaction.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) jobs: Vec<Job>,
    /// Keeps the same reports from being written by another writer at the same time.
    pub(super) claim: Claim,
}

/// First in, first out, for several writers.
///
/// The order of reports with the same identity is kept: a delivery with a report that another writer has in hand waits,
/// and those behind it with it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    in_hand: HashSet<Uuid>,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, job: Job) -> Result<(), Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// The next deliveries to write, or `None` once the queue is closed and empty.
    pub(super) async fn next_group(self: &Arc<Self>) -> Option<Group> {
        loop {
            // Registered before looking, so that nothing pushed in between is slept through.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                let jobs = state.take();
                if !jobs.is_empty() {
                    let uids: Vec<Uuid> =
                        jobs.iter().flat_map(|job| uids(&job.submission)).collect();
                    state.in_hand.extend(uids.iter().copied());
                    let claim = Claim {
                        queue: Arc::clone(self),
                        uids,
                    };
                    return Some(Group { jobs, claim });
                }
                if state.closed && state.waiting.is_empty() {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut records = 0;
        while let Some(job) = self.waiting.front() {
            let full = jobs.len() >= GROUP_JOBS_MAX || records >= GROUP_RECORDS_MAX;
            if full || uids(&job.submission).any(|uid| self.in_hand.contains(&uid)) {
                break;
            }
            records += record_count(&job.submission);
            jobs.extend(self.waiting.pop_front());
        }
        jobs
    }
}

/// The reports a writer has in hand; given back when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    queue: Arc<Queue>,
    uids: Vec<Uuid>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        for uid in &self.uids {
            state.in_hand.remove(uid);
        }
        drop(state);
        self.queue.changed.notify_waiters();
    }
}

/// What two writers must not have in hand at a time: a report, and another form of it (see `twins`).
fn uids(submission: &Submission) -> impl Iterator<Item = Uuid> + '_ {
    submission
        .documents
        .iter()
        .filter_map(|document| match document {
            Pending::Report { summary, .. } => {
                Some([report_uid(&summary.header), twins_uid(&summary.header)])
            }
            Pending::Settled(_) => None,
        })
        .flatten()
}

/// Records of a delivery that are to be written.
pub(super) fn record_count(submission: &Submission) -> usize {
    submission.documents.iter().map(Pending::record_count).sum()
}
