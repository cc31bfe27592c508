//! Whether both copies of what is merged agree.

use sqlx::PgConnection;

use crate::{Error, Mismatch, retention::Forgotten};

/// Where `source_blocks` differs from `source_day_blocks`. What an answer would not find does not count as there.
/// One copy of a month is dropped before the other: such months are not compared.
pub(crate) async fn source_block_mismatches(
    connection: &mut PgConnection,
    forgotten: Forgotten,
    limit: i64,
) -> Result<Vec<Mismatch>, Error> {
    Ok(sqlx::query_as!(
        Mismatch,
        r#"
        select
            'source_blocks' as "check!",
            coalesce(d.name, '') as "domain!",
            format('%s %s', t.day, host(t.source_ip)) as "place!",
            format(
                'month %s, results %s: the rollup by source differs from the rollup by day by %s messages, %s reports of the source',
                t.month, t.results, t.messages, t.source_reports
            ) as "detail!"
        from (
            select
                month, domain_id, day, source_ip, results, sum(message_count) as messages,
                sum(source_report_count) as source_reports
            from (
                select
                    b.month, e.domain_id, e.day, e.source_ip, e.results::integer, e.message_count,
                    coalesce(e.source_report_count, 1) as source_report_count
                from source_blocks b
                cross join lateral unnest(
                    b.source_ips, b.domain_ids, b.days, b.results, b.message_counts, b.source_report_counts
                ) as e (source_ip, domain_id, day, results, message_count, source_report_count)
                where e.source_ip between b.first_source and b.last_source
                union all
                select
                    date_trunc('month', b.day::timestamp)::date,
                    b.domain_id,
                    b.day,
                    e.source_ip,
                    case k.disposition when 'none' then 9 when 'pass' then 18 when 'quarantine' then 27 when 'reject' then 36 else 0 end
                        + coalesce(1 + k.dkim_aligned::integer, 0) * 3
                        + coalesce(1 + k.spf_aligned::integer, 0),
                    -e.message_count,
                    -coalesce(e.source_report_count, 1)
                from source_day_blocks b
                cross join lateral unnest(b.source_ips, b.key_numbers, b.message_counts, b.source_report_counts)
                    as e (source_ip, key_number, message_count, source_report_count)
                join lateral rows from (
                    jsonb_to_recordset(b.keys) as (dkim_aligned boolean, spf_aligned boolean, disposition text)
                ) with ordinality as k (dkim_aligned, spf_aligned, disposition, number)
                    on k.number = e.key_number
            ) both_copies
            group by month, domain_id, day, source_ip, results
        ) t
        left join domains d on d.domain_id = t.domain_id
        where (t.messages <> 0 or t.source_reports <> 0)
            and ($2::date is null or t.day >= $2)
        order by t.domain_id, t.day, t.source_ip
        limit $1
        "#,
        limit,
        forgotten.rebuild_from
    )
    .fetch_all(connection)
    .await?)
}
