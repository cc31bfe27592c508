//! The way of a delivery: bytes, documents, records, commit, outcome.

use std::{io, sync::Arc};

use report::{Body, Limits};
use store::{Authenticity, DomainList, Outcome, OutcomeRow, Pending, Room, Store, Submission};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::{
    AllowedDomains,
    read::{Documents, LargeHead, Rules, Step, read, read_together},
};

/// One thing handed over. Cheap to clone, so that it can be tried again.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Version 7 UUID. A delivery that is tried again keeps it, which makes the retry harmless.
    pub delivery_id: Uuid,
    /// `imap:<mailbox>`, `lmtp`, `http` or `file`.
    pub origin: String,
    /// File name or the like.
    pub name: Option<String>,
    /// When it was handed over.
    pub received_at: OffsetDateTime,
    /// Its bytes.
    pub body: Body,
    /// Who sent it, where it is a mail that was checked.
    pub authenticity: Option<Authenticity>,
}

/// What became of a delivery, final and recorded.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The delivery.
    pub delivery_id: Uuid,
    /// The outcome of each document in it.
    pub documents: Vec<OutcomeRow>,
}

impl Accepted {
    /// The most serious outcome of its documents.
    pub fn outcome(&self) -> Outcome {
        Outcome::of_all(&self.documents)
    }
}

/// A failure of ours: nothing is lost, and the delivery may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The delivery's own bytes cannot be read.
    #[error("reading the delivery: {0}")]
    Read(#[from] io::Error),
    /// Mail must be shown to come from where it says, and whether it does could not be found out.
    #[error("it could not be found out where the mail comes from")]
    Unverified,
}

/// What taking deliveries needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Where reports are stored.
    pub store: Store,
    /// What a delivery may make us do.
    pub limits: Arc<Limits>,
    /// The policy domains whose reports are stored.
    pub domains: Arc<AllowedDomains>,
    /// Besides: those that whoever brings the deliveries is restricted to.
    restriction: Option<Arc<DomainList>>,
    /// Parsing is work for a core: no more at a time than there are.
    readers: Arc<Semaphore>,
}

impl Intake {
    /// An intake that parses with all cores.
    pub fn new(store: Store, limits: Limits, domains: AllowedDomains) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            limits: Arc::new(limits),
            domains: Arc::new(domains),
            restriction: None,
            readers: Arc::new(Semaphore::new(cores)),
        }
    }

    /// The same intake for somebody who is restricted to some policy domains: reports for others are rejected.
    pub fn restricted_to(&self, domains: DomainList) -> Self {
        Self {
            restriction: Some(Arc::new(domains)),
            ..self.clone()
        }
    }

    /// Runs work on a thread of its own, not more at a time than there are cores.
    pub(crate) async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.readers.acquire().await;
        let _permit = permit.map_err(|_| store::Error::Closed)?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::Read(io::Error::other(error)))
    }

    fn rules(&self) -> Rules {
        Rules {
            limits: Arc::clone(&self.limits),
            domains: Arc::clone(&self.domains),
            restriction: self.restriction.clone(),
        }
    }

    /// The same intake with a reader of its own, for deliveries that must not wait for those of this one.
    pub(crate) fn aside(&self) -> Self {
        Self {
            readers: Arc::new(Semaphore::new(1)),
            ..self.clone()
        }
    }
}

/// Takes a delivery in and answers once its outcome is committed.
///
/// Whatever is wrong with the delivery is an outcome. `Err` means that the fault is ours and that the delivery should be
/// tried again; reports of it that were stored meanwhile are recognised then.
pub async fn accept(intake: &Intake, delivery: Delivery) -> Result<Accepted, Error> {
    let parsed = parse(intake, delivery).await?;
    let room = reserve(intake, &parsed).await?;
    settle(intake, parsed, room).await
}

/// A delivery that was read, whole or up to its first large report.
pub(crate) struct Parsed {
    delivery: store::Delivery,
    documents: Vec<Pending>,
    large: Option<Large>,
}

/// A report too large to be held, and what comes after it.
struct Large {
    head: LargeHead,
    steps: mpsc::Receiver<Step>,
}

/// Reads a delivery on a thread of its own.
pub(crate) async fn parse(intake: &Intake, delivery: Delivery) -> Result<Parsed, Error> {
    let permit = Arc::clone(&intake.readers)
        .acquire_owned()
        .await
        .map_err(|_| store::Error::Closed)?;
    let rules = intake.rules();
    let (sender, mut steps) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        read(delivery, &rules, &sender);
        drop(permit);
    });
    let Documents {
        delivery,
        documents,
        large,
        ..
    } = next_documents(&mut steps).await?;
    Ok(Parsed {
        delivery,
        documents,
        large: large.map(|head| Large { head, steps }),
    })
}

/// Reads small deliveries together: a thread that is woken for each of them costs more than it does. `None` for one that
/// is left to [`parse`].
pub(crate) async fn parse_together(
    intake: &Intake,
    deliveries: Vec<Delivery>,
) -> Result<Vec<Option<Result<Parsed, Error>>>, Error> {
    let rules = intake.rules();
    let parsed = |documents: Documents| Parsed {
        delivery: documents.delivery,
        documents: documents.documents,
        large: None,
    };
    let read = intake.on_a_core(move || read_together(deliveries, &rules));
    let together = read.await?.into_iter();
    Ok(together
        .map(|read| Some(read?.map(parsed).map_err(Error::Read)))
        .collect())
}

/// Waits until the writers have room for a parsed delivery.
pub(crate) async fn reserve(intake: &Intake, parsed: &Parsed) -> Result<Room, Error> {
    Ok(intake.store.reserve(&parsed.documents).await?)
}

/// Stores what was parsed. The delivery takes its place in the queue when the future is first polled.
pub(crate) async fn settle(intake: &Intake, parsed: Parsed, room: Room) -> Result<Accepted, Error> {
    let Parsed {
        delivery,
        mut documents,
        large,
    } = parsed;
    if let Some(large) = large {
        store_large(intake, &delivery, &mut documents, large).await?;
    }
    let delivery_id = delivery.delivery_id;
    let documents = intake
        .store
        .submit(
            Submission {
                delivery,
                documents,
            },
            room,
        )
        .await?;
    Ok(Accepted {
        delivery_id,
        documents,
    })
}

/// Streams large reports into the store, each in a transaction of its own, until the delivery is read to its end.
async fn store_large(
    intake: &Intake,
    delivery: &store::Delivery,
    documents: &mut Vec<Pending>,
    large: Large,
) -> Result<(), Error> {
    let Large { head, mut steps } = large;
    let mut next = Some(head);
    while let Some(head) = next {
        let row = stream(intake, delivery, head, documents, &mut steps).await?;
        documents.push(Pending::Settled(row));
        let more = next_documents(&mut steps).await?;
        documents.extend(more.documents);
        next = more.large;
    }
    Ok(())
}

async fn stream(
    intake: &Intake,
    delivery: &store::Delivery,
    head: LargeHead,
    documents: &[Pending],
    steps: &mut mpsc::Receiver<Step>,
) -> Result<OutcomeRow, Error> {
    let mut is_read = false;
    match try_stream(intake, delivery, &head, documents, steps, &mut is_read).await {
        // The database refuses the data itself: trying again cannot help.
        Err(Error::Store(error)) if error.is_data() => {
            tracing::error!(delivery.id = %delivery.delivery_id, %error, "the database refuses a report");
            if !is_read {
                skip_report(steps).await?;
            }
            let detail = Some(error.to_string());
            let row = OutcomeRow::without_report(
                head.path,
                Outcome::Rejected,
                store::NOT_STORABLE,
                detail,
            );
            Ok(row.with_header(&head.header))
        }
        streamed => streamed,
    }
}

async fn try_stream(
    intake: &Intake,
    delivery: &store::Delivery,
    head: &LargeHead,
    documents: &[Pending],
    steps: &mut mpsc::Receiver<Step>,
    is_read: &mut bool,
) -> Result<OutcomeRow, Error> {
    let mut report = intake.store.stream(delivery, &head.header).await?;
    loop {
        match steps.recv().await {
            Some(Step::Records(records)) => report.records(&records).await?,
            Some(Step::LargeEnd(ended)) => {
                *is_read = true;
                // Dropping the stream stores nothing of the report.
                let summary = match ended {
                    Ok(summary) => summary,
                    Err(row) => return Ok(*row),
                };
                let settled: Vec<OutcomeRow> = documents
                    .iter()
                    .filter_map(|document| match document {
                        Pending::Settled(row) => Some(row.clone()),
                        Pending::Report { .. } => None,
                    })
                    .collect();
                let path = head.path.clone();
                return Ok(report.finish(path, &summary, &settled).await?);
            }
            Some(Step::Failed(error)) => return Err(Error::Read(error)),
            Some(Step::Documents(_)) | None => return Err(reader_lost()),
        }
    }
}

/// Reads on to the end of a report of which nothing is stored.
async fn skip_report(steps: &mut mpsc::Receiver<Step>) -> Result<(), Error> {
    loop {
        match steps.recv().await {
            Some(Step::Records(_)) => {}
            Some(Step::LargeEnd(_)) => return Ok(()),
            Some(Step::Failed(error)) => return Err(Error::Read(error)),
            Some(Step::Documents(_)) | None => return Err(reader_lost()),
        }
    }
}

async fn next_documents(steps: &mut mpsc::Receiver<Step>) -> Result<Documents, Error> {
    match steps.recv().await {
        Some(Step::Documents(documents)) => Ok(*documents),
        Some(Step::Failed(error)) => Err(Error::Read(error)),
        Some(Step::Records(_) | Step::LargeEnd(_)) | None => Err(reader_lost()),
    }
}

fn reader_lost() -> Error {
    Error::Read(io::Error::other("the reading thread ended before its time"))
}
