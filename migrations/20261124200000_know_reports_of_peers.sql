-- Reports that were read from the output of another program, which keeps less of a report than makes up its identity. The
-- same report may come as XML as well; this table finds the one when the other comes.

create table peer_reports (
    domain_id bigint not null,
    id_key text not null,
    report_uid uuid not null,
    day date not null,
    period text not null,
    constraint peer_reports_pkey primary key (domain_id, id_key, report_uid),
    constraint peer_reports_period_known check (period in ('exact', 'local_time', 'inside'))
);
comment on table peer_reports is
    'One row per report that was read from the output of another program, such as parsedmarc, in place of its XML.';
comment on column peer_reports.id_key is
    'What is left of report_id everywhere: without angle brackets, up to the first @.';
comment on column peer_reports.day is 'reports.day of the report.';
comment on column peer_reports.period is
    'Whether begin and end are those of the report (exact), may be off by a time zone (local_time), or may leave out days at the ends (inside).';
