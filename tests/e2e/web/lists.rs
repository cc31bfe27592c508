//! Lists: sorted by their heads, filtered by their forms, saved as files, gone through to their end.

use serde_json::{Value, json};

use super::{Filled, filled, two_orders};
use crate::{
    harness::{Browser, Service},
    reports::Report,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_column_sorts() {
    let service = two_orders().await;
    let browser = Browser::start(service.address).await;
    let state = "(({ textContent }, heads) => [textContent, ...heads.map((one) => one.querySelector('.plain').textContent), document.activeElement.id])\
        (document.querySelector('section:has(#choose-sort) tbody th'), [...document.querySelectorAll('th[aria-sort=descending]')])";
    for (path, most_messages, most_failures) in [
        ("/", "large.example", "bad.example"),
        ("/domains/large.example", "192.0.2.1", "192.0.2.2"),
    ] {
        browser.open(path).await;
        let shown = browser.value(state).await;
        assert_eq!(shown, json!([most_messages, "Messages", ""]), "{path}");

        browser
            .value("document.getElementById('sort-Fail').focus()")
            .await;
        browser.press("Enter").await;

        browser.until("location.search === '?sort=failures'").await;
        browser.settled().await;
        let shown = browser.value(state).await;
        assert_eq!(shown, json!([most_failures, "Fail", "sort-Fail"]), "{path}");
        let chosen = "document.getElementById('choose-sort').value";
        assert_eq!(browser.value(chosen).await, "failures");
    }
    browser.close().await;
}

fn table(csv: &[u8]) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.deserialize().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sources_that_are_shown_are_saved_as_csv() {
    let Filled { service, .. } = filled().await;
    let filter = "sort=failures&pass=false&net=203.0.113.0%2F24";
    let list = format!("/api/v1/domains/example.com/sources?{filter}");
    let expected = service.list(&list).await;
    let browser = Browser::start(service.address).await;
    browser
        .open(&format!("/domains/example.com?{filter}"))
        .await;

    let rows = table(&browser.download("Download as CSV").await);

    let saved: Vec<Value> = rows
        .iter()
        .map(|row| json!([row["source_ip"], row["dmarc_fail_count"]]))
        .collect();
    let expected: Vec<Value> = expected
        .iter()
        .map(|item| json!([item["source_ip"], item["dmarc_fail_count"].to_string()]))
        .collect();
    assert!(expected.len() > 1);
    assert_eq!(saved, expected);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_holds_no_formulas() {
    let service = Service::start().await;
    let row = "insert into audit (actor, actor_name, action, subject) values ('=1+1', '@SUM(1)', '+cmd', '-2')";
    service.database.execute(row).await;
    let browser = Browser::start(service.address).await;
    browser.open("/audit").await;

    let rows = table(&browser.download("Download as CSV").await);

    assert_eq!(rows.len(), 1);
    for (column, cell) in [
        ("actor", "'=1+1"),
        ("actor_name", "'@SUM(1)"),
        ("action", "'+cmd"),
        ("subject", "'-2"),
    ] {
        assert_eq!(rows[0][column], cell);
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_found_by_domain_and_reporter() {
    let Filled { service, .. } = filled().await;
    let filter = "domain=example.org&org_name=Grosspost%20GmbH";
    let expected = service.list(&format!("/api/v1/reports?{filter}")).await;
    let browser = Browser::start(service.address).await;
    browser.open("/reports").await;

    browser.fill("domain", "example.org").await;
    browser.fill("org-name", "Grosspost GmbH").await;
    browser.press("Enter").await;

    browser
        .until("location.search === '?domain=example.org&org_name=Grosspost+GmbH'")
        .await;
    browser.settled().await;
    let names = "[...document.querySelectorAll('tbody tr')].map((row) => `${row.cells[1].textContent} ${row.cells[2].textContent}`)";
    let names = browser.value(names).await;
    let names = names.as_array().unwrap();
    assert_eq!(names.len(), expected.len());
    assert!(
        names
            .iter()
            .all(|name| name == "example.org Grosspost GmbH"),
        "{names:?}"
    );
    browser.fill("from", "2024-03-05").await;
    browser.choose("choose-mail_dmarc_pass", "true").await;
    browser.click("Filter").await;
    browser.shows("No report matches.").await;
    browser.click("Show all").await;
    assert_eq!(browser.address().await, "/reports");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_source_are_those_of_the_domain_chosen() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/sources/198.51.100.20?to=2024-03-30").await;
    let from = "[...new Set([...document.querySelectorAll('td[data-label=From]')].map((one) => one.textContent))].join()";
    assert_eq!(browser.value(from).await, "example.com");

    browser.choose("choose-domain", "shop.example").await;
    let submit = "document.getElementById('choose-domain').form.querySelector('button').click()";
    browser.value(submit).await;

    browser
        .until("location.search === '?to=2024-03-30&domain=shop.example'")
        .await;
    browser.settled().await;
    assert_eq!(browser.value(from).await, "shop.example");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_many_domains_shows_them_all() {
    let service = Service::start().await;
    for number in 0..205 {
        let report = Report::new(&format!("d{number}.example"), "1").passing("192.0.2.1", 2);
        service.store(report.xml()).await;
    }
    let browser = Browser::start(service.address).await;
    browser.open("/sources/192.0.2.1").await;
    let rows = "document.querySelectorAll('section table')[1].querySelectorAll('tbody tr').length";
    assert_eq!(browser.value(rows).await, 200);

    browser.click("Show more").await;

    browser.until(&format!("{rows} === 205")).await;
    let last = "[...document.querySelectorAll('section table')[1].querySelectorAll('tbody th')].at(-1).textContent";
    let last = browser.value(last).await;
    browser.fill("choose-domain", last.as_str().unwrap()).await;
    browser.press("Enter").await;
    browser.until("location.search.includes('domain=')").await;
    browser.settled().await;
    let from = "document.querySelector('td[data-label=From]').textContent";
    assert_eq!(browser.value(from).await, last);
    browser.close().await;
}
