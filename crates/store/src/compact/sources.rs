//! The same sums go into `source_blocks`.

use std::{collections::HashMap, net::IpAddr};

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use time::Date;

use crate::{
    Error,
    compact::{
        Month,
        runs::{Part, Row, Rule, Runs, batches, parts, rows},
        sums::{MovedSum, merge_by_source},
    },
    copy::copy_rows,
    elements::{Elements, count_at},
    source_block::SourceBlock,
};

/// Of one address a single row of each run is read, so there may be some: new sums come in for all addresses at once,
/// and merging them each time would write the whole month again.
const RULE: Rule = Rule {
    ratio: 1,
    runs_min: 8,
};

fn place(sum: &MovedSum) -> u8 {
    sum.bucket
}

/// Adds sums of one month, which are in order of bucket and source.
pub(super) async fn merge_sources(
    connection: &mut PgConnection,
    month: Month,
    new: &[MovedSum],
) -> Result<(), Error> {
    let runs = runs(connection, month).await?;
    let parts = parts(new, place, &runs, &RULE);
    for batch in batches(&parts) {
        let mut sums = take(connection, month, batch, new).await?;
        let new = &new[batch[0].new.start..batch[batch.len() - 1].new.end];
        if sums.is_empty() {
            write(connection, month, new).await?;
        } else {
            sums.extend_from_slice(new);
            merge_by_source(&mut sums);
            write(connection, month, &sums).await?;
        }
    }
    Ok(())
}

/// What is stored in each bucket, the smallest runs first.
async fn runs(
    connection: &mut PgConnection,
    month: Month,
) -> Result<HashMap<u8, Vec<Runs>>, Error> {
    let mut stored = sqlx::query!(
        r#"
        select bucket, run_sum_count, sum(sum_count) as "sum_count!"
        from source_blocks
        where month = $1
        group by bucket, run_sum_count
        order by run_sum_count
        "#,
        month.first
    )
    .fetch(connection);
    let mut runs: HashMap<u8, Vec<Runs>> = HashMap::new();
    while let Some(row) = stored.try_next().await? {
        // What is out of range is no bucket and is not touched.
        if let Ok(bucket) = u8::try_from(row.bucket) {
            runs.entry(bucket).or_default().push(Runs {
                run_sum_count: row.run_sum_count,
                sum_count: row.sum_count,
            });
        }
    }
    Ok(runs)
}

/// Columns of `source_blocks`.
struct Block {
    bucket: i16,
    source_ips: Elements<IpAddr>,
    domain_ids: Elements<i64>,
    days: Elements<Date>,
    results: Elements<i16>,
    message_counts: Elements<i64>,
    source_report_counts: Option<Elements<i32>>,
}

impl Block {
    fn read(&self, sums: &mut Vec<MovedSum>) {
        let columns = self.source_ips.0.iter().zip(&self.domain_ids.0);
        let columns = columns.zip(&self.days.0).zip(&self.results.0);
        let columns = columns.zip(&self.message_counts.0).enumerate();
        sums.extend(columns.map(
            |(place, ((((source_ip, domain_id), day), results), message_count))| MovedSum {
                domain_id: *domain_id,
                day: *day,
                source_ip: *source_ip,
                bucket: self.bucket as u8,
                key: *results as u32,
                message_count: *message_count,
                report_count: 0,
                source_report_count: count_at(&self.source_report_counts, place).unwrap_or(0),
            },
        ));
    }
}

/// Takes the runs out that the parts are merged with.
async fn take(
    connection: &mut PgConnection,
    month: Month,
    parts: &[Part],
    new: &[MovedSum],
) -> Result<Vec<MovedSum>, Error> {
    let (mut buckets, mut run_sum_counts_max) = (Vec::new(), Vec::new());
    let mut sum_count = 0;
    for part in parts.iter().filter(|part| part.merged.sum_count > 0) {
        buckets.push(i16::from(place(&new[part.new.start])));
        run_sum_counts_max.push(part.merged.run_sum_count_max);
        sum_count += part.merged.sum_count + part.new.len() as i64;
    }
    if sum_count == 0 {
        return Ok(Vec::new());
    }
    let mut taken = sqlx::query_as!(
        Block,
        r#"
        delete from source_blocks as blocks
        using unnest($1::smallint[], $2::integer[]) as places (bucket, run_sum_count_max)
        where blocks.bucket = places.bucket
            and blocks.run_sum_count <= places.run_sum_count_max
            and blocks.month = $3
        returning
            blocks.bucket,
            blocks.source_ips as "source_ips!: Elements<_>",
            blocks.domain_ids as "domain_ids!: Elements<_>",
            blocks.days as "days!: Elements<_>",
            blocks.results as "results!: Elements<_>",
            blocks.message_counts as "message_counts!: Elements<_>",
            blocks.source_report_counts as "source_report_counts: Elements<_>"
        "#,
        &buckets,
        &run_sum_counts_max,
        month.first
    )
    .fetch(connection);
    let mut sums = Vec::with_capacity(sum_count as usize);
    while let Some(block) = taken.try_next().await? {
        block.read(&mut sums);
    }
    Ok(sums)
}

/// Writes sums, a run for each bucket.
async fn write(
    connection: &mut PgConnection,
    month: Month,
    sums: &[MovedSum],
) -> Result<(), Error> {
    let row = |row: Row| block(month, row.run_sum_count, &sums[row.sums]);
    let rows = rows(sums, place).into_iter().filter_map(row);
    copy_rows(connection, "source_blocks", rows).await
}

fn block(month: Month, run_sum_count: i32, sums: &[MovedSum]) -> Option<SourceBlock> {
    let (first, last) = (sums.first()?, sums.last()?);
    let reports = sums.iter().map(|sum| sum.source_report_count);
    let differ = reports.clone().any(|count| count != 1);
    Some(SourceBlock {
        month: month.first,
        bucket: place(first),
        run_sum_count,
        first_source: first.source_ip,
        last_source: last.source_ip,
        source_ips: sums.iter().map(|sum| sum.source_ip).collect(),
        domain_ids: sums.iter().map(|sum| sum.domain_id).collect(),
        days: sums.iter().map(|sum| sum.day).collect(),
        results: sums.iter().map(|sum| sum.key as i16).collect(),
        message_counts: sums.iter().map(|sum| sum.message_count).collect(),
        source_report_counts: differ.then(|| reports.collect()),
    })
}
