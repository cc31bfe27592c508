//! Group commit: whatever waits is stored in one transaction, and each delivery is answered after the commit.

mod group;
mod queue;

use std::{sync::Arc, time::Instant};

use sqlx::PgPool;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
};

use crate::{
    Error, Figures, Pending, Submission, delivery::OutcomeRow, domains::Domains,
    partitions::Partitions,
};

use self::{
    group::{Destination, write_group},
    queue::{Group, Job, Queue},
};

/// What waits for the writers or is being written takes so many KiB of memory at most.
const WAITING_KIB_MAX: u32 = 48 * 1024;

/// What a delivery takes besides its records, in KiB.
const DELIVERY_KIB: usize = 6;

/// Room for one delivery among those that wait for the writers or are being written.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
}

impl Room {
    fn kib(&self) -> usize {
        self.permit.num_permits()
    }
}

/// The tasks that write, and what waits for them.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    figures: Arc<Figures>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl Writer {
    pub(crate) fn start(
        pool: &PgPool,
        domains: &Arc<Domains>,
        partitions: &Arc<Partitions>,
        writers: usize,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let figures = Arc::new(Figures::default());
        let mut tasks = JoinSet::new();
        for _ in 0..writers.max(1) {
            let destination = Destination {
                pool: pool.clone(),
                domains: Arc::clone(domains),
                partitions: Arc::clone(partitions),
            };
            tasks.spawn(write_groups(
                Arc::clone(&queue),
                destination,
                Arc::clone(&figures),
            ));
        }
        Self {
            queue,
            room: Arc::new(Semaphore::new(WAITING_KIB_MAX as usize)),
            figures,
            tasks: tokio::sync::Mutex::new(tasks),
        }
    }

    /// Waits until a delivery with these documents may join the queue.
    pub(crate) async fn reserve(&self, documents: &[Pending]) -> Result<Room, Error> {
        let bytes: usize = documents.iter().map(Pending::size_bytes).sum();
        let kib = (bytes / 1024 + DELIVERY_KIB).min(WAITING_KIB_MAX as usize) as u32;
        let permit = Arc::clone(&self.room).acquire_many_owned(kib).await;
        Ok(Room {
            permit: permit.map_err(|_| Error::Closed)?,
        })
    }

    /// Joins the queue when first polled, and answers after the commit.
    pub(crate) async fn submit(
        &self,
        submission: Submission,
        room: Room,
    ) -> Result<Vec<OutcomeRow>, Error> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job {
            submission,
            kib: room.kib(),
            reply,
        })?;
        let answer = answer.await.map_err(|_| Error::Closed)?;
        drop(room);
        answer
    }

    pub(crate) fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Deliveries that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Takes nothing more, writes what waits and returns when it is written.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

async fn write_groups(queue: Arc<Queue>, destination: Destination, figures: Arc<Figures>) {
    while let Some(group) = queue.next_group().await {
        let Group { jobs, claim } = group;
        let (submissions, replies): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .map(|job| (job.submission, job.reply))
            .unzip();
        let begin = Instant::now();
        let answers = answer_group(&destination, submissions).await;
        figures.commits.add(begin.elapsed());
        for answer in answers.iter().flatten() {
            figures.count(answer);
        }
        drop(claim);
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever asked may have gone away: what is stored is stored.
            _ = reply.send(answer);
        }
    }
}

/// Writes a group. Where the database refuses the data itself, each delivery is tried alone, so that one that cannot be
/// stored keeps no other from it; that one is rejected.
async fn answer_group(
    destination: &Destination,
    submissions: Vec<Submission>,
) -> Vec<Result<Vec<OutcomeRow>, Error>> {
    match write_group(destination, &submissions).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) if !error.is_data() => submissions.iter().map(|_| Err(error.clone())).collect(),
        Err(_) => {
            let mut answers = Vec::with_capacity(submissions.len());
            for submission in submissions {
                answers.push(answer_alone(destination, submission).await);
            }
            answers
        }
    }
}

async fn answer_alone(
    destination: &Destination,
    submission: Submission,
) -> Result<Vec<OutcomeRow>, Error> {
    let alone = [submission];
    match write_group(destination, &alone).await {
        Ok(mut answers) => answers.pop().ok_or(Error::Closed),
        Err(error) if error.is_data() => {
            let [submission] = alone;
            tracing::error!(delivery.id = %submission.delivery.delivery_id, %error, "the database refuses a report");
            let rejected = [group::reject_reports(submission, &error)];
            let mut answers = write_group(destination, &rejected).await?;
            answers.pop().ok_or(Error::Closed)
        }
        Err(error) => Err(error),
    }
}
