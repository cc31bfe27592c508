//! The store alone: what older versions kept is there after the schema has changed.

use std::borrow::Cow;

use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection, migrate::Migrator};
use store::Actor;

use crate::harness::Database;

/// Before records and rollup were kept in blocks.
const ROWS: i64 = 20261122000000;

/// Two reports in the tables of then: one with more records than a block holds, every seventh of them skipped, and one
/// that is spread over three days and says next to nothing.
const FILL: &str = r#"
    insert into domains (name) values ('example.com'), ('example.net');
    insert into deliveries (delivery_id, received_at, size_bytes, origin, outcome, sha256, documents)
    values ('01900000-0000-7000-8000-000000000001', '2024-03-02', 1, 'file', 'stored', '', '[]');
    select add_records_month('2024-03-01');
    insert into reports (
        domain_id, report_uid, delivery_id, received_at, org_name, report_id, begin_at, end_at, day, day_count,
        record_count, skipped_count, message_count, dmarc_pass_count, content_sha256, errors, warnings
    )
    values
        (1, '10000000-0000-0000-0000-000000000000', '01900000-0000-7000-8000-000000000001', '2024-03-02', 'a', '1',
            '2024-03-01Z', '2024-03-02Z', '2024-03-01', 1, 2500, 358, 0, 0, '\x01', '{odd}', '[]'),
        (2, '20000000-0000-0000-0000-000000000000', '01900000-0000-7000-8000-000000000001', '2024-03-02', 'b', '2',
            '1970-01-01Z', '1970-01-04Z', '1970-01-02', 3, 2, 0, 0, 0, '\x02', '{}', '[{"code": "long_period"}]');
    insert into records (
        domain_id, message_count, position, day, report_uid, dkim_aligned, spf_aligned, source_ip, disposition,
        header_from, envelope_from, envelope_to, reasons, dkim, spf, odd_values
    )
    select
        1, n % 50 + 1, n, date '2024-03-01', uuid '10000000-0000-0000-0000-000000000000', n % 3 = 0, nullif(n % 4, 3) = 0,
        '192.0.2.0'::inet + n % 300, (array['none', 'quarantine', 'reject'])[n % 3 + 1], 'shop' || n % 5 || '.example.com',
        case when n % 2 = 0 then 'bounce.example.com' end, null,
        case when n % 11 = 0 then '[{"type": "forwarded", "comment": "\"so\" it was"}]'::jsonb end,
        '[{"domain": "example.com", "selector": "s1", "result": "pass"}]'::jsonb,
        '[{"domain": "example.com", "scope": "mfrom", "result": "softfail"}]'::jsonb, null::jsonb
    from generate_series(0, 2499) as n
    where n % 7 <> 3
    union all
    select
        2, 10, n, date '1970-01-02', uuid '20000000-0000-0000-0000-000000000000', null, null, '2001:db8::1', null,
        null, null, null, null, null, null, '[{"element": "row/policy_evaluated/dkim", "text": "maybe"}]'
    from generate_series(0, 1) as n;
    update reports
    set (record_count, message_count, dmarc_pass_count) = (
        select reports.skipped_count + count(*), sum(message_count), coalesce(sum(message_count) filter (where dkim_aligned or spf_aligned), 0)
        from records
        where records.report_uid = reports.report_uid
    );
    create table records_before as select * from records;
    create table reports_before as select * from reports;
"#;

/// A database as the first release left it.
async fn older() -> Database {
    let database = Database::empty().await;
    let older = store::MIGRATOR
        .iter()
        .filter(|migration| migration.version <= ROWS)
        .cloned()
        .collect();
    let mut older_migrator = Migrator::DEFAULT;
    older_migrator.migrations = Cow::Owned(older);
    let mut connection = PgConnection::connect_with(&database.connect_options())
        .await
        .unwrap();
    older_migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_row_by_row_is_kept_in_blocks() {
    let database = older().await;
    database.execute(FILL).await;

    let store = database.store();
    store.migrate().await.unwrap();
    store.close().await;

    for (columns, table) in [("*", "reports"), (RECORD_COLUMNS, "records")] {
        let rows = |name: &str| format!("select {columns} from {name}");
        let before = rows(&format!("{table}_before"));
        let now = rows(table);
        let differences = format!(
            "select count(*) from (({now} except all {before}) union all ({before} except all {now})) d"
        );
        assert_eq!(database.value::<i64>(&differences).await, 0, "{table}");
    }
    assert_eq!(database.mismatches().await, []);
    let days = "select count(distinct day) from source_days where domain_id = 2";
    assert_eq!(database.value::<i64>(days).await, 3);
    let blocks = "select count(*) from record_blocks where domain_id = 1";
    assert_eq!(database.value::<i64>(blocks).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_in_the_audit_once() {
    let database = older().await;
    let stores = [database.store(), database.store()];

    let migrations = stores.each_ref().map(|store| async {
        store.migrate_for(&Actor::serve()).await.unwrap();
        store.close().await;
    });
    join_all(migrations).await;

    let told: String = database
        .value("select string_agg(concat_ws(' ', actor, action, subject), ', ' order by subject) from audit")
        .await;
    let newer = store::MIGRATOR.iter().map(|migration| migration.version);
    let newer = newer.filter(|version| *version > ROWS);
    let newer: Vec<String> = newer
        .map(|version| format!("serve migrated {version}"))
        .collect();
    assert_eq!(told, newer.join(", "));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_make_a_database_is_no_change_of_it() {
    let database = Database::empty().await;
    let store = database.store();
    store.migrate_for(&Actor::cli()).await.unwrap();
    store.close().await;
    let rows = "select count(*) from audit";
    assert_eq!(database.value::<i64>(rows).await, 0);
}

const RECORD_COLUMNS: &str = "domain_id, message_count, position, day, report_uid, dkim_aligned, spf_aligned, source_ip, disposition, \
    header_from, envelope_from, envelope_to, reasons, dkim, spf, odd_values";
