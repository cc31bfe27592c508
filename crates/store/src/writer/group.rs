//! One transaction: reports, records, rollup, ledger and quarantine of a group of deliveries.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use report::{Record, Summary};
use sqlx::{PgConnection, PgPool};
use time::Date;
use uuid::Uuid;

use crate::{
    Error, Outcome, Pending, Submission,
    copy::copy_rows,
    delivery::OutcomeRow,
    domains::{self, Domains},
    few::{FEW_BYTES, FEW_RECORDS, insert_few},
    fill::fill_rollup,
    identity::{day_of, report_uid},
    ledger::{Progress, record_deliveries},
    partitions::Partitions,
    record_block::record_blocks,
    report_row::{NewReportRow, insert_reports, stored_reports},
    rollup::{Sum, merge, report_sums, source_day_blocks},
    twins::{Twin, Wanted, find_twins, remember_peer},
};

/// Where groups are written to.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) pool: PgPool,
    pub(super) domains: Arc<Domains>,
    pub(super) partitions: Arc<Partitions>,
}

/// A report of the group that is not the repetition of an earlier one of the same group.
struct Candidate<'a> {
    submission: &'a Submission,
    domain_id: i64,
    summary: &'a Summary,
    records: &'a [Record],
}

impl<'a> Candidate<'a> {
    fn wanted(&self) -> Wanted<'a> {
        Wanted {
            domain_id: self.domain_id,
            header: &self.summary.header,
            delivery_id: self.submission.delivery.delivery_id,
        }
    }
}

/// In the order in which rows are inserted, which all writers share.
type Candidates<'a> = BTreeMap<(i64, Uuid), Candidate<'a>>;

/// Stores a group and returns the outcomes, document by document. All or nothing.
pub(super) async fn write_group(
    destination: &Destination,
    submissions: &[Submission],
) -> Result<Vec<Vec<OutcomeRow>>, Error> {
    // A report of another program must find the twin that may be right before it.
    if submissions.len() > 1 && submissions.iter().any(has_peer) {
        let mut outcomes = Vec::with_capacity(submissions.len());
        for submission in submissions.chunks(1) {
            outcomes.extend(Box::pin(write_group(destination, submission)).await?);
        }
        return Ok(outcomes);
    }
    let domain_ids = prepare(destination, submissions).await?;
    let mut candidates = candidates(submissions, &domain_ids)?;

    let mut transaction = destination.pool.begin().await?;
    let twins = if candidates.is_empty() {
        HashMap::new()
    } else {
        let wanted = candidates.values().map(Candidate::wanted);
        find_twins(&mut transaction, &wanted.collect::<Vec<_>>()).await?
    };
    candidates.retain(|(_, uid), _| !twins.contains_key(uid));
    let kept = if candidates.is_empty() {
        HashMap::new()
    } else {
        insert_candidates(&mut transaction, &candidates).await?
    };
    let outcomes: Vec<Vec<OutcomeRow>> = outcomes(submissions, &kept, &twins);
    record_deliveries(
        &mut transaction,
        submissions
            .iter()
            .map(|submission| &submission.delivery)
            .zip(&outcomes),
        Progress::Complete,
    )
    .await?;
    transaction.commit().await?;
    Ok(outcomes)
}

/// What the transaction must not wait for: domains have their ids and months their partitions.
async fn prepare(
    destination: &Destination,
    submissions: &[Submission],
) -> Result<HashMap<String, i64>, Error> {
    let mut names = BTreeSet::new();
    for submission in submissions {
        let headers = || reports(submission).map(|(summary, _)| &summary.header);
        names.extend(headers().map(|header| header.policy_published.domain.clone()));
        destination
            .partitions
            .ensure(
                &destination.pool,
                headers().map(day_of),
                submission.delivery.received_at,
            )
            .await?;
    }
    destination.domains.ids(&destination.pool, &names).await
}

fn candidates<'a>(
    submissions: &'a [Submission],
    domain_ids: &HashMap<String, i64>,
) -> Result<Candidates<'a>, Error> {
    let mut candidates = BTreeMap::new();
    for submission in submissions {
        for (summary, records) in reports(submission) {
            let domain_id = domains::id_of(domain_ids, &summary.header)?;
            candidates
                .entry((domain_id, report_uid(&summary.header)))
                .or_insert(Candidate {
                    submission,
                    domain_id,
                    summary,
                    records,
                });
        }
    }
    Ok(candidates)
}

/// Inserts the candidates that are not stored yet, with their records and rollup. Returns for every candidate which
/// delivery's report with which content is stored now.
async fn insert_candidates(
    connection: &mut PgConnection,
    candidates: &Candidates<'_>,
) -> Result<HashMap<Uuid, Kept>, Error> {
    let rows: Vec<NewReportRow<'_>> = candidates
        .values()
        .map(|new| NewReportRow::complete(&new.submission.delivery, new.domain_id, new.summary))
        .collect();
    let inserted: HashSet<Uuid> = insert_reports(connection, &rows)
        .await?
        .into_iter()
        .collect();

    write_records(connection, &rows, &inserted, candidates).await?;
    let new = candidates
        .iter()
        .filter(|((_, uid), _)| inserted.contains(uid));
    for (_, new) in new {
        remember_peer(connection, new.wanted()).await?;
    }

    let mut kept: HashMap<Uuid, Kept> = candidates
        .iter()
        .filter(|((_, uid), _)| inserted.contains(uid))
        .map(|((_, uid), new)| {
            let kept = Kept {
                delivery_id: new.submission.delivery.delivery_id,
                content_sha256: new.summary.content_sha256.to_vec(),
            };
            (*uid, kept)
        })
        .collect();
    let (known_domains, known): (Vec<i64>, Vec<Uuid>) = candidates
        .keys()
        .filter(|(_, uid)| !inserted.contains(uid))
        .copied()
        .unzip();
    if !known.is_empty() {
        for stored in stored_reports(connection, &known_domains, &known).await? {
            let before = Kept {
                delivery_id: stored.delivery_id,
                content_sha256: stored.content_sha256,
            };
            kept.insert(stored.report_uid, before);
        }
    }
    if kept.len() < candidates.len() {
        return Err(Error::Deleted);
    }
    Ok(kept)
}

/// Writes the records and the rollup of those reports that were inserted.
async fn write_records(
    connection: &mut PgConnection,
    rows: &[NewReportRow<'_>],
    inserted: &HashSet<Uuid>,
    candidates: &Candidates<'_>,
) -> Result<(), Error> {
    let mut blocks = Vec::new();
    let mut sums: BTreeMap<(i64, Date), Vec<Sum<'_>>> = BTreeMap::new();
    let mut long = Vec::new();
    let (mut record_count, mut size_bytes) = (0, 0);
    for row in rows {
        if !inserted.contains(&row.report_uid) {
            continue;
        }
        let records = candidates[&(row.domain_id, row.report_uid)].records;
        record_count += records.len();
        size_bytes += records.iter().map(Record::size_bytes).sum::<usize>();
        blocks.extend(record_blocks(row.key(), records));
        if row.day_count == 1 {
            sums.entry((row.domain_id, row.day))
                .or_default()
                .append(&mut report_sums(records));
        } else {
            long.push(row.key());
        }
    }
    let mut source_days = Vec::with_capacity(sums.len());
    for ((domain_id, day), sums) in &mut sums {
        merge(sums);
        source_days.extend(source_day_blocks(*domain_id, *day, sums));
    }
    match record_count {
        0 => {}
        1..=FEW_RECORDS if size_bytes <= FEW_BYTES => {
            insert_few(connection, &blocks, &source_days).await?;
        }
        _ => {
            copy_rows(connection, "record_blocks", blocks.into_iter()).await?;
            copy_rows(connection, "source_day_arrivals", source_days.into_iter()).await?;
        }
    }
    for key in long {
        fill_rollup(connection, key).await?;
    }
    Ok(())
}

/// What is stored under an identity after this transaction.
struct Kept {
    delivery_id: Uuid,
    content_sha256: Vec<u8>,
}

fn outcomes(
    submissions: &[Submission],
    kept: &HashMap<Uuid, Kept>,
    twins: &HashMap<Uuid, Twin>,
) -> Vec<Vec<OutcomeRow>> {
    submissions
        .iter()
        .map(|submission| {
            let mut taken = HashSet::new();
            submission
                .documents
                .iter()
                .map(|document| match document {
                    Pending::Settled(row) => row.clone(),
                    Pending::Report { path, summary, .. } => {
                        let uid = report_uid(&summary.header);
                        let first = taken.insert(uid);
                        let outcome = match twins.get(&uid) {
                            Some(twin) => twin.outcome(summary),
                            None => outcome(submission, summary, kept.get(&uid), first),
                        };
                        OutcomeRow::of_report(path.clone(), outcome, summary)
                    }
                })
                .collect()
        })
        .collect()
}

fn outcome(
    submission: &Submission,
    summary: &Summary,
    kept: Option<&Kept>,
    first: bool,
) -> Outcome {
    let Some(kept) = kept else {
        return Outcome::Stored;
    };
    if kept.content_sha256 != summary.content_sha256 {
        return Outcome::Conflict;
    }
    // By this commit, or by an earlier one whose answer was lost: then the delivery is tried again.
    if first && kept.delivery_id == submission.delivery.delivery_id {
        Outcome::Stored
    } else {
        Outcome::Duplicate
    }
}

/// The same delivery with its reports rejected, because the database refuses their data.
pub(super) fn reject_reports(submission: Submission, error: &Error) -> Submission {
    let documents = submission
        .documents
        .into_iter()
        .map(|document| match document {
            Pending::Report { path, summary, .. } => {
                let row = OutcomeRow::of_report(path, Outcome::Rejected, &summary);
                // The ledger must not be refused for the same text.
                let plain = |text: Option<String>| text.map(|text| text.replace('\0', "\u{fffd}"));
                Pending::Settled(OutcomeRow {
                    code: Some(crate::NOT_STORABLE.into()),
                    detail: plain(Some(error.to_string())),
                    org_name: plain(row.org_name),
                    domain: plain(row.domain),
                    report_id: plain(row.report_id),
                    ..row
                })
            }
            settled @ Pending::Settled(_) => settled,
        })
        .collect();
    Submission {
        documents,
        ..submission
    }
}

/// Whether one of the reports was read from the output of another program.
fn has_peer(submission: &Submission) -> bool {
    reports(submission).any(|(summary, _)| summary.header.peer.is_some())
}

fn reports(submission: &Submission) -> impl Iterator<Item = (&Summary, &[Record])> {
    submission
        .documents
        .iter()
        .filter_map(|document| match document {
            Pending::Report {
                summary, records, ..
            } => Some((summary.as_ref(), records.as_slice())),
            Pending::Settled(_) => None,
        })
}
