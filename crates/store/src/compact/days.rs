//! New sums go into `source_day_blocks`.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, types::Json};
use time::Date;

use crate::{
    Error,
    compact::{
        Month,
        runs::{Part, Row, Rule, Runs, batches, parts, rows},
        sums::{Keys, MovedSum, merge_by_day},
    },
    copy::{CopyRow, Fields, copy_rows},
    elements::Elements,
    query::blocks::{Block, Key},
    rollup::{SourceDayBlock, source_day_blocks},
};

/// A domain is read whole: what is there twice is added up soon.
const RULE: Rule = Rule {
    ratio: 4,
    runs_min: 1,
};

/// Domain and day.
type Place = (i64, Date);

fn place(sum: &MovedSum) -> Place {
    (sum.domain_id, sum.day)
}

/// Adds sums of one month, which are in order of domain, day and source.
pub(super) async fn merge_days(
    connection: &mut PgConnection,
    month: Month,
    new: &[MovedSum],
    keys: &mut Keys,
) -> Result<(), Error> {
    let runs = runs(connection, month, new).await?;
    let parts = parts(new, place, &runs, &RULE);
    for batch in batches(&parts) {
        let mut sums = take(connection, month, batch, new, keys).await?;
        let new = &new[batch[0].new.start..batch[batch.len() - 1].new.end];
        if sums.is_empty() {
            write(connection, new, keys).await?;
        } else {
            sums.extend_from_slice(new);
            merge_by_day(&mut sums);
            write(connection, &sums, keys).await?;
        }
    }
    Ok(())
}

/// What is stored in the places of the new sums, the smallest runs first.
async fn runs(
    connection: &mut PgConnection,
    month: Month,
    new: &[MovedSum],
) -> Result<HashMap<Place, Vec<Runs>>, Error> {
    let (domain_ids, days): (Vec<i64>, Vec<Date>) = new
        .chunk_by(|a, b| place(a) == place(b))
        .map(|sums| place(&sums[0]))
        .unzip();
    let mut stored = sqlx::query!(
        r#"
        select
            blocks.domain_id as "domain_id!",
            blocks.day as "day!",
            blocks.run_sum_count as "run_sum_count!",
            sum(blocks.sum_count) as "sum_count!"
        from source_day_blocks as blocks
        join unnest($1::bigint[], $2::date[]) as places (domain_id, day)
            on blocks.domain_id = places.domain_id
            and blocks.day = places.day
        where blocks.day between $3 and $4
        group by blocks.domain_id, blocks.day, blocks.run_sum_count
        order by blocks.run_sum_count
        "#,
        &domain_ids,
        &days,
        month.first,
        month.last
    )
    .fetch(connection);
    let mut runs: HashMap<Place, Vec<Runs>> = HashMap::new();
    while let Some(row) = stored.try_next().await? {
        runs.entry((row.domain_id, row.day))
            .or_default()
            .push(Runs {
                run_sum_count: row.run_sum_count,
                sum_count: row.sum_count,
            });
    }
    Ok(runs)
}

/// Takes the runs out that the parts are merged with.
async fn take(
    connection: &mut PgConnection,
    month: Month,
    parts: &[Part],
    new: &[MovedSum],
    keys: &mut Keys,
) -> Result<Vec<MovedSum>, Error> {
    let (mut domain_ids, mut days, mut run_sum_counts_max) = (Vec::new(), Vec::new(), Vec::new());
    let mut sum_count = 0;
    for part in parts.iter().filter(|part| part.merged.sum_count > 0) {
        let (domain_id, day) = place(&new[part.new.start]);
        domain_ids.push(domain_id);
        days.push(day);
        run_sum_counts_max.push(part.merged.run_sum_count_max);
        sum_count += part.merged.sum_count + part.new.len() as i64;
    }
    if sum_count == 0 {
        return Ok(Vec::new());
    }
    let mut taken = sqlx::query_as!(
        Block,
        r#"
        delete from source_day_blocks as blocks
        using unnest($1::bigint[], $2::date[], $3::integer[]) as places (domain_id, day, run_sum_count_max)
        where blocks.domain_id = places.domain_id
            and blocks.day = places.day
            and blocks.run_sum_count <= places.run_sum_count_max
            and blocks.day between $4 and $5
        returning
            blocks.domain_id,
            blocks.day,
            blocks.source_ips as "source_ips!: Elements<_>",
            blocks.key_numbers as "key_numbers!: Elements<_>",
            blocks.message_counts as "message_counts!: Elements<_>",
            blocks.report_counts as "report_counts: Elements<_>",
            blocks.source_report_counts as "source_report_counts: Elements<_>",
            blocks.keys as "keys!: Json<Vec<Key>>"
        "#,
        &domain_ids,
        &days,
        &run_sum_counts_max,
        month.first,
        month.last
    )
    .fetch(connection);
    let mut sums = Vec::with_capacity(sum_count as usize);
    while let Some(block) = taken.try_next().await? {
        keys.read(&block, &mut sums)?;
    }
    Ok(sums)
}

/// Writes sums, a run for each place.
async fn write(connection: &mut PgConnection, sums: &[MovedSum], keys: &Keys) -> Result<(), Error> {
    let row = |row: Row| MergedRow::new(row.run_sum_count, &sums[row.sums], keys);
    let rows = rows(sums, place).into_iter().filter_map(row);
    copy_rows(connection, "source_day_blocks", rows).await
}

/// A row of `source_day_blocks`.
struct MergedRow<'a> {
    run_sum_count: i32,
    block: SourceDayBlock<'a>,
}

impl<'a> MergedRow<'a> {
    fn new(run_sum_count: i32, sums: &[MovedSum], keys: &'a Keys) -> Option<Self> {
        let (domain_id, day) = place(sums.first()?);
        let sums: Vec<_> = sums.iter().map(|sum| keys.sum(sum)).collect();
        let block = source_day_blocks(domain_id, day, &sums).next()?;
        Some(Self {
            run_sum_count,
            block,
        })
    }
}

impl CopyRow for MergedRow<'_> {
    const COLUMNS: &'static [&'static str] = &{
        let mut columns = ["run_sum_count"; SourceDayBlock::COLUMNS.len() + 1];
        let (_, others) = columns.split_at_mut(1);
        others.copy_from_slice(SourceDayBlock::COLUMNS);
        columns
    };

    fn encode(&self, fields: &mut Fields) {
        fields.value(self.run_sum_count);
        self.block.encode(fields);
    }
}
