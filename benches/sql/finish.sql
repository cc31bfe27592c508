-- After the last month: what autovacuum would come to do. It knows nothing of partitioned tables as a whole, and what it
-- finds out about arrays and documents helps no question.

drop schema bench cascade;
vacuum;
select format('analyze %s (%s)', c.oid::regclass, string_agg(quote_ident(a.attname), ', ' order by a.attnum))
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
where c.relkind = 'r'
    and c.relnamespace = 'public'::regnamespace
    and t.typcategory <> 'A'
    and t.typname not in ('json', 'jsonb', 'bytea')
group by c.oid
\gexec
checkpoint;
