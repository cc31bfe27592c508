//! `ruad sources`.

use insta::assert_snapshot;
use serde_json::Value;

use crate::{
    harness::{Database, Program, Service},
    reports::{DAY, FIRST_SECOND, Report},
};

async fn filled() -> Database {
    let service = Service::start().await;
    let first = Report::new("example.com", "1")
        .passing("192.0.2.1", 1200)
        .failing("2001:db8::7", 30);
    let second =
        Report::new("example.com", "2").period(FIRST_SECOND + DAY, FIRST_SECOND + 2 * DAY - 1);
    service.store(first.xml()).await;
    service
        .store(
            second
                .passing("192.0.2.1", 34)
                .failing("192.0.2.1", 1)
                .xml(),
        )
        .await;
    service.stop().await
}

async fn sources(database: &Database, arguments: &[&str]) -> String {
    let program = Program::new(["sources", "Example.COM."]).on(database);
    arguments
        .iter()
        .fold(program, Program::arg)
        .run()
        .await
        .succeeded()
        .stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_printed_as_text() {
    let database = filled().await;
    assert_snapshot!(sources(&database, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_printed_as_csv() {
    let database = filled().await;
    assert_snapshot!(sources(&database, &["--format", "csv", "--sort", "failures"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_long_ago_are_a_matter_of_usage() {
    let database = filled().await;
    let program = |to: &str| {
        let to = format!("--to={to}");
        Program::new(["sources", "example.com", to.as_str()]).on(&database)
    };

    let refused = program("-9999-01-05").run().await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let first = program("0001-01-05").run().await.succeeded();
    assert!(
        first.stdout.contains("from 0001-01-01 to 0001-01-05"),
        "{first:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_in_json_are_what_the_api_answers() {
    let service = Service::start_with(filled().await, |_| {}).await;
    for (arguments, query) in [
        (&[][..], ""),
        (&["--sort", "failures"], "sort=failures"),
        (&["--from", "2024-03-02"], "from=2024-03-02"),
        (
            &["--from", "2024-03-01", "--to", "2024-03-01"],
            "from=2024-03-01&to=2024-03-01",
        ),
    ] {
        let json = sources(
            &service.database,
            &[&["--format", "json"], arguments].concat(),
        )
        .await;

        let printed: Value = serde_json::from_str(&json).unwrap();
        let mut answered = service
            .get(&format!("/api/v1/domains/example.com/sources?{query}"))
            .await;
        answered.as_object_mut().unwrap().remove("next");
        assert_eq!(printed, answered, "{arguments:?}");
    }
}
