//! A service filled with generated reports, and what it must answer.

use crate::{
    harness::{Database, Program, Service},
    reports::{Generated, Options, Truth, generate},
};

pub(crate) const OPTIONS: Options = Options {
    seed: 42,
    reports: 300,
    records_max: 12,
    duplicates: 15,
    malformed: 10,
};

/// Uploads every delivery.
pub(crate) async fn uploaded(service: &Service) -> Generated {
    let generated = generate(OPTIONS);
    let mut statuses = [0; 3];
    for (name, bytes) in &generated.deliveries {
        let answer = service.upload(bytes.clone()).await;
        match answer.status {
            201 => statuses[0] += 1,
            200 => statuses[1] += 1,
            422 => statuses[2] += 1,
            _ => panic!("{name}: {answer:?}"),
        }
    }
    assert_eq!(
        statuses,
        [
            generated.reports.len(),
            generated.duplicates,
            generated.malformed
        ]
    );
    generated
}

/// A database into which the program imported every delivery.
pub(crate) async fn imported() -> (Generated, Database) {
    let generated = generate(OPTIONS);
    let folder = tempfile::tempdir().unwrap();
    generated.write_to(folder.path());
    let database = Database::fresh().await;
    let ended = Program::new(["import", "--format", "json"])
        .arg(folder.path())
        .on(&database)
        .run()
        .await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let json = ended.json();
    assert_eq!(json["deliveries"], generated.deliveries.len());
    assert_eq!(json["reports"]["stored"], generated.reports.len());
    assert_eq!(json["reports"]["duplicate"], generated.duplicates);
    assert_eq!(json["reports"]["conflict"], 0);
    assert_eq!(json["reports"]["rejected"], generated.malformed);
    assert_eq!(json["reports"]["skipped_not_aggregate"], 0);
    let records: usize = generated
        .reports
        .iter()
        .map(|report| report.records.len())
        .sum();
    assert_eq!(json["records"], records);
    let messages: u64 = generated
        .reports
        .iter()
        .map(|report| report.message_count())
        .sum();
    assert_eq!(json["messages"], messages);
    (generated, database)
}

/// Asserts that every source of every domain is what the reports say, and that all totals reconcile.
pub(crate) async fn assert_true(service: &Service, truth: Truth<'_>) {
    for domain in truth.domains() {
        assert_eq!(
            service.sources(&domain).await,
            truth.sources(&domain),
            "{domain}"
        );
        assert_eq!(
            service.totals(&domain).await,
            truth.totals(&domain),
            "{domain}"
        );
    }
    let domains: Vec<String> = service
        .list("/api/v1/domains")
        .await
        .iter()
        .map(|domain| domain["domain"].as_str().unwrap().into())
        .collect();
    assert_eq!(domains, truth.domains().into_iter().collect::<Vec<_>>());
    assert_eq!(service.database.report_count().await, truth.0.len() as i64);
    assert_eq!(service.database.mismatches().await, []);
}
