-- The same view as in the migrations. There, the latest report of each domain is looked up in an index, domain by domain,
-- which a cluster refuses where the domains are a copy on every node and the reports are spread.
create or replace view dmarc_domains with (security_barrier) as
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
left join (
    select distinct on (domain_id)
        domain_id, day, end_at, org_name, p, sp, np, adkim, aspf, pct, fo, testing
    from reports
    where day <= (now() at time zone 'utc')::date
    order by domain_id, day desc, report_uid desc
) r
    on r.domain_id = d.domain_id
