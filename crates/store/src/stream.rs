//! One large report, streamed into a transaction of its own.

use std::sync::Arc;

use report::{Header, Record, Summary};
use sqlx::{Postgres, Transaction};

use crate::{
    Delivery, Error, Figures, Outcome, Store,
    copy::copy_rows,
    delivery::OutcomeRow,
    domains,
    fill::fill_rollup,
    large_sums::LargeSums,
    ledger::{Progress, record_deliveries},
    record_block::record_blocks,
    report_row::{
        NewReportRow, ReportKey, StoredReport, complete_report, insert_reports, stored_reports,
    },
    twins::{Twin, Wanted, find_twins, remember_peer},
};

/// A report being stored while it is read. Dropping it stores nothing.
#[derive(Debug)]
pub struct ReportStream<'a> {
    transaction: Transaction<'static, Postgres>,
    delivery: &'a Delivery,
    key: ReportKey,
    sums: LargeSums,
    /// Set when a report with the same identity is stored already: then nothing is written.
    before: Option<StoredReport>,
    /// Set when the same report is stored in another form: then nothing is written either.
    twin: Option<Twin>,
    figures: Arc<Figures>,
}

impl Store {
    /// Begins to store a report of which only the header is known yet.
    pub async fn stream<'a>(
        &self,
        delivery: &'a Delivery,
        header: &Header,
    ) -> Result<ReportStream<'a>, Error> {
        let names = [header.policy_published.domain.clone()].into();
        let ids = self.domains.ids(&self.pool, &names).await?;
        let domain_id = domains::id_of(&ids, header)?;
        let row = NewReportRow::begun(delivery, domain_id, header);
        let key = row.key();
        self.partitions
            .ensure(&self.pool, [row.day].into_iter(), delivery.received_at)
            .await?;
        let mut transaction = self.pool.begin().await?;
        let wanted = Wanted {
            domain_id,
            header,
            delivery_id: delivery.delivery_id,
        };
        let twins = find_twins(&mut transaction, &[wanted]).await?;
        let twin = twins.into_values().next();
        let inserted = if twin.is_some() {
            Vec::new()
        } else {
            insert_reports(&mut transaction, &[row]).await?
        };
        if !inserted.is_empty() {
            remember_peer(&mut transaction, wanted).await?;
        }
        let before = if inserted.is_empty() && twin.is_none() {
            let mut stored =
                stored_reports(&mut transaction, &[domain_id], &[key.report_uid]).await?;
            Some(stored.pop().ok_or(Error::Deleted)?)
        } else {
            None
        };
        Ok(ReportStream {
            transaction,
            delivery,
            key,
            sums: LargeSums::default(),
            before,
            twin,
            figures: self.shared_figures(),
        })
    }
}

impl ReportStream<'_> {
    /// Writes the next records.
    pub async fn records(&mut self, records: &[Record]) -> Result<(), Error> {
        if self.before.is_some() || self.twin.is_some() {
            return Ok(());
        }
        let blocks = record_blocks(self.key, records);
        copy_rows(&mut self.transaction, "record_blocks", blocks).await?;
        self.sums.add(records).await
    }

    /// Writes the totals and the rollup, then commits. The ledger says `documents` and this report, whose outcome is
    /// returned.
    pub async fn finish(
        mut self,
        path: String,
        summary: &Summary,
        documents: &[OutcomeRow],
    ) -> Result<OutcomeRow, Error> {
        let outcome = match (&self.before, &self.twin) {
            (_, Some(twin)) => twin.outcome(summary),
            (None, None) => {
                let row = NewReportRow::complete(self.delivery, self.key.domain_id, summary);
                complete_report(&mut self.transaction, &row).await?;
                if row.day_count == 1 {
                    self.sums
                        .copy_to_rollup(&mut self.transaction, self.key)
                        .await?;
                } else {
                    fill_rollup(&mut self.transaction, self.key).await?;
                }
                Outcome::Stored
            }
            (Some(before), _) if before.content_sha256 != summary.content_sha256 => {
                Outcome::Conflict
            }
            // Tried again after a commit whose answer was lost.
            (Some(before), _) if before.delivery_id == self.delivery.delivery_id => Outcome::Stored,
            (Some(_), _) => Outcome::Duplicate,
        };
        let row = OutcomeRow::of_report(path, outcome, summary);
        let mut all = documents.to_vec();
        all.push(row.clone());
        record_deliveries(
            &mut self.transaction,
            [(self.delivery, &all)].into_iter(),
            Progress::Partial,
        )
        .await?;
        self.transaction.commit().await?;
        self.figures.count(std::slice::from_ref(&row));
        Ok(row)
    }
}
