-- Reports, their records and the rollup that every summary is answered from.
--
-- Keys are made so that the tables distribute by domain_id unchanged; therefore no foreign keys between them.

create table domains (
    domain_id bigint generated always as identity primary key,
    name text not null,
    created_at timestamptz not null default now(),
    constraint domains_name_key unique (name)
);
comment on table domains is 'One row per policy domain, created on first sight.';
comment on column domains.name is 'Lower case, without trailing dot.';

create table reports (
    domain_id bigint not null,
    report_uid uuid not null,
    delivery_id uuid not null,
    received_at timestamptz not null,
    org_name text not null,
    report_id text not null,
    begin_at timestamptz not null,
    end_at timestamptz not null,
    day date not null,
    day_count integer not null,
    record_count bigint not null,
    skipped_count bigint not null,
    message_count bigint not null,
    dmarc_pass_count bigint not null,
    content_sha256 bytea not null,
    domain_as_reported text,
    p text,
    sp text,
    np text,
    adkim text,
    aspf text,
    pct smallint,
    fo text,
    testing boolean,
    discovery_method text,
    version text,
    xml_namespace text,
    email text,
    extra_contact_info text,
    generator text,
    errors text[] not null,
    warnings jsonb not null,
    constraint reports_pkey primary key (report_uid, domain_id),
    constraint reports_day_count_check check (day_count >= 1)
);
create index reports_by_domain_day on reports (domain_id, day, report_uid);
create index reports_by_day on reports (day, report_uid);
comment on table reports is 'One row per aggregate report (one <feedback> document), stored exactly once.';
comment on column reports.report_uid is
    'First 128 bits of a SHA-256 over the key of a report: policy domain, org_name, report_id without one pair of <>, begin and end.';
comment on column reports.delivery_id is 'The delivery that brought the report.';
comment on column reports.org_name is 'The reporter; where the report leaves it empty, the domain of its email.';
comment on column reports.report_id is 'As reported, trimmed.';
comment on column reports.begin_at is 'Begin of the reporting period, as reported.';
comment on column reports.end_at is 'End of the reporting period, as reported: its last second or the first after it.';
comment on column reports.day is 'UTC day that contains the middle of the period.';
comment on column reports.day_count is
    'Over how many UTC days source_days spreads the messages: 1, unless the period is longer than 27 hours.';
comment on column reports.record_count is '<record> elements in the report, skipped ones included.';
comment on column reports.skipped_count is 'Records that could not be stored; warnings and the quarantine tell why.';
comment on column reports.message_count is 'Sum of <count> over the stored records.';
comment on column reports.dmarc_pass_count is 'The part of message_count with an aligned DKIM or SPF pass.';
comment on column reports.content_sha256 is 'SHA-256 of the decompressed XML: tells a duplicate from a conflict.';
comment on column reports.domain_as_reported is 'The policy domain as written, where domains.name differs.';
comment on column reports.p is 'Policy published for the domain: none, quarantine, reject; null when the report does not say.';
comment on column reports.sp is 'Policy for subdomains; null means that of p.';
comment on column reports.np is 'Policy for subdomains that do not exist; null means that of sp.';
comment on column reports.adkim is 'DKIM alignment mode: r (relaxed, the default) or s (strict).';
comment on column reports.aspf is 'SPF alignment mode: r (relaxed, the default) or s (strict).';
comment on column reports.pct is 'Per cent of messages the policy applies to (RFC 7489 only).';
comment on column reports.fo is 'Failure reporting options, as written.';
comment on column reports.testing is 'The t tag of the policy (RFC 9990).';
comment on column reports.discovery_method is 'How the policy was found: psl or treewalk (RFC 9990).';
comment on column reports.errors is 'Texts of <error>.';
comment on column reports.warnings is
    'What was odd about the report: objects with code, element, offset (bytes), occurrences and text.';

create table records (
    domain_id bigint not null,
    message_count bigint not null,
    position integer not null,
    day date not null,
    report_uid uuid not null,
    dkim_aligned boolean,
    spf_aligned boolean,
    source_ip inet not null,
    disposition text,
    header_from text,
    envelope_from text,
    envelope_to text,
    reasons jsonb,
    dkim jsonb,
    spf jsonb,
    odd_values jsonb
) partition by range (day);
create table records_default partition of records default;
create index records_by_report on records (report_uid, position);
comment on table records is
    'One row per <record>: messages of one source with the same results. Partitioned by month of day; implausible days are in records_default.';
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

create table source_days (
    domain_id bigint not null,
    message_count bigint not null,
    day date not null,
    report_count integer not null,
    source_report_count integer not null,
    dkim_aligned boolean,
    spf_aligned boolean,
    source_ip inet not null,
    disposition text,
    header_from text
);
create index source_days_by_day on source_days (domain_id, day);
-- Addresses come in no order and are only asked for one by one: a B-tree costs four times as much to write.
create index source_days_by_source on source_days using hash (source_ip);
comment on table source_days is
    'The rollup: messages by domain, UTC day, source, header_from and results. Rows are partial sums: several may have the same key, so always sum.';
comment on column source_days.report_count is 'Reports in this row.';
comment on column source_days.source_report_count is
    'Reports that are counted for their source_ip in this row: each report once per source, on the first of its days. Its sum is the number of reports that name a source.';

-- Sums of bigint are numeric and may be beyond bigint when reports lie; they are cut, not an error.
create function to_count(total numeric) returns bigint
    language sql immutable parallel safe
    return least(total, 9223372036854775807)::bigint;

-- What source_days must hold, from the records: the definition of the rollup. ruad verify compares the two, ruad rebuild
-- and reports too large for memory fill source_days from here.
create view record_days as
with keyed as not materialized (
    select
        r.domain_id, r.report_uid, r.day, p.day_count, p.begin_at, p.end_at,
        r.source_ip, r.header_from, r.disposition, r.dkim_aligned, r.spf_aligned,
        sum(r.message_count) as message_count,
        row_number() over (partition by r.domain_id, r.report_uid, p.day_count, r.source_ip order by min(r.position)) as source_row
    from records r
    join reports p on p.domain_id = r.domain_id and p.report_uid = r.report_uid
    group by
        r.domain_id, r.report_uid, r.day, p.day_count, p.begin_at, p.end_at,
        r.source_ip, r.header_from, r.disposition, r.dkim_aligned, r.spf_aligned
)
select
    domain_id, report_uid, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
    to_count(message_count) as message_count,
    1 as report_count,
    (source_row = 1)::integer as source_report_count
from keyed
where day_count = 1
union all
-- Long periods: each key is spread over the days by the seconds of the period in them, by largest remainder.
select
    domain_id, report_uid, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
    to_count(share + (place <= message_count - shares)::integer),
    1,
    (source_row = 1 and day_number = 0)::integer
from (
    select
        keyed.domain_id, keyed.report_uid, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
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
        partition by keyed.domain_id, keyed.report_uid, source_ip, header_from, disposition, dkim_aligned, spf_aligned
    )
) as spread
where share + (place <= message_count - shares)::integer > 0 or day_number = 0;
comment on view record_days is 'What source_days holds, report by report, computed from records.';

create table deliveries (
    delivery_id uuid not null,
    received_at timestamptz not null,
    size_bytes bigint not null,
    origin text not null,
    outcome text not null,
    name text,
    sha256 bytea not null,
    documents jsonb not null,
    constraint deliveries_pkey primary key (delivery_id),
    constraint deliveries_outcome_check
        check (outcome in ('stored', 'duplicate', 'conflict', 'rejected', 'not_aggregate'))
);
create index deliveries_by_outcome on deliveries (outcome, delivery_id);
comment on table deliveries is 'The ledger: one row for each thing handed over, a message, an upload or a file.';
comment on column deliveries.delivery_id is 'Version 7 UUID: in order of receipt.';
comment on column deliveries.origin is 'imap:<mailbox>, http or file.';
comment on column deliveries.outcome is
    'The most serious outcome of its documents: rejected, conflict, stored, duplicate, not_aggregate.';
comment on column deliveries.name is 'File name or the like, where there is one.';
comment on column deliveries.sha256 is 'SHA-256 of the bytes as delivered.';
comment on column deliveries.documents is 'The outcome of each document in it, with reason code, element and byte offset.';

create table quarantine (
    delivery_id uuid not null,
    kept_at timestamptz not null default now(),
    raw bytea not null,
    constraint quarantine_pkey primary key (delivery_id),
    constraint quarantine_delivery_id_fkey
        foreign key (delivery_id) references deliveries (delivery_id) on delete cascade
);
alter table quarantine alter column raw set storage external;
create index quarantine_by_age on quarantine (kept_at);
comment on table quarantine is
    'The bytes of deliveries of which something was rejected, in conflict or skipped, for a limited time.';

-- Adds the partition of records for the month that begins on this day. May be called again and by several processes at
-- once. It is attached rather than created in place, so that it waits for no transaction that writes other months.
create function add_records_month(month date) returns void
    language plpgsql
as $$
declare
    partition_name text := 'records_' || to_char(month, 'YYYY_MM');
    next_month date := (month + interval '1 month')::date;
begin
    perform pg_advisory_xact_lock(hashtext('ruad.records'));
    if to_regclass(partition_name) is not null then
        return;
    end if;
    execute format('create table %I (like records including defaults including comments)', partition_name);
    execute format(
        'with moved as (delete from records_default where day >= %L and day < %L returning *) insert into %I select * from moved',
        month, next_month, partition_name);
    execute format(
        'alter table records attach partition %I for values from (%L) to (%L)', partition_name, month, next_month);
end
$$;

-- The rollup with a column for each sum that answers are made of.
create view source_day_counts as
select
    domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned,
    dkim_aligned is true or spf_aligned is true as dmarc_pass,
    report_count,
    source_report_count,
    message_count,
    case when dkim_aligned is true or spf_aligned is true then message_count else 0 end as dmarc_pass_count,
    case when dkim_aligned is true then message_count else 0 end as dkim_aligned_count,
    case when spf_aligned is true then message_count else 0 end as spf_aligned_count,
    case when disposition = 'none' then message_count else 0 end as disposition_none,
    case when disposition = 'pass' then message_count else 0 end as disposition_pass,
    case when disposition = 'quarantine' then message_count else 0 end as disposition_quarantine,
    case when disposition = 'reject' then message_count else 0 end as disposition_reject,
    case when disposition is null then message_count else 0 end as disposition_unknown
from source_days;
comment on view source_day_counts is 'source_days with the messages of each row in a column for each sum.';
