//! What a page tells of one domain, and of one report that is not as it should be.

use serde_json::Value;
use store::Forget;
use time::macros::date;

use super::{Filled, filled};
use crate::{
    harness::{Browser, Service},
    reports::{DAY, FIRST_SECOND, Report},
};

/// The cells of the table in the section with this heading, row by row, without what groups the digits of numbers.
async fn rows(browser: &Browser, heading: &str) -> Vec<Vec<String>> {
    let section = format!(
        "[...document.querySelectorAll('section')].find((one) => one.querySelector('h2').textContent === {heading:?})"
    );
    let cells = format!(
        "[...{section}.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent.replaceAll(',', '')))"
    );
    serde_json::from_value(browser.value(&cells).await).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().map_or(value.to_string(), String::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reporters_of_a_domain_are_those_of_the_api() {
    let Filled { service, .. } = filled().await;
    let list = "/api/v1/domains/example.com/reporters";
    let reporters = service.list(list).await;
    assert_eq!(reporters.len(), 3);
    let browser = Browser::start(service.address).await;

    browser.open("/domains/example.com").await;

    let shown = rows(&browser, "Who reports").await;
    let expected = reporters
        .iter()
        .map(|one| ["org_name", "report_count", "message_count"].map(|key| text(&one[key])));
    let shown = shown.iter().map(|row| row[..3].to_vec());
    assert!(shown.eq(expected), "{reporters:?}");
    browser.click("Grosspost GmbH").await;
    browser.shows("Every report that is stored").await;
    let address = browser.address().await;
    assert!(
        address.starts_with("/reports?domain=example.com&org_name=Grosspost+GmbH&from="),
        "{address}"
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_of_a_domain_are_told_in_their_order() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;

    browser.open("/domains/example.com").await;

    let shown = rows(&browser, "The policy so far").await;
    let expected = [
        [
            "p=reject",
            "as the domain",
            "16 Mar 2024",
            "30 Mar 2024",
            "45",
        ],
        ["p=quarantine", "sp=none", "1 Mar 2024", "15 Mar 2024", "45"],
    ];
    let shown = shown
        .iter()
        .map(|row| [&row[0], &row[1], &row[3], &row[4], &row[5]]);
    assert!(
        shown.clone().eq(expected),
        "{:?}",
        shown.collect::<Vec<_>>()
    );
    browser.shows("Names that do not exist (np)").await;
    browser.close().await;
}

fn uid(stored: &Value) -> String {
    format!(
        "/reports/{}",
        stored["reports"][0]["report_uid"].as_str().unwrap()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_was_odd_about_it_and_what_was_left_out() {
    let service = Service::start().await;
    let report = Report::new("example.com", "odd")
        .passing("192.0.2.1", 4)
        .passing("192.0.2.2", 5);
    let xml = String::from_utf8(report.xml()).unwrap();
    let xml = xml
        .replace("<source_ip>192.0.2.2", "<source_ip>nowhere")
        .replace(
            "</report_metadata>",
            "<error>we ran out of paper</error></report_metadata>",
        )
        .replace("<disposition>none", "<disposition>shrug");
    let report = uid(&service.store(xml).await);
    let browser = Browser::start(service.address).await;
    browser.open("/reports").await;
    for remark in ["1 skipped", "errors", "oddities"] {
        browser.shows(remark).await;
    }

    browser.open(&report).await;

    browser.shows("not in the figures").await;
    browser.shows("we ran out of paper").await;
    browser
        .shows("odd: policy_evaluated/disposition is shrug")
        .await;
    let summary = "document.querySelector('section details > summary').click()";
    browser.value(summary).await;
    let deviations = rows(&browser, "What was odd").await;
    assert!(!deviations.is_empty());
    browser.shows(&deviations[0][0]).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_its_records_says_so() {
    let service = Service::start().await;
    let begin = FIRST_SECOND - 60 * DAY;
    let old = Report::new("example.com", "old")
        .period(begin, begin + DAY - 1)
        .passing("192.0.2.1", 4);
    let report = uid(&service.store(old.xml()).await);
    let store = service.database.store();
    let records = Forget {
        records_before: Some(date!(2024 - 03 - 15)),
        days_before: None,
    };
    store.forget(records).await.unwrap();
    store.close().await;
    let browser = Browser::start(service.address).await;

    browser.open(&report).await;

    browser
        .shows("The records of this report are kept no longer")
        .await;
    browser.shows("4 messages").await;
    browser.close().await;
}
