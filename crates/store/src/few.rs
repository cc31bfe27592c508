//! A few rows in one statement.
//!
//! COPY is the fastest way for many rows. For a few it costs round trips, and over TCP each one a delayed acknowledgement
//! of some 40 ms, because sqlx 0.9.0 does not set TCP_NODELAY (sqlx#4335): 101 ms an upload against 9 over a Unix socket.

use sqlx::{PgConnection, types::Json};

use crate::{Error, record_block::RecordBlock, rollup::SourceDayBlock};

/// Up to so many records go this way.
pub(crate) const FEW_RECORDS: usize = 200;

/// Writes the records of new reports and their part of the rollup.
pub(crate) async fn insert_few(
    connection: &mut PgConnection,
    record_blocks: Vec<RecordBlock<'_>>,
    source_days: Vec<SourceDayBlock<'_>>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        with new_records as (
            insert into record_blocks (
                domain_id, report_uid, day, first_position, source_ips, message_counts, result_numbers, positions, results
            )
            select
                domain_id, report_uid, day, first_position, source_ips, message_counts, result_numbers, positions, results
            from jsonb_populate_recordset(null::record_blocks, $1)
        )
        insert into source_day_arrivals (
            domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
            dkim_aligned_count, spf_aligned_count,
            disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
            source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
        )
        select
            domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
            dkim_aligned_count, spf_aligned_count,
            disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
            source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
        from jsonb_populate_recordset(null::source_day_arrivals, $2)
        "#,
        Json(record_blocks) as _,
        Json(source_days) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}
