-- The views for people with SQL and for Grafana: version 1 of a contract. Columns are added, never renamed or removed, and
-- keep their meaning; what cannot be kept gets views with new names, beside these for a release.
--
-- The role ruad_reader reads them and nothing else. They are security barriers: whatever a reader asks, no function or
-- operator that could tell of a row sees it before reader_limits had its say.

create table reader_domains (
    role_name text not null,
    domain text not null,
    constraint reader_domains_pkey primary key (role_name, domain),
    constraint reader_domains_domain_check
        check (domain = lower(domain) and domain <> '' and domain not like '.%' and domain not like '%.')
);
comment on table reader_domains is
    'Restricts roles that read the dmarc views to policy domains: a role with rows here sees these and the names below them, one without sees all.';
comment on column reader_domains.role_name is 'A role as it logs in, or becomes by SET ROLE: rows for a group do not hold for its members.';
comment on column reader_domains.domain is 'Lower case, without trailing dot.';

-- Inside a view of somebody else current_user is still the caller. Becoming another role by SET ROLE must not widen what is
-- seen, so the role that logged in counts as well: a domain is seen if each of the rows here allows it.
create view reader_limits as
select
    role_name,
    array_agg('%.' || replace(replace(replace(domain, '\', '\\'), '%', '\%'), '_', '\_')) as patterns
from reader_domains
where role_name in (current_user, session_user)
group by role_name;
comment on view reader_limits is 'What whoever asks is restricted to: patterns for policy domains with a dot before them. No rows: nothing.';

create view reader_visible_domains as
select d.domain_id, d.name, d.created_at
from domains d
where not exists (select from reader_limits l where not '.' || d.name like any (l.patterns));
comment on view reader_visible_domains is 'The policy domains that whoever asks may see.';

create view dmarc_version with (security_barrier) as
select 1 as version;
comment on view dmarc_version is 'One row: which version of these views this is.';
comment on column dmarc_version.version is 'Grows when a view is replaced by one with another name.';

create view dmarc_domains with (security_barrier) as
select
    d.name as domain,
    d.created_at,
    r.day as last_day,
    r.end_at as last_report_at,
    r.org_name as last_org_name,
    r.p,
    r.sp,
    r.np,
    r.adkim,
    r.aspf,
    r.pct,
    r.fo,
    r.testing
from reader_visible_domains d
left join lateral (
    select r.day, r.end_at, r.org_name, r.p, r.sp, r.np, r.adkim, r.aspf, r.pct, r.fo, r.testing
    from reports r
    where r.domain_id = d.domain_id
        -- Reports that claim to come from the future are not the latest.
        and r.day <= (now() at time zone 'utc')::date
    order by r.day desc, r.report_uid desc
    limit 1
) r on true;
comment on view dmarc_domains is 'One row per policy domain, with what its latest report says.';
comment on column dmarc_domains.domain is 'The policy domain: lower case, without trailing dot.';
comment on column dmarc_domains.created_at is 'When the first report for it arrived.';
comment on column dmarc_domains.last_day is 'UTC day of the latest report; null if there is none any more, as with all that follows.';
comment on column dmarc_domains.last_report_at is 'End of the period of the latest report.';
comment on column dmarc_domains.last_org_name is 'Reporter of the latest report.';
comment on column dmarc_domains.p is 'Policy published for the domain, as the latest report saw it: none, quarantine or reject.';
comment on column dmarc_domains.sp is 'Policy for subdomains; null means that of p.';
comment on column dmarc_domains.np is 'Policy for subdomains that do not exist; null means that of sp.';
comment on column dmarc_domains.adkim is 'DKIM alignment mode: r (relaxed, the default) or s (strict).';
comment on column dmarc_domains.aspf is 'SPF alignment mode: r (relaxed, the default) or s (strict).';
comment on column dmarc_domains.pct is 'Per cent of messages the policy applies to (RFC 7489 only).';
comment on column dmarc_domains.fo is 'Failure reporting options, as written.';
comment on column dmarc_domains.testing is 'The t tag of the policy (RFC 9990).';

create view dmarc_messages with (security_barrier) as
select
    d.name as domain,
    t.day,
    to_count(sum(t.message_count)) as message_count,
    to_count(sum(t.dmarc_pass_count)) as dmarc_pass_count,
    to_count(sum(t.message_count) - sum(t.dmarc_pass_count)) as dmarc_fail_count,
    to_count(sum(t.dkim_aligned_count)) as dkim_aligned_count,
    to_count(sum(t.spf_aligned_count)) as spf_aligned_count,
    to_count(sum(t.disposition_none)) as disposition_none,
    to_count(sum(t.disposition_pass)) as disposition_pass,
    to_count(sum(t.disposition_quarantine)) as disposition_quarantine,
    to_count(sum(t.disposition_reject)) as disposition_reject,
    to_count(sum(t.disposition_unknown)) as disposition_unknown
from reader_visible_domains d
join source_day_totals t on t.domain_id = d.domain_id
group by d.name, t.day;
comment on view dmarc_messages is 'One row per policy domain and UTC day with messages: all sums. Counts are numbers of messages.';
comment on column dmarc_messages.domain is 'The policy domain: lower case, without trailing dot.';
comment on column dmarc_messages.day is 'UTC day; the messages of a report longer than 27 hours are spread over its days.';
comment on column dmarc_messages.message_count is 'All messages.';
comment on column dmarc_messages.dmarc_pass_count is 'With an aligned DKIM or SPF pass.';
comment on column dmarc_messages.dmarc_fail_count is 'Without an aligned pass.';
comment on column dmarc_messages.dkim_aligned_count is 'With an aligned DKIM pass.';
comment on column dmarc_messages.spf_aligned_count is 'With an aligned SPF pass.';
comment on column dmarc_messages.disposition_none is 'Delivered.';
comment on column dmarc_messages.disposition_pass is 'Delivered because DMARC passed (RFC 9990).';
comment on column dmarc_messages.disposition_quarantine is 'Treated as suspicious.';
comment on column dmarc_messages.disposition_reject is 'Refused.';
comment on column dmarc_messages.disposition_unknown is 'The reporter did not say, or not in a word of the format.';

create view dmarc_sources with (security_barrier) as
select
    d.name as domain,
    s.day,
    s.source_ip,
    s.header_from,
    s.disposition,
    s.dkim_aligned,
    s.spf_aligned,
    s.dkim_aligned is true or s.spf_aligned is true as dmarc_pass,
    s.message_count,
    s.source_report_count as report_count
from reader_visible_domains d
join source_days s on s.domain_id = d.domain_id;
comment on view dmarc_sources is
    'Messages by policy domain, UTC day, source, header_from and results. Rows are partial sums: several may have the same key, so always sum. Restrict it to domains or days.';
comment on column dmarc_sources.domain is 'The policy domain: lower case, without trailing dot.';
comment on column dmarc_sources.day is 'UTC day; the messages of a report longer than 27 hours are spread over its days.';
comment on column dmarc_sources.source_ip is 'The sending host.';
comment on column dmarc_sources.header_from is 'Domain of the From field of the messages.';
comment on column dmarc_sources.disposition is 'What the receiver did: none, pass (RFC 9990), quarantine or reject; null when the reporter did not say.';
comment on column dmarc_sources.dkim_aligned is 'Whether there was an aligned DKIM pass; null when the reporter did not say.';
comment on column dmarc_sources.spf_aligned is 'Whether there was an aligned SPF pass; null when the reporter did not say.';
comment on column dmarc_sources.dmarc_pass is 'Whether DKIM or SPF was aligned.';
comment on column dmarc_sources.message_count is 'Messages.';
comment on column dmarc_sources.report_count is
    'Reports that are counted for their source in this row: each report once per domain and source. Its sum over one source is the number of reports that name it; sums over several sources count reports more than once.';

create view dmarc_reports with (security_barrier) as
select
    d.name as domain,
    r.report_uid,
    r.org_name,
    r.report_id,
    r.begin_at,
    r.end_at,
    r.day,
    r.day_count,
    r.record_count,
    r.skipped_count,
    r.message_count,
    r.dmarc_pass_count,
    r.p,
    r.sp,
    r.np,
    r.adkim,
    r.aspf,
    r.pct,
    r.fo,
    r.testing,
    r.discovery_method,
    r.version,
    r.xml_namespace,
    r.email,
    r.extra_contact_info,
    r.generator,
    r.errors,
    r.warnings,
    r.received_at,
    r.delivery_id,
    r.mail_from_domain,
    r.mail_dmarc_pass
from reader_visible_domains d
join reports r on r.domain_id = d.domain_id;
comment on view dmarc_reports is 'One row per aggregate report, stored exactly once.';

create view dmarc_deliveries with (security_barrier) as
select
    v.delivery_id,
    v.received_at,
    v.origin,
    -- What these say of a delivery may be about documents that whoever asks must not see.
    case when not exists (select from reader_limits) then v.name end as name,
    case when not exists (select from reader_limits) then v.size_bytes end as size_bytes,
    v.mail_from_domain,
    v.mail_dmarc_pass,
    coalesce(o.number, 1)::integer as document_number,
    coalesce(o.outcome, v.outcome) as outcome,
    o.code,
    o.detail,
    o.element,
    o.offset_bytes,
    o.path,
    o.domain,
    o.org_name,
    o.report_id,
    o.report_uid,
    o.record_count,
    o.skipped_count,
    o.message_count
from deliveries v
left join lateral rows from (
    jsonb_to_recordset(v.documents) as (
        outcome text, code text, detail text, element text, offset_bytes bigint, path text, domain text, org_name text,
        report_id text, report_uid uuid, record_count bigint, skipped_count bigint, message_count bigint
    )
) with ordinality as o (
        outcome, code, detail, element, offset_bytes, path, domain, org_name,
        report_id, report_uid, record_count, skipped_count, message_count, number
    )
    on true
where not exists (select from reader_limits l where not coalesce('.' || o.domain like any (l.patterns), false));
comment on view dmarc_deliveries is
    'The ledger: one row for each document of a delivery, and one for a delivery without any. Count deliveries as distinct delivery_id. A role restricted to domains sees the documents that name one of them.';
comment on column dmarc_deliveries.delivery_id is 'The message, upload or file: Version 7 UUID, in order of receipt.';
comment on column dmarc_deliveries.received_at is 'When it was handed over.';
comment on column dmarc_deliveries.origin is 'imap:<mailbox>, lmtp, http or file.';
comment on column dmarc_deliveries.name is 'File name or the like of the delivery, where there is one; null for a role that is restricted to domains.';
comment on column dmarc_deliveries.size_bytes is 'Size of the delivery as handed over; null for a role that is restricted to domains.';
comment on column dmarc_deliveries.mail_from_domain is 'Domain of the From field of the mail; null where there is no mail or it was not checked.';
comment on column dmarc_deliveries.mail_dmarc_pass is 'Whether the mail passes DMARC itself; null when it was not or could not be checked.';
comment on column dmarc_deliveries.document_number is 'Number of the document in its delivery, from 1.';
comment on column dmarc_deliveries.outcome is 'stored, duplicate, conflict, rejected or not_aggregate.';
comment on column dmarc_deliveries.code is 'Stable reason: of a rejection or conflict, or what else the document is.';
comment on column dmarc_deliveries.detail is 'The reason in words.';
comment on column dmarc_deliveries.element is 'The element the reason was found at.';
comment on column dmarc_deliveries.offset_bytes is 'Where in the decompressed document it was found.';
comment on column dmarc_deliveries.path is 'Where in the delivery the document was found; null for the delivery itself.';
comment on column dmarc_deliveries.domain is 'The policy domain, where the document is a report that was read so far.';
comment on column dmarc_deliveries.org_name is 'The reporter.';
comment on column dmarc_deliveries.report_id is 'As reported.';
comment on column dmarc_deliveries.report_uid is 'The report: dmarc_reports.report_uid, where it is stored.';
comment on column dmarc_deliveries.record_count is 'Records in the report, skipped ones included.';
comment on column dmarc_deliveries.skipped_count is 'Records that could not be stored.';
comment on column dmarc_deliveries.message_count is 'Messages of the records that can be stored.';

create view dmarc_mailboxes with (security_barrier) as
select
    m.name as mailbox,
    case when m.state <> 'stopped' and coalesce(m.lease_until < now(), true) then 'unattended' else m.state end as state,
    m.state_at,
    m.holder,
    m.lease_until,
    m.backlog,
    m.last_connected_at,
    m.last_poll_at,
    m.last_delivery_at,
    m.last_error_code,
    m.last_error,
    m.last_error_at
from mailboxes m
where not exists (select from reader_limits);
comment on view dmarc_mailboxes is
    'One row per mailbox that was ever configured. Mailboxes belong to no domain: a role restricted to domains sees none.';
comment on column dmarc_mailboxes.mailbox is 'Its name in the configuration.';
comment on column dmarc_mailboxes.state is
    'connecting; working (mail is being taken); waiting (for mail); failed (last_error says why, it is tried again); stopped; unattended (its process went away without a word).';
comment on column dmarc_mailboxes.state_at is 'Since when it is so; of an unattended mailbox: since when it was what it was before.';
comment on column dmarc_mailboxes.holder is 'The process that works on it: host and process id.';
comment on column dmarc_mailboxes.lease_until is 'When another process may take it over, unless the holder renews before.';
comment on column dmarc_mailboxes.backlog is 'Mails that waited when it was last looked at; null before it was.';
comment on column dmarc_mailboxes.last_connected_at is 'When its server last let ruad in.';
comment on column dmarc_mailboxes.last_poll_at is 'When it was last looked at.';
comment on column dmarc_mailboxes.last_delivery_at is 'When mail was last taken from it.';
comment on column dmarc_mailboxes.last_error_code is 'Stable reason of what went wrong last, be it over; null if nothing ever did.';
comment on column dmarc_mailboxes.last_error is 'What went wrong last and what to do about it.';
comment on column dmarc_mailboxes.last_error_at is 'When that was.';

-- What the views call like the tables is described there.
do $$
declare
    place record;
begin
    for place in
        select v.attname, col_description(t.attrelid, t.attnum) as description
        from pg_attribute v
        join pg_attribute t on t.attname = v.attname and t.attrelid = 'reports'::regclass
        where v.attrelid = 'dmarc_reports'::regclass
            and col_description(t.attrelid, t.attnum) is not null
    loop
        execute format('comment on column dmarc_reports.%I is %L', place.attname, place.description);
    end loop;
end
$$;
comment on column dmarc_reports.domain is 'The policy domain: lower case, without trailing dot.';
comment on column dmarc_reports.day_count is
    'Over how many UTC days dmarc_messages and dmarc_sources spread the messages: 1, unless the period is longer than 27 hours.';
comment on column dmarc_reports.version is 'Version of the report format, as written.';
comment on column dmarc_reports.xml_namespace is 'Namespace of the report, where it has one.';
comment on column dmarc_reports.email is 'Contact of the reporter.';
comment on column dmarc_reports.extra_contact_info is 'Another way to reach the reporter, as written.';
comment on column dmarc_reports.generator is 'The program that made the report (RFC 9990).';
comment on column dmarc_reports.received_at is 'When the delivery that brought it was handed over.';
comment on column dmarc_reports.mail_from_domain is 'Domain of the From field of the mail that brought it; null where there is no mail or it was not checked.';
comment on column dmarc_reports.mail_dmarc_pass is 'Whether that mail passes DMARC itself; null when it was not or could not be checked.';

-- Readers ask for a time of receipt. Deliveries are written in about that order, so that this costs next to nothing.
create index deliveries_by_received_at on deliveries using brin (received_at) with (pages_per_range = 32, autosummarize = on);

-- They would fail for whoever has no right to the tables, but are nobody's business.
revoke execute on function add_month(text, date), drop_month(text, date), delete_days(text, date, bigint) from public;

create function let_readers_in() returns void
    language plpgsql
as $$
begin
    execute format('grant usage on schema %I to ruad_reader', current_schema);
    grant select
        on dmarc_version, dmarc_domains, dmarc_messages, dmarc_sources, dmarc_reports, dmarc_deliveries, dmarc_mailboxes
        to ruad_reader;
end
$$;
comment on function let_readers_in() is
    'Lets the role ruad_reader read the dmarc views of this schema. To be called by hand where the role was made after the schema.';
revoke execute on function let_readers_in() from public;

-- Roles are shared by all databases of a server: others may make this one at the same time, or have done so before.
do $$
begin
    if not exists (select from pg_roles where rolname = 'ruad_reader') then
        begin
            create role ruad_reader nologin;
        exception
            when duplicate_object or unique_violation then
                null;
            when insufficient_privilege then
                raise notice 'the role ruad_reader is missing: have it made by an administrator, then call let_readers_in()';
                return;
        end;
    end if;
    perform let_readers_in();
end
$$;
