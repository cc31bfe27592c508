//! A few rows in one statement.
//!
//! COPY is the fastest way for many rows. For a few it costs round trips, and over TCP each one a delayed acknowledgement
//! of some 40 ms, because sqlx 0.9.0 does not set TCP_NODELAY (sqlx#4335): 101 ms an upload against 9 over a Unix socket.

use sqlx::PgConnection;

use crate::{
    Error,
    record_block::RecordBlock,
    rollup::SourceDayBlock,
    unnest::{column, json, json_has_nul, literal},
};

/// Up to so many records go this way.
pub(crate) const FEW_RECORDS: usize = 400;

/// If they take no more memory than this: the statement holds all of them once more.
pub(crate) const FEW_BYTES: usize = 1024 * 1024;

/// Writes the records of new reports and their part of the rollup.
pub(crate) async fn insert_few(
    connection: &mut PgConnection,
    blocks: &[RecordBlock<'_>],
    days: &[SourceDayBlock<'_>],
) -> Result<(), Error> {
    let results = column(blocks, RecordBlock::results_json);
    let keys = column(days, |day| json(&day.keys));
    if results
        .iter()
        .chain(&keys)
        .any(|json| json_has_nul(json.as_bytes()))
    {
        return Err(Error::Nul);
    }
    sqlx::query!(
        r#"
        with new_records as (
            insert into record_blocks (
                domain_id, report_uid, day, first_position,
                source_ips, message_counts, result_numbers, positions, results
            )
            select
                domain_id, report_uid, day, first_position,
                source_ips::inet[], message_counts::bigint[], result_numbers::smallint[], positions::integer[], results::json
            from unnest(
                $1::bigint[], $2::uuid[], $3::date[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]
            ) as new (
                domain_id, report_uid, day, first_position, source_ips, message_counts, result_numbers, positions, results
            )
            returning report_uid
        )
        insert into source_day_arrivals (
            domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
            dkim_aligned_count, spf_aligned_count,
            disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
            source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
        )
        select
            domain_id, day, first_source::inet, last_source::inet, sum_count, source_report_count,
            (totals::bigint[])[1], (totals::bigint[])[2], (totals::bigint[])[3], (totals::bigint[])[4], (totals::bigint[])[5],
            (totals::bigint[])[6], (totals::bigint[])[7], (totals::bigint[])[8], (totals::bigint[])[9],
            source_ips::inet[], key_numbers::smallint[], message_counts::bigint[],
            report_counts::integer[], source_report_counts::integer[], keys::json
        from unnest(
            $10::bigint[], $11::date[], $12::text[], $13::text[], $14::integer[], $15::bigint[], $16::text[],
            $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[]
        ) as new (
            domain_id, day, first_source, last_source, sum_count, source_report_count, totals,
            source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
        )
        "#,
        &column(blocks, |block| block.domain_id),
        &column(blocks, |block| block.report_uid),
        &column(blocks, |block| block.day),
        &column(blocks, |block| block.first_position),
        &column(blocks, |block| literal(&block.source_ips)),
        &column(blocks, |block| literal(&block.message_counts)),
        &column(blocks, |block| literal(&block.result_numbers)),
        &column(blocks, |block| block.positions.as_deref().map(literal)) as _,
        &results,
        &column(days, |day| day.domain_id),
        &column(days, |day| day.day),
        &column(days, |day| day.first_source.to_string()),
        &column(days, |day| day.last_source.to_string()),
        &column(days, |day| day.sum_count),
        &column(days, |day| day.source_report_count),
        &column(days, |day| literal(&day.totals.columns())),
        &column(days, |day| literal(&day.source_ips)),
        &column(days, |day| literal(&day.key_numbers)),
        &column(days, |day| literal(&day.message_counts)),
        &column(days, |day| day.report_counts.as_deref().map(literal)) as _,
        &column(days, |day| day.source_report_counts.as_deref().map(literal)) as _,
        &keys
    )
    .execute(connection)
    .await?;
    Ok(())
}
