-- What the views call for each row was looked up by its name whenever somebody asked, along the search_path of whoever asks:
-- a reader that is restricted to some domains could put a function of its own there, which was then called with the rows of
-- all others. Bodies that are not text are looked up once, here. PostgreSQL puts them in place of the call as before.
create or replace function record_results(results json)
    returns table (
        dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text, envelope_from text, envelope_to text,
        reasons jsonb, dkim jsonb, spf jsonb, odd_values jsonb, number bigint
    )
    language sql immutable parallel safe
begin atomic
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
        );
end;

create or replace function sum_keys(keys json)
    returns table (dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text, number bigint)
    language sql immutable parallel safe
begin atomic
    select k.dkim_aligned, k.spf_aligned, k.disposition, k.header_from, k.number
    from rows from (
        json_to_recordset(keys) as (dkim_aligned boolean, spf_aligned boolean, disposition text, header_from text)
    ) with ordinality as k (dkim_aligned, spf_aligned, disposition, header_from, number);
end;
