-- Prepares filling a database that `ruad migrate` has made. psql variables: records (about so many in all), big_records
-- (exactly so many of them belong to one domain), last_day.
--
-- 1,000 domains share the rest by Zipf's law: the one of rank 1 has a thousand times as many as that of rank 1,000. The
-- schema bench is dropped at the end of it.

create schema bench;

-- One row per domain. rank 0 is the big one, whose sources are nearly all different.
create table bench.domains as
select
    rank,
    case rank when 0 then 'big.example' else format('company-%s.example', rank) end as name,
    case rank
        when 0 then :big_records / 25
        else greatest(1, round((:records - :big_records) / rank / harmonic / 25))::bigint
    end as report_count,
    -- Where its reports begin among the days, so that small domains do not all report on the same ones.
    (hashint8(rank) & 1023) % 400 as phase,
    -- Its own hosts: tens to thousands.
    case rank
        when 0 then 50
        else least(4000, 50 + sqrt((:records - :big_records) / rank / harmonic))::integer
    end as host_count
from generate_series(0, 1000) as rank
cross join (select sum(1.0 / number) as harmonic from generate_series(1, 1000) as number) as zipf;

insert into domains (name)
select name
from bench.domains
order by md5(name);

alter table bench.domains add column domain_id bigint;
update bench.domains
set domain_id = d.domain_id
from domains d
where d.name = bench.domains.name;

-- What a message may look like to a receiver: result codes as in source_blocks.
create table bench.keys as
select *
from (
    values
        (1, true, true, 'none', '', 17),
        (2, true, false, 'none', '', 16),
        (3, false, true, 'none', '', 14),
        (4, false, false, 'quarantine', '', 31),
        (5, false, false, 'reject', 'mail.', 40),
        (6, false, false, 'none', 'news.', 13)
) as key (number, dkim_aligned, spf_aligned, disposition, prefix, result);

-- As ruad writes it: nothing here has a space in it.
create function bench.compact(document json) returns json
    language sql immutable
    return regexp_replace(document::text, '\s', '', 'g')::json;

-- Of each domain the lists of 6, 12 and 18 results that its reports have: result r has the key (r - 1) % 6 + 1.
-- They are not compressed here, so that they are compressed where they go, as what ruad writes is.
create table bench.lists (domain_id bigint not null, length integer not null, results json not null);
alter table bench.lists alter column results set storage plain;
insert into bench.lists
with results as (
    select
        d.domain_id,
        place,
        jsonb_build_object(
            'dkim_aligned', k.dkim_aligned,
            'spf_aligned', k.spf_aligned,
            'disposition', k.disposition,
            'header_from', k.prefix || d.name,
            'envelope_from', case place % 3 when 0 then 'bounce.' || d.name else sender end,
            'dkim', jsonb_build_array(jsonb_build_object(
                'domain', case when k.dkim_aligned then d.name else sender end,
                'result', 'pass',
                'selector', 'selector' || place
            )),
            'spf', jsonb_build_array(jsonb_build_object(
                'scope', 'mfrom',
                'domain', case when k.spf_aligned then 'bounce.' || d.name else sender end,
                'result', case place % 5 when 0 then 'softfail' else 'pass' end
            ))
        ) as result
    from bench.domains d
    cross join generate_series(1, 18) as place
    cross join format('mailer%s.example', (place * 7 + d.rank) % 50) as sender
    join bench.keys k on k.number = (place - 1) % 6 + 1
)
select domain_id, length, bench.compact(json_agg(result order by place)) as results
from results
join (values (6), (12), (18)) as lists (length) on place <= length
group by domain_id, length;

create table bench.key_lists as
select
    d.domain_id,
    bench.compact(json_agg(
        json_build_object(
            'dkim_aligned', k.dkim_aligned,
            'spf_aligned', k.spf_aligned,
            'disposition', k.disposition,
            'header_from', k.prefix || d.name
        )
        order by k.number
    )) as keys
from bench.domains d
cross join bench.keys k
group by d.domain_id;

-- Addresses are numbers here: one behind the last of IPv4 stands for an IPv6 address.
create function bench.address(number bigint) returns inet
    language sql immutable
    return case
        when number < 4294967296 then '0.0.0.0'::inet + number
        else '2001:db8::'::inet + (number - 4294967296)
    end;

-- FNV-1a over the octets of an address, of which the lowest byte counts.
create function bench.bucket(number bigint) returns smallint
    language sql immutable
    return (
        (
            (
                (
                    (case when number < 4294967296 then 197 else 23 end # (number >> 24 & 255)) * 147 & 255 # (number >> 16 & 255)
                ) * 147 & 255 # (number >> 8 & 255)
            ) * 147 & 255 # (number & 255)
        ) * 147 & 255
    )::smallint;

-- The first day of the 400, and the months that they are in.
create table bench.months as
select
    month::date as month,
    greatest(0, month::date - first_day) as first_number,
    least(400, (month + interval '1 month')::date - first_day) as next_number,
    first_day
from (select :'last_day'::date - 399 as first_day) as days
cross join generate_series(date_trunc('month', first_day::timestamp), :'last_day'::timestamp, interval '1 month') as month;

select add_month(parent, month)
from bench.months
cross join (values ('reports'), ('record_blocks'), ('source_day_blocks'), ('source_blocks')) as tables (parent);
analyze;
