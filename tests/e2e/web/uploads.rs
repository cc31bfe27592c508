//! Bringing reports in by hand: whole folders, what cannot be taken, and people who may do nothing else.

use std::{fs, path::Path};

use serde_json::json;
use store::Scope;

use super::signed_in;
use crate::{
    harness::{Browser, Service, make_token},
    reports::Report,
};

const LINKS: &str = "[...document.querySelectorAll('main a')].map((one) => one.pathname).join()";

/// Writes a report of four messages about this domain.
fn write(folder: &Path, domain: &str) -> std::path::PathBuf {
    let file = folder.join(format!("{domain}.xml"));
    let report = Report::new(domain, "by hand").passing("192.0.2.1", 4);
    fs::write(&file, report.xml()).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_dropped_are_taken_whole() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("2024/march");
    fs::create_dir_all(&inner).unwrap();
    write(folder.path(), "one.example");
    write(&inner, "two.example");
    let browser = Browser::start(service.address).await;
    browser.open("/upload").await;

    browser.drop_files(".drop", &[folder.path()]).await;

    browser.shows("Done: 2 stored").await;
    assert_eq!(service.database.report_count().await, 2);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_says_so() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.xml");
    let file = fs::File::create(&large).unwrap();
    file.set_len(30 << 20).unwrap();
    let browser = Browser::start(service.address).await;
    browser.open("/upload").await;

    browser.choose_files(&[&large]).await;

    browser.shows("Done: 1 failed").await;
    browser.shows("an upload has at most 26214400 bytes").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_not_taken_for_a_service_that_is() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "gone"].map(|name| format!("{name}.example"));
    let files = names.map(|name| write(folder.path(), &name));
    let browser = Browser::start(service.address).await;
    browser.open("/upload").await;
    let held = json!({"patterns": [{"urlPattern": "*/api/v1/reports"}]});
    browser.call("Fetch.enable", held).await;

    // Three are on their way at a time.
    browser
        .choose_files(&[&files[0], &files[1], &files[2], &files[3]])
        .await;
    browser.shows("uploading").await;
    fs::remove_file(&files[3]).unwrap();
    browser.call("Fetch.disable", json!({})).await;

    browser.shows("Done: 3 stored, 1 failed").await;
    browser.shows("The browser cannot read this.").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_only_upload_is_led_nowhere_else() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Ingest, &[]).await;
    let browser = signed_in(&service, &token, "/").await;
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (
        write(folder.path(), "ours.example"),
        folder.path().join("bad.xml"),
    );
    fs::write(&bad, "no report").unwrap();

    browser.choose_files(&[&good, &bad]).await;

    browser.shows("Done: 1 stored, 1 ").await;
    browser
        .shows("ours.example, reporter.example: 4 messages")
        .await;
    assert_eq!(browser.value(LINKS).await, "");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_restricted_brings_reports_of_their_domains() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Admin, &["ours.example"]).await;
    let browser = signed_in(&service, &token, "/").await;
    browser.shows("No reports for your domains yet").await;
    let folder = tempfile::tempdir().unwrap();
    let ours = write(folder.path(), "ours.example");
    let theirs = write(folder.path(), "theirs.example");

    browser.drop_files(".drop", &[&theirs, &ours]).await;

    browser.shows("Done: 1 stored, 1 rejected").await;
    let links = browser.value(LINKS).await;
    let links: Vec<&str> = links.as_str().unwrap().split(',').collect();
    assert!(links.contains(&"/domains/ours.example"), "{links:?}");
    assert!(!links.contains(&"/domains/theirs.example"), "{links:?}");
    let deliveries = links.iter().filter(|link| link.starts_with("/deliveries/"));
    assert_eq!(deliveries.count(), 1, "{links:?}");
    browser.click("Stored").await;
    browser.shows("What was in it").await;
    browser.open("/").await;
    browser.shows("Mail in the name of 1 domain").await;
    browser.close().await;
}
