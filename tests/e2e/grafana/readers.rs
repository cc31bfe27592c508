//! What a reader sees: the documented views, and of those only what `reader_domains` allows.

use sqlx::Connection as _;
use store::{Options, Store};

use super::reader::{Reader, Rows};
use crate::{
    harness::{Cluster, Database, Service},
    reports::{Report, zip},
};

/// With the column that names a policy domain.
const VIEWS_OF_DOMAINS: [&str; 5] = [
    "dmarc_domains",
    "dmarc_messages",
    "dmarc_sources",
    "dmarc_reports",
    "dmarc_deliveries",
];

/// Domains that readers below may see, and their neighbours by name.
const MINE: [&str; 2] = ["mail.mine.example", "mine.example"];
const OTHERS: [&str; 3] = ["minexexample", "notmine.example", "other.example"];

/// A report for each domain, two of them in one delivery, a conflict for each, and something unreadable.
async fn filled() -> Service {
    let service = Service::start().await;
    for domain in MINE.into_iter().chain(OTHERS) {
        let report = |count| Report::new(domain, "1").passing("192.0.2.1", count);
        service.store(report(1).xml()).await;
        assert_eq!(service.upload(report(2).xml()).await.status, 409);
    }
    let [one, two] = ["mine.example", "other.example"]
        .map(|domain| Report::new(domain, "2").failing("192.0.2.2", 3).xml());
    service
        .store(zip(&[("one.xml", &one), ("two.xml", &two)]))
        .await;
    assert_eq!(service.upload("<feedback>").await.status, 422);
    service
        .database
        .execute("insert into mailboxes (name, state) values ('dmarc', 'stopped')")
        .await;
    service
}

fn domains_in(view: &str) -> String {
    format!("select distinct domain from {view} order by domain")
}

fn named(domains: &[&'static str]) -> Rows {
    Rows::of(domains.iter().map(|domain| [*domain]))
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_only_their_domains_in_every_view() {
    let service = filled().await;
    let reader = Reader::join(&service.database).await;
    let restricted = Reader::named(&service.database, "restricted").await;
    restricted.only(&service.database, "mine.example").await;

    for view in VIEWS_OF_DOMAINS {
        let all = reader
            .rows(&format!("{} nulls last", domains_in(view)))
            .await;
        assert_eq!(
            all.0[..5],
            named(&[
                "mail.mine.example",
                "mine.example",
                "minexexample",
                "notmine.example",
                "other.example"
            ])
            .0,
            "{view}"
        );
        assert_eq!(
            restricted.rows(&domains_in(view)).await,
            named(&MINE),
            "{view}"
        );
        let one = format!("select domain from {view} where domain = 'other.example'");
        assert_eq!(restricted.rows(&one).await, Rows(Vec::new()), "{view}");
    }
    assert_eq!(
        reader
            .rows("select mailbox from dmarc_mailboxes")
            .await
            .0
            .len(),
        1
    );
    assert_eq!(
        restricted
            .rows("select mailbox from dmarc_mailboxes")
            .await
            .0
            .len(),
        0
    );
    let messages = "select sum(message_count) from dmarc_messages";
    assert_eq!(restricted.rows(messages).await, Rows::of([[5]]));
    assert_eq!(reader.rows(messages).await, Rows::of([[11]]));
    restricted.leave(&service.database).await;
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_learn_nothing_of_deliveries_but_their_documents() {
    let service = filled().await;
    let reader = Reader::join(&service.database).await;
    reader.only(&service.database, "mine.example").await;

    let deliveries = reader
        .rows(
            "select outcome, domain, path, name, size_bytes from dmarc_deliveries order by 1, 2, 3",
        )
        .await;

    let expected = [
        ["conflict", "mail.mine.example", "null", "null", "null"],
        ["conflict", "mine.example", "null", "null", "null"],
        ["stored", "mail.mine.example", "null", "null", "null"],
        ["stored", "mine.example", "one.xml", "null", "null"],
        ["stored", "mine.example", "null", "null", "null"],
    ];
    assert_eq!(
        deliveries.0,
        expected.map(|row| row.map(String::from).to_vec())
    );

    service
        .database
        .execute("update deliveries set origin = 'imap:dmarc', mail_from_domain = 'other.example', mail_dmarc_pass = true")
        .await;
    let of_mail = "select distinct origin, mail_from_domain, mail_dmarc_pass is null as is_hidden from dmarc_deliveries";
    assert_eq!(
        reader.rows(of_mail).await.0,
        [["imap", "null", "true"].map(String::from).to_vec()]
    );
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_restricted_to_names_not_patterns() {
    let database = Database::fresh().await;
    database
        .execute("insert into domains (name) values ('my_own.example'), ('myxown.example'), ('a.my_own.example'), ('%.example')")
        .await;
    let reader = Reader::join(&database).await;
    reader.only(&database, "my_own.example").await;

    let domains = reader.rows(&domains_in("dmarc_domains")).await;

    assert_eq!(domains, named(&["a.my_own.example", "my_own.example"]));
    reader.leave(&database).await;
}

/// Asked by somebody who knows how views are read.
#[tokio::test(flavor = "multi_thread")]
async fn readers_cannot_make_a_view_tell() {
    let service = filled().await;
    let reader = Reader::join(&service.database).await;
    reader.only(&service.database, "mine.example").await;
    // So cheap that PostgreSQL would call it before anything else.
    const TELL: &str = "create function pg_temp.tell(domain text) returns boolean language plpgsql cost 0.0000001 as $$ \
        begin if domain !~ 'mine\\.example$' or domain ~ 'notmine' then raise exception 'seen: %', domain; end if; return true; end $$";
    for view in VIEWS_OF_DOMAINS {
        for sql in [
            format!("select distinct domain from {view} where pg_temp.tell(domain) order by 1"),
            format!(
                "select distinct domain from {view} where 1 / (case when domain like 'other%' then 0 else 1 end) = 1 order by 1"
            ),
            format!(
                "select distinct domain from {view} where (case when domain like 'other%' then domain else '1' end)::integer = 1 order by 1"
            ),
        ] {
            let rows = reader.try_rows(TELL, &sql).await;
            assert_eq!(rows.unwrap(), named(&MINE), "{sql}");
        }
        // Becoming the group must not free from what holds for the role that logged in.
        let rows = reader
            .try_rows("set role ruad_reader", &domains_in(view))
            .await;
        assert_eq!(rows.unwrap(), named(&MINE), "{view}");
    }
    for statistics in ["pg_stats", "pg_stats_ext", "pg_statistic_ext_data"] {
        let sql = format!(
            "select count(*) from {statistics} where to_jsonb({statistics})::text like '%example%'"
        );
        match reader.try_rows("", &sql).await {
            Ok(rows) => assert_eq!(rows, Rows::of([[0]]), "{statistics}"),
            Err(error) => assert_denied(&error, statistics),
        }
    }
    reader.leave(&service.database).await;
    service.stop().await;
}

/// A function of the same name as one of PostgreSQL's that the views call for each row, before any barrier.
#[tokio::test(flavor = "multi_thread")]
async fn readers_cannot_put_functions_of_their_own_below_a_view() {
    let service = filled().await;
    let reader = Reader::join(&service.database).await;
    reader.only(&service.database, "mine.example").await;
    let own = format!("own_{}", reader.role);
    let make = format!(
        "create schema {own}; grant usage on schema {own} to {}; \
         create function {own}.json_to_recordset(json) returns setof record language plpgsql as $$ \
         begin raise exception 'seen: %', $1; end $$",
        reader.role
    );
    service.database.execute(&make).await;
    let first = format!(
        "select set_config('search_path', '{own}, ' || current_schema || ', pg_catalog', false)"
    );

    for view in ["dmarc_sources", "dmarc_messages"] {
        let rows = reader.try_rows(&first, &domains_in(view)).await;
        assert_eq!(rows.unwrap(), named(&MINE), "{view}");
    }

    let unmake = format!("drop schema {own} cascade");
    service.database.execute(&unmake).await;
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_become_others_see_what_both_may() {
    let service = filled().await;
    let [first, second] = ["first", "second"].map(|name| Reader::named(&service.database, name));
    let (first, second) = (first.await, second.await);
    first.only(&service.database, "mail.mine.example").await;
    first.only(&service.database, "other.example").await;
    second.only(&service.database, "mine.example").await;
    service
        .database
        .execute(&format!("grant {} to {}", second.role, first.role))
        .await;

    let become_second = format!("set role {}", second.role);
    let rows = first
        .try_rows(&become_second, &domains_in("dmarc_messages"))
        .await;

    assert_eq!(rows.unwrap(), named(&["mail.mine.example"]));
    first.leave(&service.database).await;
    second.leave(&service.database).await;
    service.stop().await;
}

/// So many that finding those of a domain by their days alone would not do.
const MANY_REPORTS: &str = "
    insert into domains (name) select n || '.example' from generate_series(1, 300) as n;
    insert into reports (
        domain_id, report_uid, delivery_id, received_at, org_name, report_id, begin_at, end_at, day, day_count,
        record_count, skipped_count, message_count, dmarc_pass_count, content_sha256, errors, warnings
    )
    select
        domain_id, gen_random_uuid(), gen_random_uuid(), now(), 'a', n, now(), now(), date '2024-03-01' + n % 90, 1,
        1, 0, 1, 1, '', '{}', '[]'
    from domains, generate_series(1, 10) as n;
    analyze domains, reports;
";

/// What is asked for reaches the indexes, past the barriers, and messages are counted without reading any source.
#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_read_more_than_they_ask_for() {
    let database = Database::fresh().await;
    database.execute(MANY_REPORTS).await;
    let reader = Reader::join(&database).await;
    let asked = "where domain = 'example.com' and day between '2024-03-01' and '2024-03-31'";
    for view in ["dmarc_messages", "dmarc_sources", "dmarc_reports"] {
        let plan = reader.plan(&format!("select * from {view} {asked}")).await;
        let reaches_index = |condition: &[&str]| {
            let mut lines = plan.lines().filter(|line| line.contains("Index Cond: "));
            lines.any(|line| condition.iter().all(|part| line.contains(part)))
        };
        assert!(reaches_index(&["name = 'example.com'"]), "{plan}");
        assert!(
            reaches_index(&["domain_id = ", "day >= ", "day <= "]),
            "{plan}"
        );
        assert_eq!(
            plan.contains("Function Scan"),
            view == "dmarc_sources",
            "{plan}"
        );
    }
    let received = "select * from dmarc_deliveries where received_at > '2024-03-01Z'";
    let plan = reader.plan(received).await;
    assert!(plan.contains("deliveries_by_received_at"), "{plan}");
    reader.leave(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_have_the_views_and_nothing_else() {
    let database = Database::fresh().await;
    let reader = Reader::join(&database).await;
    let readable: String = database
        .value(&format!(
            "select string_agg(relname::text, ' ' order by relname) from pg_class \
             where relnamespace = current_schema::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') \
                 and has_any_column_privilege('{}', oid, 'select, insert, update, references')",
            reader.role
        ))
        .await;
    assert_eq!(
        readable,
        "dmarc_deliveries dmarc_domains dmarc_mailboxes dmarc_messages dmarc_reports dmarc_sources dmarc_version"
    );
    let callable: String = database
        .value(&format!(
            "select string_agg(proname::text, ' ' order by proname) from pg_proc \
             where pronamespace = current_schema::regnamespace and has_function_privilege('{}', oid, 'execute')",
            reader.role
        ))
        .await;
    // What the views compute with: these see nothing but their arguments.
    assert_eq!(callable, "record_results sum_keys to_count");
    for sql in [
        "select * from quarantine",
        "select * from reports",
        "select * from reader_domains",
        "select * from reader_visible_domains",
        "select * from source_days",
        "select last_value from domains_domain_id_seq",
    ] {
        assert_denied(&reader.try_rows("", sql).await.unwrap_err(), sql);
    }
    for write in [
        "delete from dmarc_version",
        "update dmarc_mailboxes set backlog = 1",
    ] {
        let error = reader.try_rows(write, "select 1").await.unwrap_err();
        assert_denied(&error, write);
    }
    reader.leave(&database).await;
}

fn assert_denied(error: &sqlx::Error, what: &str) {
    let code = error.as_database_error().and_then(|error| error.code());
    // insufficient_privilege, or: that view cannot be written at all.
    assert!(
        matches!(code.as_deref(), Some("42501" | "55000")),
        "{what}: {error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_find_every_view_and_column_described() {
    let database = Database::fresh().await;
    let silent: Option<String> = database
        .value(
            "select string_agg(relname || '.' || coalesce(attname, ''), ' ') \
             from pg_class left join pg_attribute on attrelid = pg_class.oid and attnum > 0 \
             where relnamespace = current_schema::regnamespace and relname like 'dmarc\\_%' \
                 and (obj_description(pg_class.oid) is null \
                     or (col_description(pg_class.oid, attnum) is null))",
        )
        .await;
    assert_eq!(silent, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_let_in_by_many_databases_of_a_server_at_once() {
    let mut cluster = Cluster::start().await;
    let main = cluster.database();
    let mut migrations = Vec::new();
    for number in 0..4 {
        main.execute(&format!("create database many_{number}"))
            .await;
        let connect = main.connect_options().database(&format!("many_{number}"));
        let store = Store::connect(connect, &Options::default());
        migrations.push(tokio::spawn(async move { store.migrate().await }));
    }
    for migration in migrations {
        migration.await.unwrap().unwrap();
    }
    let roles: i64 = main
        .value("select count(*) from pg_roles where rolname = 'ruad_reader'")
        .await;
    assert_eq!(roles, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_let_in_later_where_roles_cannot_be_made() {
    let mut cluster = Cluster::start().await;
    let main = cluster.database();
    main.execute("create role plain login").await;
    main.execute("create database plain owner plain").await;
    let connect = main.connect_options().database("plain").username("plain");
    let store = Store::connect(connect.clone(), &Options::default());
    store.migrate().await.unwrap();
    store.close().await;
    let roles: i64 = main
        .value("select count(*) from pg_roles where rolname = 'ruad_reader'")
        .await;
    assert_eq!(roles, 0);

    main.execute("create role ruad_reader nologin").await;
    let mut owner = sqlx::PgConnection::connect_with(&connect).await.unwrap();
    sqlx::raw_sql("select let_readers_in()")
        .execute(&mut owner)
        .await
        .unwrap();

    let allowed = "select has_table_privilege('ruad_reader', 'dmarc_messages', 'select')";
    let allowed: bool = sqlx::query_scalar(allowed)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert!(allowed);
    owner.close().await.unwrap();
    cluster.stop().await;
}
