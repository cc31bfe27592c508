-- Says the same as before in words that a cluster plans as well; on a single server nothing changes.
--
-- Nothing is asked of a distributed table by EXISTS without a FROM around it. Functions that take columns from further out
-- are called LATERAL.

create or replace function add_month(parent text, month date) returns void
    language plpgsql
    set lock_timeout = '500ms'
as $$
declare
    partition_name text := parent || to_char(month, '_YYYY_MM');
    default_name text := parent || '_default';
    key text := case parent when 'source_blocks' then 'month' else 'day' end;
    next_month date := (month + interval '1 month')::date;
    rows_of_month text;
    array_name text;
    are_late boolean;
begin
    perform set_config('citus.multi_shard_modify_mode', 'sequential', true);
    if to_regclass(partition_name) is not null then
        return;
    end if;
    -- Attaching locks it like this anyway, and neither readers nor writers wait behind it. Whoever waited for it sees what
    -- the one before made.
    perform set_config('lock_timeout', '5s', true);
    execute format('lock table only %I in share update exclusive mode', parent);
    if to_regclass(partition_name) is not null then
        return;
    end if;
    execute format(
        'create table %I (like %I including defaults including constraints including indexes including storage including compression) %s',
        partition_name, parent, case when parent <> 'reports' then 'with (toast_tuple_target = 256)' end);
    for array_name in
        select attname from pg_attribute where attrelid = partition_name::regclass and attnum > 0 and attstorage = 'm'
    loop
        execute format('alter table %I alter column %I set statistics 0', partition_name, array_name);
    end loop;
    perform set_config('lock_timeout', '500ms', true);
    rows_of_month := format('%I where %I >= %L and %I < %L', default_name, key, month, key, next_month);
    execute format('select count(*) > 0 from %s', rows_of_month) into are_late;
    -- A reader that has found the partitions, but not yet read them, would miss the rows that move.
    if are_late then
        execute format('lock table only %I in access exclusive mode', parent);
    end if;
    execute format('lock table %I in access exclusive mode', default_name);
    if not are_late then
        execute format('select count(*) > 0 from %s', rows_of_month) into are_late;
        if are_late then
            raise lock_not_available using message = 'rows of the month came just now';
        end if;
    end if;
    if are_late then
        execute format('create temporary table late_rows (like %I)', parent);
        execute format('insert into late_rows select * from %s', rows_of_month);
        execute format('delete from %s', rows_of_month);
    end if;
    execute format(
        'alter table %I attach partition %I for values from (%L) to (%L)', parent, partition_name, month, next_month);
    if are_late then
        execute format('insert into %I select * from late_rows', parent);
        drop table late_rows;
    end if;
end
$$;

create or replace view record_days as
with keyed as not materialized (
    select
        r.domain_id, r.report_uid, r.day, p.day_count, p.begin_at, p.end_at,
        r.source_ip, r.header_from, r.disposition, r.dkim_aligned, r.spf_aligned,
        sum(r.message_count) as message_count,
        row_number() over (
            partition by r.domain_id, r.report_uid, r.day, p.day_count, r.source_ip
            order by
                r.dkim_aligned nulls first, r.spf_aligned nulls first,
                r.disposition collate "C" nulls first, r.header_from collate "C" nulls first
        ) as source_row
    from records r
    join reports p on p.domain_id = r.domain_id and p.report_uid = r.report_uid and p.day = r.day
    group by
        r.domain_id, r.report_uid, r.day, p.day_count, p.begin_at, p.end_at,
        r.source_ip, r.header_from, r.disposition, r.dkim_aligned, r.spf_aligned
)
select
    domain_id, report_uid, day as report_day, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
    to_count(message_count) as message_count,
    1 as report_count,
    (source_row = 1)::integer as source_report_count
from keyed
where day_count = 1
union all
-- Long periods: each key is spread over the days by the seconds of the period in them, by largest remainder.
select
    domain_id, report_uid, report_day, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
    to_count(share + (place <= message_count - shares)::integer),
    1,
    (source_row = 1 and day_number = 0)::integer
from (
    select
        keyed.domain_id, keyed.report_uid, keyed.day as report_day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
        message_count, source_row, day_number, split.day, split.share,
        sum(split.share) over key as shares,
        row_number() over (key order by split.remainder desc, day_number) as place
    from keyed
    cross join lateral (
        select
            day_number,
            first_day + day_number as day,
            div(message_count * seconds, total) as share,
            mod(message_count * seconds, total) as remainder
        from (
            select
                day_number,
                first_day,
                extract(epoch from
                    least(last_at, (first_day + day_number + 1)::timestamp)
                    - greatest(first_at, (first_day + day_number)::timestamp)) as seconds,
                extract(epoch from last_at - first_at) as total
            from (
                select
                    least(begin_at, end_at) at time zone 'utc' as first_at,
                    greatest(begin_at, end_at) at time zone 'utc' as last_at,
                    (least(begin_at, end_at) at time zone 'utc')::date as first_day
            ) as period
            cross join lateral generate_series(0, day_count - 1) as day_number
        ) as part
    ) as split
    where day_count > 1
    window key as (
        partition by keyed.domain_id, keyed.report_uid, keyed.day, source_ip, header_from, disposition, dkim_aligned, spf_aligned
    )
) as spread
where share + (place <= message_count - shares)::integer > 0 or day_number = 0;
