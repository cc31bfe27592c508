-- Fills one month, the psql variable month. Several months may be filled at a time.

set synchronous_commit = off;
set max_parallel_workers_per_gather = 0;
set synchronize_seqscans = off;
set jit = off;
set work_mem = '1GB';
set temp_buffers = '256MB';

begin;
-- Emptied in this transaction, so that a server with wal_level = minimal need not log what goes in.
select format('truncate %s', string_agg(parent || to_char(:'month'::date, '_YYYY_MM'), ', '))
from (values ('reports'), ('record_blocks'), ('source_day_blocks'), ('source_blocks')) as tables (parent)
\gexec

-- The reports in order of arrival: by day, and in no order within one.
create temporary table arriving on commit drop as
select
    d.domain_id,
    d.rank,
    d.name,
    d.host_count,
    m.first_day + ((number * 400 + d.phase) / d.report_count)::integer as day,
    d.domain_id << 32 | number as key,
    number,
    chance,
    (chance >> 40 & 1023) * (chance >> 50 & 1023) * d.host_count / 1046529 as busy
from bench.months m
cross join bench.domains d
cross join lateral generate_series(
    greatest(0, (m.first_number * d.report_count - d.phase + 399) / 400),
    least(d.report_count, (m.next_number * d.report_count - d.phase + 399) / 400) - 1
) as number
cross join lateral (select hashint8extended(number, d.domain_id) & 9223372036854775807 as chance offset 0) as drawn
where m.month = :'month'
order by 5, 8;

create temporary table filled on commit drop as
select
    r.*,
    md5(key::text)::uuid as report_uid,
    size,
    list_length,
    records.*
from arriving r
cross join lateral (
    select case r.rank when 0 then 25 else 1 + (r.chance >> 3 & 1023) % 49 end as size
) as sized
cross join lateral (select 6 * (1 + least(2, size / 12)) as list_length) as listed
cross join lateral (
    select
        array_agg(address) as addresses,
        array_agg(key_number) as key_numbers,
        array_agg((key_number + 6 * ((chance_of_record >> 8 & 3) % (list_length / 6)))::smallint) as result_numbers,
        array_agg(message_count) as message_counts,
        sum(message_count)::bigint as message_count,
        coalesce(sum(message_count) filter (where key_number <= 3), 0)::bigint as dmarc_pass_count
    from (
        select
            case when host & 7 = 0 then 4294967296 else 0 end + (host * 2654435761 & 4294967295) as address,
            -- Most hosts nearly always have the same results.
            ('{1,1,1,1,1,1,1,2,2,2,3,4,4,5,5,6}'::smallint[])[
                1 + (case chance_of_record & 3 when 0 then chance_of_record >> 4 else hashint8(host) end & 15)
            ] as key_number,
            (1 + (chance_of_record >> 12 & 7) * (chance_of_record >> 15 & 7))::bigint as message_count,
            chance_of_record
        from (
            -- Without "offset 0" each mention of a column further up would compute it again.
            select host, hashint8(host # r.chance) as chance_of_record
            from (
                select case
                    when r.rank = 0 and position > 0 then 16777216 + r.number * 25 + position
                    -- Large mailers, which all domains share.
                    when position & 7 = 0 then ((r.chance >> 5 & 255) + (position >> 3)) % 20
                    -- Whoever passes by.
                    when position & 7 = 7 then 8388608 + ((r.chance >> 20) + position * 7919 & 4194303)
                    -- Hosts of its own, some busier than others.
                    else 4096 * (r.rank + 1) + (r.busy + position) % r.host_count
                end as host
                from generate_series(0, size - 1) as position
                offset 0
            ) as drawn
            offset 0
        ) as chosen
    ) as drawn
) as records;
analyze filled (day);

insert into reports (
    domain_id, report_uid, delivery_id, received_at, org_name, report_id, begin_at, end_at, day, day_count,
    record_count, skipped_count, message_count, dmarc_pass_count, content_sha256,
    p, sp, adkim, aspf, pct, version, email, errors, warnings
)
select
    domain_id,
    report_uid,
    -- Version 7: the milliseconds of the receipt first.
    (
        lpad(to_hex(extract(epoch from day)::bigint * 1000 + 93600000 + (chance & 33554431)), 12, '0')
        || '7' || substr(md5(key::text || 'd'), 1, 3) || 'a' || substr(md5(key::text || 'd'), 4, 15)
    )::uuid,
    day::timestamp at time zone 'utc' + interval '26 hours' + (chance & 33554431) * interval '1 millisecond',
    format('reporter-%s.example', chance % 30),
    number || '.' || day,
    day::timestamp at time zone 'utc',
    day::timestamp at time zone 'utc' + interval '86399 seconds',
    day,
    1,
    size,
    0,
    message_count,
    dmarc_pass_count,
    sha256(int8send(key)),
    'quarantine',
    'none',
    'r',
    'r',
    100,
    '1.0',
    format('dmarc@reporter-%s.example', chance % 30),
    '{}',
    '[]'
from filled;

-- Each report came alone; a few deliveries were the same once more, and a few were no report.
insert into deliveries (delivery_id, received_at, size_bytes, origin, outcome, name, sha256, documents)
select
    case copy when 0 then delivery_id else overlay(delivery_id::text placing left(md5(delivery_id::text || copy), 12) from 25)::uuid end,
    received_at,
    1200 + record_count * 40,
    case hashint8(message_count) & 63 when 0 then 'file' when 1 then 'http' else 'imap:dmarc' end,
    case copy when 0 then 'stored' when 1 then 'duplicate' else 'rejected' end,
    format('INBOX/%s', message_count),
    sha256(content_sha256),
    jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'outcome', case copy when 0 then 'stored' when 1 then 'duplicate' else 'rejected' end,
        'report_uid', case when copy < 2 then report_uid end,
        'code', case when copy = 2 then 'truncated' end,
        'path', format('%s!%s!%s.xml.gz', r.org_name, d.name, r.report_id),
        'org_name', r.org_name,
        'domain', d.name,
        'report_id', r.report_id,
        'record_count', record_count,
        'skipped_count', 0,
        'message_count', message_count
    )))
from reports r
join bench.domains d on d.domain_id = r.domain_id
cross join lateral (values (0), (1), (2)) as copies (copy)
where r.day >= :'month'
    and r.day < :'month'::date + interval '1 month'
    and (copy = 0 or (copy = 1 and get_byte(content_sha256, 0) < 5) or (copy = 2 and get_byte(content_sha256, 1) = 0));

insert into record_blocks (domain_id, report_uid, day, first_position, source_ips, message_counts, result_numbers, results)
select
    f.domain_id,
    f.report_uid,
    f.day,
    0,
    (select array_agg(bench.address(number) order by place) from unnest(f.addresses) with ordinality as a (number, place)),
    f.message_counts,
    f.result_numbers,
    -- Blanks as ruad writes them, so that PostgreSQL compresses small rows too.
    case
        when f.size < 3 or octet_length(l.results::text) >= 2032 - 22 * f.size then l.results
        else (l.results::text || repeat(' ', 2032 - 22 * f.size::integer - octet_length(l.results::text)))::json
    end
from filled f
join bench.lists l on l.domain_id = f.domain_id and l.length = f.list_length;

-- A number for each sum that is in the order wanted: day of the month, domain, address and key.
create temporary table sums on commit drop as
select
    place >> 36 as day_of_domain,
    place & 68719476735 as address_and_key,
    message_count,
    report_count
from (
    select
        (extract(day from day)::bigint << 47) | (domain_id << 36) | (r.address << 3) | r.key_number as place,
        sum(r.message_count)::bigint as message_count,
        count(*)::integer as report_count
    from filled f
    cross join lateral unnest(f.addresses, f.key_numbers, f.message_counts) as r (address, key_number, message_count)
    group by place
) as added
order by place;
analyze sums;

insert into source_day_blocks (
    domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
    dkim_aligned_count, spf_aligned_count,
    disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
    source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys, run_sum_count
)
select
    b.domain_id, day, source_ips[1], source_ips[sum_count], sum_count, source_report_count, message_count, dmarc_pass_count,
    dkim_aligned_count, spf_aligned_count, disposition_none, 0, disposition_quarantine, disposition_reject, 0,
    source_ips, key_numbers, message_counts,
    case when source_report_count > sum_count then report_counts end,
    case when source_report_count > sum_count then report_counts end,
    keys,
    run_sum_count
from (
    select
        day_of_domain & 2047 as domain_id,
        :'month'::date + (day_of_domain >> 11)::integer - 1 as day,
        count(*)::integer as sum_count,
        (sum(count(*)) over (partition by day_of_domain))::integer as run_sum_count,
        sum(report_count)::bigint as source_report_count,
        sum(message_count)::bigint as message_count,
        coalesce(sum(message_count) filter (where key_number <= 3), 0)::bigint as dmarc_pass_count,
        coalesce(sum(message_count) filter (where key_number <= 2), 0)::bigint as dkim_aligned_count,
        coalesce(sum(message_count) filter (where key_number in (1, 3)), 0)::bigint as spf_aligned_count,
        coalesce(sum(message_count) filter (where key_number in (1, 2, 3, 6)), 0)::bigint as disposition_none,
        coalesce(sum(message_count) filter (where key_number = 4), 0)::bigint as disposition_quarantine,
        coalesce(sum(message_count) filter (where key_number = 5), 0)::bigint as disposition_reject,
        array_agg(bench.address(address_and_key >> 3)) as source_ips,
        array_agg(key_number) as key_numbers,
        array_agg(message_count) as message_counts,
        array_agg(report_count) as report_counts
    from (
        select
            *,
            (address_and_key & 7)::smallint as key_number,
            (row_number() over (partition by day_of_domain order by address_and_key) - 1) / 2000 as block
        from sums
        order by day_of_domain, block, address_and_key
    ) as placed
    group by day_of_domain, block
) as b
join bench.key_lists k on k.domain_id = b.domain_id;

insert into source_blocks (
    month, bucket, first_source, last_source, sum_count, source_ips, domain_ids, days, results, message_counts,
    source_report_counts, run_sum_count
)
select
    :'month', bucket, source_ips[1], source_ips[sum_count], sum_count, source_ips, domain_ids, days, results, message_counts,
    report_counts, run_sum_count
from (
    select
        bucket,
        count(*)::integer as sum_count,
        (sum(count(*)) over (partition by bucket))::integer as run_sum_count,
        array_agg(bench.address(address)) as source_ips,
        array_agg(rest >> 8 & 2047) as domain_ids,
        array_agg(:'month'::date + (rest >> 3 & 31)::integer - 1) as days,
        array_agg(('{17,16,14,31,40,13}'::smallint[])[rest & 7]) as results,
        array_agg(message_count) as message_counts,
        array_agg(report_count) as report_counts
    from (
        select *, (row_number() over (partition by bucket order by address, rest) - 1) / 2000 as block
        from (
            select
                bench.bucket(address_and_key >> 3) as bucket,
                address_and_key >> 3 as address,
                -- Domain, day and key.
                ((day_of_domain & 2047) << 8) | (day_of_domain >> 11 << 3) | (address_and_key & 7) as rest,
                message_count,
                report_count
            from sums
        ) as hashed
        order by bucket, block, address, rest
    ) as placed
    group by bucket, block
) as b;
commit;
