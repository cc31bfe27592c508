//! What was handed over: finding it, having it, trying it again.

use super::{Filled, filled};
use crate::{
    harness::{Browser, Database, Service},
    reports::Report,
};

const ROWS: &str = "document.querySelectorAll('tbody tr').length";

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_found_by_their_origin() {
    let Filled { service, .. } = filled().await;
    let mailbox = "update deliveries set origin = 'imap:dmarc' where outcome = 'rejected'";
    let mailed = service.database.execute(mailbox).await;
    let browser = Browser::start(service.address).await;
    browser.open("/deliveries").await;
    assert_eq!(browser.value(ROWS).await, 50);

    browser.fill("origin", "imap:dmarc").await;
    browser.press("Enter").await;

    browser
        .until("location.search === '?origin=imap%3Admarc'")
        .await;
    browser.settled().await;
    assert_eq!(browser.value(ROWS).await, mailed);
    browser.click("Duplicates").await;
    browser.shows("No delivery matches.").await;
    let address = browser.address().await;
    assert!(address.contains("origin=imap%3Admarc"), "{address}");
    browser.click("Show all").await;
    assert_eq!(browser.address().await, "/deliveries?outcome=duplicate");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_a_choice_away() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/deliveries").await;

    browser.click("Kept").await;

    assert_eq!(browser.address().await, "/deliveries?raw_kept=true");
    let kept =
        "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[2].textContent).join()";
    assert_eq!(browser.value(kept).await, "Rejected kept,Rejected kept");
    browser.fill("origin", "imap:dmarc").await;
    browser.press("Enter").await;
    browser.shows("No delivery matches.").await;
    let address = browser.address().await;
    assert!(address.contains("raw_kept=true"), "{address}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_leads_to_what_came_from_it() {
    let Filled { service, .. } = filled().await;
    let mailbox = "update deliveries set origin = 'imap:dmarc' where outcome = 'rejected'";
    let mailed = service.database.execute(mailbox).await;
    let browser = Browser::start(service.address).await;
    browser.open("/mailboxes").await;

    browser.click("What came from it").await;

    browser.shows("Deliveries, newest first").await;
    let origin = "document.getElementById('origin').value";
    assert_eq!(browser.value(origin).await, "imap:dmarc");
    assert_eq!(browser.value(ROWS).await, mailed);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_delivery_are_saved_as_they_came() {
    let service = Service::start().await;
    let bytes = b"<html>\xff\x00 no report";
    let answer = service.upload(&bytes[..]).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let id = answer.json()["delivery_id"].clone();
    let browser = Browser::start(service.address).await;
    browser
        .open(&format!("/deliveries/{}", id.as_str().unwrap()))
        .await;

    let saved = browser.download("Download").await;

    assert_eq!(saved, bytes);
    browser.close().await;
}

/// A delivery that was rejected for its domain, at a service that would take it now.
async fn rejected_once() -> (Service, String) {
    let strict = Service::start_with(Database::fresh().await, |config| {
        config.domains = vec!["example.org".to_owned()].into();
    })
    .await;
    let report = Report::new("example.com", "1").passing("192.0.2.1", 4);
    let answer = strict.upload(report.xml()).await;
    assert_eq!(answer.outcomes(), ["rejected"], "{answer:?}");
    let id = answer.json()["delivery_id"].as_str().unwrap().to_owned();
    let service = Service::start_with(strict.stop().await, |_| {}).await;
    (service, format!("/deliveries/{id}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_stored_at_the_second_try() {
    let (service, delivery) = rejected_once().await;
    let browser = Browser::start(service.address).await;
    browser.open(&delivery).await;
    browser.shows("Its bytes are kept for a time").await;

    browser.click("Try again").await;

    browser.shows("Tried again: stored.").await;
    browser.shows("Its bytes are not kept").await;
    browser.click("example.com").await;
    browser.shows("All 4 messages pass.").await;
    browser.close().await;
}

/// The page of a delivery shows itself anew a moment after a try.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_gone_elsewhere_is_left_alone() {
    let (service, delivery) = rejected_once().await;
    let browser = Browser::start(service.address).await;
    browser.open(&delivery).await;
    let hold = "window.soon = setTimeout, window.setTimeout = (work, ms) => (ms === 1200 ? (window.late = work) : soon(work, ms))";
    browser.value(&format!("{hold}, 0")).await;
    browser.click("Try again").await;
    browser.until("window.late").await;

    browser.click("Reports").await;
    browser.fill("org-name", "half a name").await;
    browser.value("window.late(), 0").await;

    browser.settled().await;
    let typed = "document.getElementById('org-name').value";
    assert_eq!(browser.value(typed).await, "half a name");
    browser.close().await;
}
