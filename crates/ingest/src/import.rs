//! Taking in files by the thousand: parsing on all cores, storing in the order of the files.

mod batch;

use std::{path::PathBuf, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use store::Outcome;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::{
    Accepted, Delivery, Error, Found, Intake, accept,
    accept::{Parsed, parse, parse_together, reserve, settle},
    find,
};

use self::batch::{Batch, Batches};

/// Batches that are found ahead of those being parsed.
const FOUND_AHEAD: usize = 4;

/// Batches that are parsed ahead of the delivery whose turn it is to be stored.
const PARSED_AHEAD: usize = 4;

/// Deliveries that wait for their commit at a time; what they hold is bounded by the store's room.
const WAITING_MAX: usize = 1_024;

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What to import.
#[derive(Clone, Debug)]
pub struct Import {
    /// Files, folders, mbox files, maildirs; `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// The time of receipt for the ledger.
    pub received_at: OffsetDateTime,
}

/// What happens while importing, for whoever shows it.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A delivery was found and will be taken in.
    Found,
    /// The outcome of a delivery.
    Accepted {
        /// Where it was found.
        name: &'a str,
        /// What became of it.
        accepted: &'a Accepted,
    },
    /// Something could not be read, which is no fault of a report.
    Unreadable {
        /// Where.
        name: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// The database is away; the import goes on when it is back.
    Waiting {
        /// Why.
        error: &'a Error,
    },
}

/// The totals of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Deliveries with a final outcome.
    pub delivery_count: u64,
    /// Reports stored.
    pub stored: u64,
    /// Reports that were stored before.
    pub duplicate: u64,
    /// Reports with the identity of a stored one and other content.
    pub conflict: u64,
    /// Documents that can never be stored.
    pub rejected: u64,
    /// Documents that are no aggregate reports.
    pub not_aggregate: u64,
    /// Records of the reports stored, without skipped ones.
    pub record_count: u64,
    /// Messages of the reports stored.
    pub message_count: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

impl Imported {
    fn add(&mut self, accepted: &Accepted) {
        self.delivery_count += 1;
        for document in &accepted.documents {
            match document.outcome {
                Outcome::Stored => {
                    self.stored += 1;
                    let records = document.record_count.unwrap_or_default();
                    self.record_count += records - document.skipped_count.unwrap_or_default();
                    self.message_count = self
                        .message_count
                        .saturating_add(document.message_count.unwrap_or_default());
                }
                Outcome::Duplicate => self.duplicate += 1,
                Outcome::Conflict => self.conflict += 1,
                Outcome::Rejected => self.rejected += 1,
                Outcome::NotAggregate => self.not_aggregate += 1,
            }
        }
    }
}

/// Imports everything at the paths.
///
/// Of reports with the same identity the first in the order of the paths is stored. When the database goes away, the
/// import waits for it. When `stop` turns true, nothing more is begun and what was begun is finished; running the same
/// import again takes in the rest. `Err` only when the database refuses to work with us at all.
pub async fn import(
    intake: &Intake,
    import: Import,
    mut stop: watch::Receiver<bool>,
    notice: &(dyn Fn(Notice<'_>) + Sync),
) -> Result<Imported, Error> {
    let (sender, mut found) = mpsc::channel(FOUND_AHEAD);
    let message_bytes_max = intake.limits.message_bytes;
    let paths = import.paths.clone();
    let finder = tokio::task::spawn_blocking(move || {
        let mut batches = Batches::new(sender);
        find(&paths, message_bytes_max, &mut |found| batches.add(found));
        batches.finish();
    });

    // While the database is away, the deliveries parsed ahead hold the readers and nobody polls them, because all that may
    // wait for their commit are waiting. Those have a reader of their own to be tried again, and so have those that were
    // found in a batch but have to be parsed by themselves, for which all behind them wait.
    let (aside, behind) = (&intake.aside(), &intake.aside());
    let mut imported = Imported::default();
    {
        let listed = stream::poll_fn(|context| found.poll_recv(context))
            .take_until(async {
                // A sender that is gone will never stop us.
                if stop.wait_for(|stop| *stop).await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
            .inspect(|batch: &Batch| (0..batch.len()).for_each(|_| notice(Notice::Found)));
        let in_order = parsed(intake, listed, import.received_at).then(async |(name, item)| {
            let room = async |delivery, parsed| {
                let room = reserve(intake, &parsed).await?;
                Ok((delivery, parsed, room))
            };
            let item = match item {
                Ok((delivery, Some(parsed))) => room(delivery, parsed).await,
                Ok((delivery, None)) => match parse(behind, delivery.clone()).await {
                    Ok(parsed) => room(delivery, parsed).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            (name, item)
        });
        let outcomes = in_order
            .map(async |(name, item)| {
                let outcome = match item {
                    Ok((delivery, parsed, room)) => match settle(intake, parsed, room).await {
                        Err(error) => try_again(aside, delivery, error, notice).await,
                        accepted => accepted,
                    },
                    Err(error) => Err(error),
                };
                (name, outcome)
            })
            .buffer_unordered(WAITING_MAX);
        let mut outcomes = std::pin::pin!(outcomes);
        while let Some((name, outcome)) = outcomes.next().await {
            match outcome {
                Ok(accepted) => {
                    imported.add(&accepted);
                    notice(Notice::Accepted {
                        name: &name,
                        accepted: &accepted,
                    });
                }
                Err(error @ (Error::Read(_) | Error::Unverified)) => {
                    imported.unreadable += 1;
                    notice(Notice::Unreadable {
                        name: &name,
                        error: &error,
                    });
                }
                Err(error @ Error::Store(_)) => return Err(error),
            }
        }
    }
    imported.interrupted = *stop.borrow();
    drop(found);
    finder.await.map_err(|error| Error::Read(error.into()))?;
    Ok(imported)
}

/// Something found, with what was read of it: `None` if it has to be parsed by itself when its turn comes.
type Read = (String, Result<(Delivery, Option<Parsed>), Error>);

/// Parses batches, several at a time; what is in them comes out in order.
fn parsed(
    intake: &Intake,
    batches: impl Stream<Item = Batch>,
    received_at: OffsetDateTime,
) -> impl Stream<Item = Read> {
    batches
        .map(move |batch| parse_batch(intake, batch, received_at))
        .buffered(PARSED_AHEAD)
        .map(stream::iter)
        .flatten()
}

async fn parse_batch(intake: &Intake, batch: Batch, received_at: OffsetDateTime) -> Vec<Read> {
    let mut deliveries = Vec::with_capacity(batch.len());
    let mut found = Vec::with_capacity(batch.len());
    for Found { name, body } in batch.into_found() {
        let delivery = body.map(|body| Delivery {
            delivery_id: Uuid::now_v7(),
            origin: "file".into(),
            name: Some(name.clone()),
            received_at,
            body,
            authenticity: None,
        });
        deliveries.extend(delivery.as_ref().ok().cloned());
        found.push((name, delivery.map_err(Error::Read)));
    }
    // One that is alone may be large: it needs somebody who takes what is read of it piece by piece.
    let parsed = match &deliveries[..] {
        [alone] => vec![Some(parse(intake, alone.clone()).await)],
        _ => parse_together(intake, deliveries)
            .await
            .unwrap_or_else(|error| vec![Some(Err(error))]),
    };
    let mut parsed = parsed.into_iter();
    let read = found.into_iter().map(|(name, delivery)| {
        let read = delivery.and_then(|delivery| {
            let parsed = parsed.next().flatten().transpose()?;
            Ok((delivery, parsed))
        });
        (name, read)
    });
    read.collect()
}

/// Waits for the database and takes the delivery in again, from its bytes.
async fn try_again(
    intake: &Intake,
    delivery: Delivery,
    mut error: Error,
    notice: &(dyn Fn(Notice<'_>) + Sync),
) -> Result<Accepted, Error> {
    let mut backoff = BACKOFF_FIRST;
    loop {
        match &error {
            Error::Store(store) if store.is_passing() => notice(Notice::Waiting { error: &error }),
            Error::Store(_) | Error::Read(_) | Error::Unverified => return Err(error),
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        match accept(intake, delivery.clone()).await {
            Ok(accepted) => return Ok(accepted),
            Err(again) => error = again,
        }
    }
}
