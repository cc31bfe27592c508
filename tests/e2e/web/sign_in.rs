//! Signing in on the page, and what a page of somebody who is restricted shows.

use store::Scope;

use crate::{
    harness::{Browser, Service, make_token},
    reports::Report,
};

/// A service with reports of two domains.
async fn guarded() -> Service {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    for domain in ["ours.example", "theirs.example"] {
        let report = Report::new(domain, domain).passing("192.0.2.1", 4);
        admin.store(report.xml()).await;
    }
    service
}

async fn sign_in(browser: &Browser, token: &str) {
    browser.fill("token", token).await;
    browser.click("Sign in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_reader_signs_in_and_out_and_sees_one_domain() {
    let service = guarded().await;
    let token = make_token(&service.database, Scope::Read, &["ours.example"]).await;
    let browser = Browser::start(service.address).await;
    browser.open("/").await;
    browser.shows("This page needs a token").await;

    sign_in(&browser, &token).await;

    browser.shows("Mail in the name of").await;
    browser.shows("ours.example").await;
    let shown = browser.text().await;
    assert!(!shown.contains("theirs.example"), "{shown}");
    assert!(!shown.contains("Upload"), "{shown}");
    browser.open("/domains/theirs.example").await;
    browser.shows("There is nothing here").await;
    let cookies = browser.value("document.cookie").await;
    assert_eq!(cookies, "", "scripts cannot read the cookie");
    browser.click("Sign out").await;
    browser.shows("This page needs a token").await;
    browser.open("/").await;
    browser.shows("This page needs a token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_signs_in_and_uploads() {
    let service = guarded().await;
    let token = make_token(&service.database, Scope::Admin, &[]).await;
    let browser = Browser::start(service.address).await;
    browser.open("/upload").await;

    sign_in(&browser, "ruad_0123456789abcdef_00").await;
    browser.shows("This token is not known").await;
    sign_in(&browser, &token).await;

    browser.shows("Upload").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let report = Report::new("ours.example", "by hand").passing("192.0.2.1", 4);
    std::fs::write(&file, report.xml()).unwrap();
    browser.choose_files(&[&file]).await;
    browser.shows("Done: 1 stored").await;
    assert_eq!(service.database.report_count().await, 3);
}
