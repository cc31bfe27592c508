//! The rollup is merged in the background, and nobody can tell from the answers.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use store::{Compacted, Range, SourceFilter, Store};
use time::{
    OffsetDateTime,
    macros::{date, datetime},
};

use crate::{
    generated::{OPTIONS, assert_true, imported},
    harness::{Database, Program, Service, eventually, query},
    reports::{DAY, FIRST_SECOND, Random, Record, Report, Truth, generate},
};

const NOW: OffsetDateTime = datetime!(2024-04-01 12:00 UTC);
const ALL_DAYS: &str = "from=2020-01-01&to=2026-12-31";

/// Everything in the view `source_days`, as one value that does not depend on how it is kept.
const ROLLUP: &str = "select md5(string_agg(t::text, ';' order by t::text)) from ( \
    select domain_id, day, source_ip, header_from, disposition, dkim_aligned, spf_aligned, \
        sum(message_count), sum(report_count), sum(source_report_count) \
    from source_days group by 1, 2, 3, 4, 5, 6, 7) t";

/// Keeps all others from merging, as a process that is at it does.
struct Turn(PgConnection);

impl Turn {
    async fn take(database: &Database) -> Self {
        let mut connection = PgConnection::connect_with(&database.connect_options())
            .await
            .unwrap();
        sqlx::query("select pg_advisory_lock(hashtext('ruad.rollup.' || current_schema))")
            .execute(&mut connection)
            .await
            .unwrap();
        Self(connection)
    }

    async fn end(self) {
        self.0.close().await.unwrap();
    }
}

/// Merges until nothing is left.
async fn compact(store: &Store) {
    while let Compacted::Moved(_) = store.compact(NOW).await.unwrap() {}
}

async fn arrived(database: &Database) -> i64 {
    let count = "select coalesce(sum(sum_count), 0)::bigint from source_day_arrivals";
    database.value(count).await
}

/// Answers of all kinds.
async fn answers(service: &Service) -> Vec<Value> {
    let mut answers = service.list(&format!("/api/v1/domains?{ALL_DAYS}")).await;
    let domains: Vec<String> = answers
        .iter()
        .map(|domain| domain["domain"].as_str().unwrap().into())
        .collect();
    for domain in domains {
        let path = format!("/api/v1/domains/{}", query(&domain));
        for days in ["", ALL_DAYS] {
            answers.push(service.get(&format!("{path}/summary?{days}")).await);
            answers.extend(service.list(&format!("{path}/sources?{days}")).await);
        }
    }
    for ip in ["192.0.2.1", "192.0.2.77", "2001:db8::1", "203.0.113.9"] {
        for days in ["", ALL_DAYS] {
            let path = format!("/api/v1/sources/{ip}?{days}");
            answers.push(service.get(&path).await["series"].clone());
            answers.extend(service.list(&format!("{path}&limit=2")).await);
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_before_during_and_after() {
    let (generated, database) = imported().await;
    let turn = Turn::take(&database).await;
    let service = Service::start_with(database, |_| {}).await;
    let (before, rollup) = (
        answers(&service).await,
        service.database.value::<String>(ROLLUP).await,
    );
    let waiting = arrived(&service.database).await;
    assert!(waiting > 0);

    let store = service.database.store();
    assert_eq!(store.compact(NOW).await.unwrap(), Compacted::Busy);
    let merging = async {
        turn.end().await;
        eventually("it is merged", async || {
            store.compact(NOW).await.unwrap();
            arrived(&service.database).await == 0
        })
        .await;
    };
    let reading = async {
        for _ in 0..5 {
            assert_eq!(answers(&service).await, before);
        }
    };
    tokio::join!(merging, reading);

    assert_eq!(answers(&service).await, before);
    assert_eq!(service.database.value::<String>(ROLLUP).await, rollup);
    assert_eq!(store.compact(NOW).await.unwrap(), Compacted::Nothing);
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_merges_in_any_order_come_to_the_same() {
    for seed in 1..=2 {
        let generated = generate(crate::reports::Options { seed, ..OPTIONS });
        let service = Service::start().await;
        let store = service.database.store();
        let mut random = Random(seed);
        for (_, bytes) in &generated.deliveries {
            service.upload(bytes.clone()).await;
            if random.chance(20) {
                compact(&store).await;
            }
        }
        let merged = "select count(*) from source_day_blocks where run_sum_count > 10";
        assert!(service.database.value::<i64>(merged).await > 0);

        assert_true(&service, Truth(&generated.reports)).await;
        compact(&store).await;
        assert_true(&service, Truth(&generated.reports)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_arrive_while_several_processes_merge() {
    let service = Service::start().await;
    let generated = generate(OPTIONS);
    let uploads = async {
        for deliveries in generated.deliveries.chunks(8) {
            let uploads = deliveries
                .iter()
                .map(|(_, bytes)| service.upload(bytes.clone()));
            futures_util::future::join_all(uploads).await;
        }
    };
    let merging = async {
        let stores = [service.database.store(), service.database.store()];
        loop {
            for done in
                futures_util::future::join_all(stores.iter().map(|store| store.compact(NOW))).await
            {
                done.unwrap();
            }
        }
    };

    tokio::select! {
        () = uploads => {}
        () = merging => {}
    }

    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_is_broken_off_changes_nothing() {
    let (generated, database) = imported().await;
    let (rollup, waiting) = (
        database.value::<String>(ROLLUP).await,
        arrived(&database).await,
    );
    let mut broken_off = 0;
    for millis in 0.. {
        let store = database.store();
        let cut = tokio::time::timeout(Duration::from_millis(millis), store.compact(NOW)).await;
        match cut {
            // The server has not yet noticed that the one before is gone.
            Ok(Ok(Compacted::Busy)) => continue,
            Ok(compacted) => {
                compacted.unwrap();
                break;
            }
            Err(_) => broken_off += 1,
        }
        assert_eq!(database.value::<String>(ROLLUP).await, rollup);
        if arrived(&database).await == 0 {
            // Only its answer was lost: the commit was on its way.
            break;
        }
        assert_eq!(arrived(&database).await, waiting);
    }
    assert!(broken_off > 5, "{broken_off}");

    let service = Service::start_with(database, |_| {}).await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_whose_server_process_dies_changes_nothing() {
    let (_, database) = imported().await;
    let rollup = database.value::<String>(ROLLUP).await;
    let store = database.store();
    // It waits here, with everything but the last table written.
    let mut holder = PgConnection::connect_with(&database.connect_options())
        .await
        .unwrap();
    sqlx::raw_sql("begin; lock table source_blocks in share mode")
        .execute(&mut holder)
        .await
        .unwrap();
    let blocked =
        "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let killing = async {
        eventually("the job waits", async || {
            let count = format!("select count(*) {blocked}");
            database.value::<i64>(&count).await == 1
        })
        .await;
        let kill = format!("select count(pg_terminate_backend(pid)) {blocked}");
        database.value::<i64>(&kill).await
    };

    let (merged, killed) = tokio::join!(store.compact(NOW), killing);

    assert!(merged.unwrap_err().is_passing());
    assert_eq!(killed, 1);
    holder.close().await.unwrap();
    assert_eq!(database.value::<String>(ROLLUP).await, rollup);
    assert!(arrived(&database).await > 0);
    compact(&store).await;
    assert_eq!(database.value::<String>(ROLLUP).await, rollup);
    assert_eq!(database.mismatches().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn ruad_serve_merges_by_itself() {
    let (generated, database) = imported().await;

    let service = Service::start_with(database, |_| {}).await;

    eventually("it is merged", async || {
        arrived(&service.database).await == 0
    })
    .await;
    assert_true(&service, Truth(&generated.reports)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_at_every_edge_are_found() {
    const EDGES: [&str; 6] = [
        "0.0.0.0",
        "0.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    let service = Service::start().await;
    let mut report = Report::new("example.com", "edges");
    for (number, ip) in EDGES.iter().enumerate() {
        report
            .records
            .push(Record::new(ip, 1 << number, "example.com"));
    }
    service.store(report.xml()).await;
    for merged in [false, true] {
        if merged {
            compact(&service.database.store()).await;
        }
        for (number, ip) in EDGES.iter().enumerate() {
            let answer = service.get(&format!("/api/v1/sources/{ip}")).await;
            assert_eq!(answer["message_count"], 1 << number, "{ip} {merged}");
            assert_eq!(answer["items"][0]["report_count"], 1, "{ip} {merged}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_with_equal_counts_are_listed_page_by_page() {
    let service = Service::start().await;
    let mut expected = Vec::new();
    for number in 0..25 {
        let domain = format!("domain{number:02}.example");
        let report = Report::new(&domain, "1").passing("192.0.2.1", 10 - number / 8);
        service.store(report.xml()).await;
        expected.push(domain);
        if number % 10 == 0 {
            compact(&service.database.store()).await;
        }
    }

    for limit in [1, 3, 8, 100] {
        let items = service
            .list(&format!("/api/v1/sources/192.0.2.1?limit={limit}"))
            .await;
        let domains: Vec<&str> = items
            .iter()
            .map(|item| item["domain"].as_str().unwrap())
            .collect();
        assert_eq!(domains, expected, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_day_of_an_address_is_found_in_every_month() {
    let service = Service::start().await;
    let store = service.database.store();
    let sent_on = async |days: i64| {
        let begin = FIRST_SECOND + days * DAY;
        let report = Report::new("example.com", &days.to_string()).period(begin, begin + DAY - 1);
        // The neighbours make blocks in which the address could be.
        let mut report = report.passing("10.0.0.1", 1).passing("200.0.0.1", 1);
        if days % 2 == 0 {
            report = report.passing("192.0.2.1", 1);
        }
        service.store(report.xml()).await;
        compact(&store).await;
        service.get("/api/v1/sources/192.0.2.1").await["to"].clone()
    };

    assert_eq!(sent_on(-1).await, Value::Null);
    assert_eq!(sent_on(0).await, "2024-03-01");
    assert_eq!(sent_on(61).await, "2024-03-01");
    assert_eq!(sent_on(31).await, "2024-03-01");
    assert_eq!(sent_on(30).await, "2024-03-31");
    assert_eq!(sent_on(62).await, "2024-05-02");
    assert_eq!(sent_on(10).await, "2024-05-02");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_larger_than_a_job_is_merged_part_by_part() {
    let database = Database::fresh().await;
    let sums = 400_000;
    database
        .execute("insert into domains (name) values ('example.com')")
        .await;
    let fill = format!(
        "insert into source_day_arrivals \
        select domain_id, '2024-03-01', min(ip), max(ip), count(*), count(*), count(*), 0, 0, 0, count(*), 0, 0, 0, 0, \
            array_agg(ip order by ip), array_agg(1::smallint), array_agg(1::bigint), null, null, '[{{\"disposition\": \"none\"}}]' \
        from domains, (select '10.0.0.0'::inet + n * 7 % {sums} as ip, n / 2000 as row from generate_series(0, {sums} - 1) n) sums \
        group by domain_id, row"
    );
    assert_eq!(database.execute(&fill).await, 200);
    let store = database.store();

    let mut jobs = Vec::new();
    while let Compacted::Moved(sum_count) = store.compact(NOW).await.unwrap() {
        jobs.push(sum_count);
    }

    assert!(
        jobs.len() > 1 && jobs.iter().sum::<u64>() == sums,
        "{jobs:?}"
    );
    assert_eq!(
        database
            .value::<i64>("select count(distinct source_ip) from source_days")
            .await,
        sums as i64
    );
    let checks = database.mismatches().await;
    assert!(
        checks.iter().all(|found| found.check == "source_days"),
        "nothing is in the records"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_differ_are_found_and_repaired() {
    for tampering in [
        "delete from source_blocks",
        "insert into source_blocks select * from source_blocks",
        "update source_blocks set month = month - interval '1 month'",
        "update source_blocks set last_source = first_source - 1",
        "update source_blocks set results[1] = 44",
        "update source_blocks set message_counts[1] = message_counts[1] + 1",
        "update source_blocks set source_report_counts[1] = 2",
        "update source_blocks set days[1] = days[1] + 1",
        "update source_blocks set domain_ids[1] = 0",
    ] {
        let service = Service::start().await;
        let report = Report::new("example.com", "1").passing("192.0.2.1", 10);
        service.store(report.failing("192.0.2.2", 20).xml()).await;
        let database = service.stop().await;
        compact(&database.store()).await;
        assert_eq!(database.mismatches().await, []);

        assert!(database.execute(tampering).await > 0, "{tampering}");

        let found = database.mismatches().await;
        assert!(
            !found.is_empty() && found.iter().all(|found| found.check == "source_blocks"),
            "{tampering}: {found:?}"
        );
        Program::new(["rebuild"])
            .on(&database)
            .run()
            .await
            .succeeded();
        compact(&database.store()).await;
        assert_eq!(database.mismatches().await, [], "{tampering}");
    }
}

/// A year of days, each with its own addresses from the first to the last there is in one row.
const WIDE_DAYS: &str = r#"
    insert into domains (name) values ('wide.example');
    insert into source_day_arrivals (
        domain_id, day, first_source, last_source, sum_count, source_report_count, message_count, dmarc_pass_count,
        dkim_aligned_count, spf_aligned_count,
        disposition_none, disposition_pass, disposition_quarantine, disposition_reject, disposition_unknown,
        source_ips, key_numbers, message_counts, keys
    )
    select
        1, date '2024-01-01' + day, min(source_ip), max(source_ip), 1500, 1500, sum(n % 7 + 1), 0, 0, 0,
        sum(n % 7 + 1), 0, 0, 0, 0,
        array_agg(source_ip order by source_ip), array_agg(1::smallint), array_agg((n % 7 + 1)::bigint order by source_ip),
        '[{"disposition": "none", "dkim_aligned": false, "spf_aligned": false, "header_from": "wide.example"}]'
    from generate_series(0, 299) as day, generate_series(0, 1499) as n,
        lateral (select '0.0.0.0'::inet + (n * 2863311::bigint + day * 7919) as source_ip) as address
    group by day
"#;

#[tokio::test(flavor = "multi_thread")]
async fn many_days_of_many_sources_are_added_up_part_by_part() {
    let database = Database::fresh().await;
    database.execute(WIDE_DAYS).await;
    let store = database.store();
    let range = Range {
        from: date!(2024 - 01 - 01),
        to: date!(2024 - 12 - 31),
    };

    let sources = store
        .sources(1, range, &SourceFilter::default(), 1000)
        .await;
    let summary = store.domain(1, "wide.example".into(), range).await.unwrap();

    let listed: Vec<String> = sources
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row.source_ip, row.totals.message_count))
        .collect();
    let expected: String = database
        .value(
            "select string_agg(host(source_ip) || ' ' || messages, e'\\n' order by messages desc, source_ip) from ( \
                select source_ip, sum(message_count) as messages from source_days group by source_ip \
                order by messages desc, source_ip limit 1000) s",
        )
        .await;
    assert_eq!(listed.join("\n"), expected);
    let different = "select count(distinct source_ip) from source_days";
    assert_eq!(summary.source_count, database.value::<i64>(different).await);
}
