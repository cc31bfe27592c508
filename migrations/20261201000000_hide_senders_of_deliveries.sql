-- Whoever is restricted to some domains does not see through which mailbox a delivery came, nor who sent the mail: other
-- documents in it may be about other domains.

create or replace view dmarc_deliveries with (security_barrier) as
select
    v.delivery_id,
    v.received_at,
    case when not exists (select from reader_limits) then v.origin else split_part(v.origin, ':', 1) end as origin,
    -- What these say of a delivery may be about documents that whoever asks must not see.
    case when not exists (select from reader_limits) then v.name end as name,
    case when not exists (select from reader_limits) then v.size_bytes end as size_bytes,
    case when not exists (select from reader_limits) then v.mail_from_domain end as mail_from_domain,
    case when not exists (select from reader_limits) then v.mail_dmarc_pass end as mail_dmarc_pass,
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
comment on column dmarc_deliveries.origin is
    'imap:<mailbox>, lmtp, http or file; without the mailbox for a role that is restricted to domains.';
comment on column dmarc_deliveries.mail_from_domain is
    'Domain of the From field of the mail; null where there is no mail or it was not checked, and for a role that is restricted to domains.';
comment on column dmarc_deliveries.mail_dmarc_pass is
    'Whether the mail passes DMARC itself; null when it was not or could not be checked, and for a role that is restricted to domains.';
