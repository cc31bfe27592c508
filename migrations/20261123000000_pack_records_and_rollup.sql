-- Records and the rollup are kept in blocks: one row holds many records, column by column in arrays. A row of its own
-- costs PostgreSQL some 30 bytes and an index entry before it holds anything; in a block a record costs a tenth of that
-- to write and to keep. The views records and source_days show what is in the blocks row by row.
--
-- What a block holds once is json: it is read as a whole, takes two thirds of the space of jsonb once compressed, and half of
-- the time to write.
--
-- reports, records and the rollup are partitioned by month, so that what is kept for a time is forgotten by a DROP.

drop view record_days;
drop view source_day_counts;
drop function add_records_month(date);
alter table records rename to old_records;
alter index records_by_report rename to old_records_by_report;
drop table source_days;
alter table reports rename to old_reports;
alter table old_reports rename constraint reports_pkey to old_reports_pkey;
alter index reports_by_domain_day rename to old_reports_by_domain_day;
alter index reports_by_day rename to old_reports_by_day;
alter index reports_not_authentic rename to old_reports_not_authentic;

create table reports (like old_reports including defaults including constraints including comments)
    partition by range (day);
-- The day follows from the key that report_uid is made of: with it the id is no less unique.
alter table reports add constraint reports_pkey primary key (report_uid, domain_id, day);
create index reports_by_domain_day on reports (domain_id, day, report_uid);
create index reports_by_day on reports (day, report_uid);
create index reports_not_authentic on reports (day, report_uid) where not mail_dmarc_pass;
-- The few that count for other days than their own: asked for before their records are dropped, and by source.
create index reports_long on reports (day, domain_id) where day_count > 1;
create table reports_default partition of reports default;
comment on table reports is
    'One row per aggregate report (one <feedback> document), stored exactly once. Partitioned by month of day; implausible days are in reports_default.';

create table record_blocks (
    domain_id bigint not null,
    report_uid uuid not null,
    day date not null,
    first_position integer not null,
    source_ips inet[] not null,
    message_counts bigint[] not null,
    result_numbers smallint[] not null,
    positions integer[],
    results json not null
) partition by range (day);
create index record_blocks_by_report on record_blocks (report_uid, first_position);
comment on table record_blocks is
    'Up to 1,000 consecutive records of one report: the n-th element of each array belongs to the n-th of them. Read the view records. Partitioned by month of day; implausible days are in record_blocks_default.';
comment on column record_blocks.day is 'reports.day of its report.';
comment on column record_blocks.first_position is 'Position of the first record.';
comment on column record_blocks.result_numbers is 'Which of results belongs to the record, from 1.';
comment on column record_blocks.positions is 'Positions of the records; null when none is missing in between.';
comment on column record_blocks.results is 'Everything else about the records, each combination once: objects with columns of the view records.';

-- What record_blocks.results holds, row by row, with its number. json_to_recordset is only called stable because there are
-- types whose text depends on settings; these do not, and a cluster sends none but immutable functions to many nodes.
-- PostgreSQL puts the body in place of the call.
create function record_results(results json)
    returns table (
        dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text, envelope_from text, envelope_to text,
        reasons jsonb, dkim jsonb, spf jsonb, odd_values jsonb, number bigint
    )
    language sql immutable parallel safe
as $$
    select
        r.dkim_aligned, r.spf_aligned, r.disposition, r.header_from, r.envelope_from, r.envelope_to,
        r.reasons, r.dkim, r.spf, r.odd_values, r.number
    from rows from (
        json_to_recordset(results) as (
            dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text, envelope_from text,
            envelope_to text, reasons jsonb, dkim jsonb, spf jsonb, odd_values jsonb
        )
    ) with ordinality as r (
            dkim_aligned, spf_aligned, disposition, header_from, envelope_from,
            envelope_to, reasons, dkim, spf, odd_values, number
        )
$$;

create view records as
select
    b.domain_id,
    e.message_count,
    coalesce(e.position, b.first_position + e.number::integer - 1) as position,
    b.day,
    b.report_uid,
    r.dkim_aligned,
    r.spf_aligned,
    e.source_ip,
    r.disposition,
    r.header_from,
    r.envelope_from,
    r.envelope_to,
    r.reasons,
    r.dkim,
    r.spf,
    r.odd_values
from record_blocks b
cross join lateral unnest(b.source_ips, b.message_counts, b.result_numbers, b.positions)
    with ordinality as e (source_ip, message_count, result_number, position, number)
join lateral record_results(b.results) r
    on r.number = e.result_number;
comment on view records is 'One row per <record>: messages of one source with the same results.';
comment on column records.message_count is '<count>: a number of messages.';
comment on column records.position is 'Number of the <record> element in its report, from 0.';
comment on column records.day is 'reports.day of its report.';
comment on column records.dkim_aligned is 'policy_evaluated/dkim is pass; null when the reporter did not say.';
comment on column records.spf_aligned is 'policy_evaluated/spf is pass; null when the reporter did not say.';
comment on column records.disposition is 'none, pass (RFC 9990), quarantine or reject; null when the reporter did not say.';
comment on column records.reasons is 'Override reasons: objects with type and comment.';
comment on column records.dkim is 'Raw DKIM results, aligned or not: objects with domain, selector, result, human_result.';
comment on column records.spf is 'Raw SPF results, aligned or not: objects with domain, scope, result, human_result.';
comment on column records.odd_values is 'Values outside the report format, as written: objects with element and text.';

-- The rollup. What is stored is appended to source_day_arrivals in the transaction of its report; in the background it is
-- moved from there, in one transaction, into source_day_blocks and source_blocks. The rollup is arrivals and blocks together.
create table source_day_arrivals (
    domain_id bigint not null,
    day date not null,
    first_source inet not null,
    last_source inet not null,
    sum_count integer not null,
    source_report_count bigint not null,
    message_count bigint not null,
    dmarc_pass_count bigint not null,
    dkim_aligned_count bigint not null,
    spf_aligned_count bigint not null,
    disposition_none bigint not null,
    disposition_pass bigint not null,
    disposition_quarantine bigint not null,
    disposition_reject bigint not null,
    disposition_unknown bigint not null,
    source_ips inet[] not null,
    key_numbers smallint[] not null,
    message_counts bigint[] not null,
    report_counts integer[],
    source_report_counts integer[],
    keys json not null
);
create index source_day_arrivals_by_domain_day on source_day_arrivals (domain_id, day);
comment on table source_day_arrivals is
    'The newest part of the rollup: sums of messages by source and results, of one domain and UTC day, in order of source. The n-th element of each array belongs to the n-th sum; several sums may have the same key. Read the view source_days.';
comment on column source_day_arrivals.sum_count is 'Sums in this row.';
comment on column source_day_arrivals.source_report_count is 'Sum of source_report_counts, as message_count and what follows are totals of this row.';
comment on column source_day_arrivals.key_numbers is 'Which of keys belongs to the sum, from 1.';
comment on column source_day_arrivals.report_counts is 'Reports in each sum; null when each is 1.';
comment on column source_day_arrivals.source_report_counts is
    'Reports that are counted for their source in each sum: each report once per source, on the first of its days; null when each is 1.';
comment on column source_day_arrivals.keys is 'header_from, disposition, dkim_aligned and spf_aligned, each combination once.';

create table source_day_blocks (
    like source_day_arrivals including comments,
    run_sum_count integer not null
) partition by range (day);
create index source_day_blocks_by_domain_day on source_day_blocks (domain_id, day);
comment on table source_day_blocks is
    'The rollup by domain and day: rows as in source_day_arrivals, merged. Partitioned by month of day; implausible days are in source_day_blocks_default.';
comment on column source_day_blocks.run_sum_count is
    'Sums in the rows that were written together for this domain and day. Such rows do not overlap; they are merged with others, and so replaced, together.';

create table source_blocks (
    month date not null,
    bucket smallint not null,
    run_sum_count integer not null,
    first_source inet not null,
    last_source inet not null,
    sum_count integer not null,
    source_ips inet[] not null,
    domain_ids bigint[] not null,
    days date[] not null,
    results smallint[] not null,
    message_counts bigint[] not null,
    source_report_counts integer[]
) partition by range (month);
create index source_blocks_by_bucket on source_blocks (bucket, month);
comment on table source_blocks is
    'The same sums as in source_day_blocks once more, by source: for questions about one address over all domains. Partitioned by month; implausible days are in source_blocks_default.';
comment on column source_blocks.month is 'First day of the month that days are in.';
comment on column source_blocks.bucket is 'Which of 256 parts the sources belong to, by a hash of the address.';
comment on column source_blocks.source_report_counts is 'As in source_day_arrivals; null when each is 1.';
comment on column source_blocks.results is
    'disposition * 9 + dkim_aligned * 3 + spf_aligned, where disposition is 0 unknown, 1 none, 2 pass, 3 quarantine, 4 reject, and alignment is 0 unknown, 1 false, 2 true.';

-- A block stays in its row as long as it fits into a page, compressed as far as that goes. Nobody asks for statistics of
-- arrays, which take most of the time of an ANALYZE.
do $$
declare
    place record;
begin
    for place in
        select attrelid::regclass as name, attname
        from pg_attribute
        where attrelid in ('record_blocks'::regclass, 'source_day_blocks'::regclass, 'source_blocks'::regclass)
            and attnum > 0
            and attstorage = 'x'
    loop
        execute format('alter table %s alter column %I set storage main', place.name, place.attname);
    end loop;
end
$$;

-- lz4 costs a quarter of the time of PostgreSQL's own method, where the server has it.
do $$
declare
    place record;
begin
    for place in
        select attrelid::regclass as name, attname
        from pg_attribute
        where attrelid in (
                'record_blocks'::regclass, 'source_day_arrivals'::regclass,
                'source_day_blocks'::regclass, 'source_blocks'::regclass
            )
            and attnum > 0
            and attstorage in ('m', 'x')
    loop
        execute format('alter table %s alter column %I set compression lz4', place.name, place.attname);
    end loop;
exception
    when feature_not_supported then
        raise notice 'this server has no lz4';
end
$$;

create table record_blocks_default partition of record_blocks default with (toast_tuple_target = 256);
create table source_day_blocks_default partition of source_day_blocks default with (toast_tuple_target = 256);
create table source_blocks_default partition of source_blocks default with (toast_tuple_target = 256);

create view source_day_rows as
select
    domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
    dkim_aligned_count, spf_aligned_count,
    disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
    source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
from source_day_arrivals
union all
select
    domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
    dkim_aligned_count, spf_aligned_count,
    disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
    source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
from source_day_blocks;
comment on view source_day_rows is 'The rollup as it is kept: source_day_arrivals and source_day_blocks together.';

-- What answers about a domain without its sources are made of.
create view source_day_totals as
select
    domain_id, day, sum_count, source_report_count, message_count, dmarc_pass_count, dkim_aligned_count, spf_aligned_count,
    disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown
from source_day_rows;
comment on view source_day_totals is
    'Messages by domain and UTC day, without their sources. Several rows may have the same domain and day, so always sum.';

-- What source_day_arrivals.keys holds, row by row, with its number; like record_results.
create function sum_keys(keys json)
    returns table (dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text, number bigint)
    language sql immutable parallel safe
as $$
    select k.dkim_aligned, k.spf_aligned, k.disposition, k.header_from, k.number
    from rows from (
        json_to_recordset(keys) as (dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text)
    ) with ordinality as k (dkim_aligned, spf_aligned, disposition, header_from, number)
$$;

create view source_days as
select
    b.domain_id,
    e.message_count,
    b.day,
    coalesce(e.report_count, 1) as report_count,
    coalesce(e.source_report_count, 1) as source_report_count,
    k.dkim_aligned,
    k.spf_aligned,
    e.source_ip,
    k.disposition,
    k.header_from
from source_day_rows b
cross join lateral unnest(b.source_ips, b.key_numbers, b.message_counts, b.report_counts, b.source_report_counts)
    as e (source_ip, key_number, message_count, report_count, source_report_count)
join lateral sum_keys(b.keys) k
    on k.number = e.key_number;
comment on view source_days is
    'The rollup: messages by domain, UTC day, source, header_from and results. Rows are partial sums: several may have the same key, so always sum.';
comment on column source_days.report_count is 'Reports in this row.';
comment on column source_days.source_report_count is
    'Reports that are counted for their source_ip in this row: each report once per source, on the first of its days. Its sum is the number of reports that name a source.';

-- What source_days must hold, from the records: the definition of the rollup. ruad verify compares the two, ruad rebuild
-- and reports too large for memory fill the rollup from here.
create view record_days as
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
            cross join generate_series(0, day_count - 1) as day_number
        ) as part
    ) as split
    where day_count > 1
    window key as (
        partition by keyed.domain_id, keyed.report_uid, keyed.day, source_ip, header_from, disposition, dkim_aligned, spf_aligned
    )
) as spread
where share + (place <= message_count - shares)::integer > 0 or day_number = 0;
comment on view record_days is 'What source_days holds, report by report, computed from records.';

-- Adds the partition of one of the tables for the month that begins on this day, with what the default partition holds of
-- it. May be called again and by several processes at once. It is attached rather than created in place, so that it waits
-- for no transaction that writes other months. It needs the default partition for itself: where others do not let go of
-- that, it gives up (55P03) rather than have everybody else wait behind it.
--
-- On a cluster, attaching makes the parts of the partition on all nodes, which must be empty then and over one connection
-- to each node, lest the function wait for itself. What the default partition holds of the month is put aside meanwhile.
create function add_month(parent text, month date) returns void
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
    execute format('select exists (select from %s)', rows_of_month) into are_late;
    -- A reader that has found the partitions, but not yet read them, would miss the rows that move.
    if are_late then
        execute format('lock table only %I in access exclusive mode', parent);
    end if;
    execute format('lock table %I in access exclusive mode', default_name);
    if not are_late then
        execute format('select exists (select from %s)', rows_of_month) into are_late;
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

-- Drops the partition of one of the tables for the month that begins on this day; false if there is none. It gives up like
-- add_month: nobody waits for it longer than the time that it waits itself.
create function drop_month(parent text, month date) returns boolean
    language plpgsql
    set lock_timeout = '500ms'
as $$
declare
    partition_name text := parent || to_char(month, '_YYYY_MM');
begin
    perform set_config('citus.multi_shard_modify_mode', 'sequential', true);
    if to_regclass(partition_name) is null then
        return false;
    end if;
    -- In the order in which readers and writers lock them.
    execute format('lock table only %I in access exclusive mode', parent);
    if to_regclass(partition_name) is null then
        return false;
    end if;
    execute format('drop table %I', partition_name);
    return true;
end
$$;

-- Deletes the earliest days before this one from a table, so many that they have up to rows_max rows, or one day: what
-- belongs to a report is deleted at once. For tables that hold few rows of such days, as default partitions do.
create function delete_days(table_name text, before date, rows_max bigint, out first_day date, out last_day date, out deleted_count bigint)
    language plpgsql
as $$
declare
    key text := case table_name when 'source_blocks_default' then 'month' else 'day' end;
begin
    execute format(
        $sql$
        select min(key), max(key)
        from (
            select %I as key, sum(count(*)) over (order by %I) as total, row_number() over (order by %I) as place
            from %I
            where %I < %L
            group by %I
        ) as days
        where total <= %s or place = 1
        $sql$,
        key, key, key, table_name, key, before, key, rows_max)
    into first_day, last_day;
    execute format('delete from %I where %I between %L and %L', table_name, key, first_day, last_day);
    get diagnostics deleted_count = row_count;
end
$$;

create table forgotten (
    kind text not null,
    before date not null,
    constraint forgotten_pkey primary key (kind),
    constraint forgotten_kind_check check (kind in ('records', 'days', 'rebuild'))
);
comment on table forgotten is 'What was dropped because of its age: one row for each kind of it.';
comment on column forgotten.kind is
    'records: the records of reports. days: reports and the rollup. rebuild: nothing is dropped, but the rollup holds messages whose records are, and cannot be made from records any more.';
comment on column forgotten.before is 'It is so for the days before this one, except for what arrived since.';

-- What is there already.

do $$
declare
    month date;
begin
    for month in
        select to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM')
        from pg_inherits
        where inhparent = 'old_records'::regclass
            and inhrelid::regclass::text ~ '_\d{4}_\d{2}$'
    loop
        perform add_month(parent, month) from unnest(array['reports', 'record_blocks', 'source_day_blocks', 'source_blocks']) as parent;
    end loop;
end
$$;

insert into reports select * from old_reports;
drop table old_reports;

insert into record_blocks (
    domain_id, report_uid, day, first_position, source_ips, message_counts, result_numbers, positions, results
)
select
    domain_id,
    report_uid,
    day,
    min(position),
    array_agg(source_ip order by position),
    array_agg(message_count order by position),
    array_agg(result_number::smallint order by position),
    case when max(position) - min(position) >= count(*) then array_agg(position order by position) end,
    jsonb_agg(distinct result order by result)::json
from (
    select *, dense_rank() over (partition by domain_id, report_uid, day, block order by result) as result_number
    from (
        select
            domain_id, report_uid, day, position, source_ip, message_count,
            (row_number() over (partition by domain_id, report_uid, day order by position) - 1) / 1000 as block,
            jsonb_strip_nulls(jsonb_build_object(
                'dkim_aligned', dkim_aligned, 'spf_aligned', spf_aligned, 'disposition', disposition,
                'header_from', header_from, 'envelope_from', envelope_from, 'envelope_to', envelope_to,
                'reasons', reasons, 'dkim', dkim, 'spf', spf, 'odd_values', odd_values
            )) as result
        from old_records
    ) as numbered
) as ranked
group by domain_id, report_uid, day, block;
drop table old_records;
-- Without statistics the views join each block with itself in the slowest way.
analyze reports;
analyze record_blocks;

insert into source_day_arrivals (
    domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
    dkim_aligned_count, spf_aligned_count,
    disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
    source_ips, key_numbers, message_counts, report_counts, source_report_counts, keys
)
select
    domain_id,
    day,
    min(source_ip),
    max(source_ip),
    count(*),
    sum(source_report_count),
    to_count(sum(message_count)),
    to_count(coalesce(sum(message_count) filter (where dkim_aligned or spf_aligned), 0)),
    to_count(coalesce(sum(message_count) filter (where dkim_aligned), 0)),
    to_count(coalesce(sum(message_count) filter (where spf_aligned), 0)),
    to_count(coalesce(sum(message_count) filter (where disposition = 'none'), 0)),
    to_count(coalesce(sum(message_count) filter (where disposition = 'pass'), 0)),
    to_count(coalesce(sum(message_count) filter (where disposition = 'quarantine'), 0)),
    to_count(coalesce(sum(message_count) filter (where disposition = 'reject'), 0)),
    to_count(coalesce(sum(message_count) filter (where disposition is null), 0)),
    array_agg(source_ip order by source_ip, place),
    array_agg(key_number::smallint order by source_ip, place),
    array_agg(message_count order by source_ip, place),
    array_agg(report_count order by source_ip, place),
    array_agg(source_report_count order by source_ip, place),
    jsonb_agg(distinct key order by key)::json
from (
    select *, dense_rank() over (partition by domain_id, day, block order by key) as key_number
    from (
        select
            *,
            (place - 1) / 2000 as block,
            jsonb_strip_nulls(jsonb_build_object(
                'dkim_aligned', dkim_aligned, 'spf_aligned', spf_aligned, 'disposition', disposition, 'header_from', header_from
            )) as key
        from (
            select *, row_number() over (partition by domain_id, day order by source_ip) as place
            from (
                select
                    domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
                    to_count(sum(message_count)) as message_count,
                    sum(report_count)::integer as report_count,
                    sum(source_report_count)::integer as source_report_count
                from record_days
                group by domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned
            ) as sums
        ) as placed
    ) as keyed
) as ranked
group by domain_id, day, block;

-- The ledger: what is common is found on any page of it.
drop index deliveries_by_outcome;
create index deliveries_by_outcome on deliveries (outcome, delivery_id) where outcome <> 'stored';
