-- Mailboxes, and what is known of the mail that brought a report.

create table mailboxes (
    name text not null,
    state text not null,
    state_at timestamptz not null default now(),
    holder_id uuid,
    holder text,
    lease_until timestamptz,
    uid_validity bigint,
    next_uid bigint,
    backlog bigint,
    last_connected_at timestamptz,
    last_poll_at timestamptz,
    last_delivery_at timestamptz,
    last_error_code text,
    last_error text,
    last_error_at timestamptz,
    sealed_refresh_token bytea,
    constraint mailboxes_pkey primary key (name),
    constraint mailboxes_state_check
        check (state in ('connecting', 'working', 'waiting', 'failed', 'stopped'))
);
comment on table mailboxes is 'One row per mailbox that was ever configured, under its name in the configuration.';
comment on column mailboxes.state is
    'connecting; working (there is mail); waiting (for mail); failed (last_error says why, it is tried again); stopped. Holds while lease_until is not past.';
comment on column mailboxes.state_at is 'Since when it is so.';
comment on column mailboxes.holder_id is 'The ruad process that works on it: one at a time.';
comment on column mailboxes.holder is 'The same for people: host and process id.';
comment on column mailboxes.lease_until is 'When another process may take it over, unless the holder renews before.';
comment on column mailboxes.uid_validity is 'UIDVALIDITY (RFC 9051) that next_uid belongs to.';
comment on column mailboxes.next_uid is 'Every mail with a smaller UID is dealt with. Kept for mailboxes that are only read.';
comment on column mailboxes.backlog is 'Mails that waited when it was last looked at.';
comment on column mailboxes.last_error is 'What went wrong last and what to do about it.';
comment on column mailboxes.sealed_refresh_token is
    'The newest OAuth refresh token, encrypted under the configured one: useless without the configuration.';

alter table deliveries
    alter column sha256 drop not null,
    add column is_complete boolean not null default true,
    add column mail_from_domain text,
    add column mail_dkim_domains text[],
    add column mail_dmarc_pass boolean;
comment on column deliveries.sha256 is 'SHA-256 of the bytes as delivered; null for a mail too large to be fetched.';
comment on column deliveries.is_complete is 'False while what follows a large report in it is still being read.';
comment on column deliveries.mail_from_domain is 'Domain of the From field of the mail; null where there is no mail or it was not checked.';
comment on column deliveries.mail_dkim_domains is 'Domains whose DKIM signature of the mail was verified.';
comment on column deliveries.mail_dmarc_pass is
    'Whether the mail passes DMARC: one of mail_dkim_domains is aligned with the From domain (RFC 7489 section 3.1.1) or, where Authentication-Results are read, the verdict of the mail server, which may rest on SPF; null when it was not or could not be checked.';
comment on column deliveries.origin is 'imap:<mailbox>, lmtp, http or file.';
-- One way in may be quiet among millions of deliveries by another: without this, a page of it reads them all.
create index deliveries_by_origin on deliveries (origin, delivery_id);
-- Mail that fails is rare and is what one looks for; mail that passes is found on any page of the ledger.
create index deliveries_not_authentic on deliveries (delivery_id) where not mail_dmarc_pass;

alter table reports
    add column mail_from_domain text,
    add column mail_dkim_domains text[],
    add column mail_dmarc_pass boolean;
comment on column reports.mail_from_domain is 'As in deliveries, of the delivery that brought the report.';
comment on column reports.mail_dkim_domains is 'As in deliveries, of the delivery that brought the report.';
comment on column reports.mail_dmarc_pass is 'As in deliveries, of the delivery that brought the report.';
create index reports_not_authentic on reports (day, report_uid) where not mail_dmarc_pass;
