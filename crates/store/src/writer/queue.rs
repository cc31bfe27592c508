//! What waits for the writers, in order.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{Error, Pending, Submission, delivery::OutcomeRow, report_uid, twins::twins_uid};

/// One transaction takes at most so many deliveries, and no more once they take so much memory.
const GROUP_JOBS_MAX: usize = 400;
const GROUP_KIB_MAX: usize = 8 * 1024;

/// While others write, a writer begins when so many deliveries wait for each of them, or so much: a transaction costs much
/// more than a delivery in it.
const WORTHWHILE_JOBS: usize = 16;
const WORTHWHILE_KIB: usize = 1024;

/// Or when some have waited so long: what others write may take its time.
const LINGER: Duration = Duration::from_millis(10);

/// A delivery that waits to be stored.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) submission: Submission,
    /// What it takes in memory.
    pub(super) kib: usize,
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
    /// Groups that are being written.
    group_count: usize,
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
        let mut linger = std::pin::pin!(sleep(LINGER));
        let mut is_lingering = false;
        loop {
            // Registered before looking, so that nothing pushed in between is slept through.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let waits = {
                let mut state = self.lock();
                if state.is_worthwhile() || (is_lingering && linger.is_elapsed()) {
                    let jobs = state.take();
                    if !jobs.is_empty() {
                        return Some(self.claim(&mut state, jobs));
                    }
                }
                if state.closed && state.waiting.is_empty() {
                    return None;
                }
                !state.waiting.is_empty()
            };
            if waits && !is_lingering {
                linger.as_mut().reset(Instant::now() + LINGER);
            }
            is_lingering = waits;
            tokio::select! {
                () = changed => {}
                () = linger.as_mut(), if is_lingering && !linger.is_elapsed() => {}
            }
        }
    }

    fn claim(self: &Arc<Self>, state: &mut State, jobs: Vec<Job>) -> Group {
        let uids: Vec<Uuid> = jobs.iter().flat_map(|job| uids(&job.submission)).collect();
        state.in_hand.extend(uids.iter().copied());
        state.group_count += 1;
        let claim = Claim {
            queue: Arc::clone(self),
            uids,
        };
        Group { jobs, claim }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether to begin a group beside those that are being written.
    fn is_worthwhile(&self) -> bool {
        if self.group_count == 0 || self.waiting.len() >= self.group_count * WORTHWHILE_JOBS {
            return true;
        }
        let waiting_kib: usize = self.waiting.iter().map(|job| job.kib).sum();
        waiting_kib >= self.group_count * WORTHWHILE_KIB
    }

    fn take(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut kib = 0;
        while let Some(job) = self.waiting.front() {
            let full = jobs.len() >= GROUP_JOBS_MAX || kib >= GROUP_KIB_MAX;
            if full || uids(&job.submission).any(|uid| self.in_hand.contains(&uid)) {
                break;
            }
            kib += job.kib;
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
        state.group_count -= 1;
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
