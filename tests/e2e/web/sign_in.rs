//! Signing in on the page, and what a page of somebody who is restricted shows.

use serde_json::json;
use store::Scope;

use super::signed_in;
use crate::{
    harness::{Browser, OpenId, Service, grant, make_token},
    reports::Report,
};

/// A service with reports of two domains.
async fn guarded() -> Service {
    filled(Service::guarded().await).await
}

async fn filled(service: Service) -> Service {
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
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_signed_out_already_signs_out() {
    let service = guarded().await;
    let token = make_token(&service.database, Scope::Read, &[]).await;
    let browser = signed_in(&service, &token, "/reports").await;
    let ended = service.database.execute("delete from sessions").await;
    assert_eq!(ended, 1);

    browser.click("Sign out").await;

    browser.shows("This page needs a token").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_that_fails_is_said_to() {
    let service = guarded().await;
    let token = make_token(&service.database, Scope::Read, &[]).await;
    let browser = signed_in(&service, &token, "/reports").await;
    browser.offline(true).await;

    browser.click("Sign out").await;

    browser.shows("ruad cannot be reached").await;
    browser.offline(false).await;
    browser.click("Try again").await;
    browser.shows("theirs.example").await;
    browser.click("Sign out").await;
    browser.shows("This page needs a token").await;
    browser.close().await;
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
    browser.close().await;
}

/// Presses the button that leads to the provider, and signs in there.
async fn sign_in_elsewhere(browser: &Browser, name: &str) {
    let button = "[...document.querySelectorAll('a')].find((one) => one.textContent === 'Sign in with Example')";
    browser.value(&format!("{button}.click()")).await;
    browser
        .until("document.querySelector('[name=password]')")
        .await;
    let fields = format!("document.querySelector('[name=login]').value = {name:?}");
    browser.value(&fields).await;
    let rest = "document.querySelector('[name=password]').value = 'x', document.forms[0].submit()";
    browser.value(rest).await;
    browser.until("document.getElementById('nav')").await;
    browser.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_elsewhere_comes_back_and_signs_out() {
    let provider = OpenId::start().await;
    let accounts = json!({
        "ben": {"groups": ["customers"], "email": "ben@example.org"},
        "cem": {"groups": [], "email": "cem@example.org"},
    });
    let grants = [grant("customers", Scope::Read, &["ours.example"])];
    let service = filled(provider.service(&grants, accounts).await).await;
    let browser = Browser::start(service.address).await;
    browser.open("/reports?domain=ours.example").await;
    browser.shows("With a token").await;

    sign_in_elsewhere(&browser, "ben").await;

    assert_eq!(browser.address().await, "/reports?domain=ours.example");
    browser.shows("Sign out").await;
    let title = "document.querySelector('#nav button').title";
    assert_eq!(browser.value(title).await, "Signed in as ben@example.org");
    browser.open("/").await;
    browser.shows("ours.example").await;
    let shown = browser.text().await;
    assert!(!shown.contains("theirs.example"), "{shown}");
    assert!(!shown.contains("Upload"), "{shown}");
    browser.click("Sign out").await;
    browser.shows("Sign in with Example").await;
    browser.open("/reports").await;
    browser.shows("Sign in with Example").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_access_is_told_so_in_words() {
    let provider = OpenId::start().await;
    let grants = [grant("customers", Scope::Read, &[])];
    let accounts = json!({"cem": {"groups": ["staff"]}});
    let service = provider.service(&grants, accounts).await;
    let browser = Browser::start(service.address).await;
    browser.open("/reports").await;

    sign_in_elsewhere(&browser, "cem").await;

    browser
        .shows("You are known to the sign-in service, but have no access here")
        .await;
    assert_eq!(browser.address().await, "/");
    browser.open("/").await;
    browser.shows("Sign in with Example").await;
    let shown = browser.text().await;
    assert!(!shown.contains("have no access"), "{shown}");
    let token = make_token(&service.database, Scope::Read, &[]).await;
    sign_in(&browser, &token).await;
    browser.shows("Sign out").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_said_to_be() {
    let provider = OpenId::start().await;
    let grants = [grant("customers", Scope::Read, &[])];
    let service = provider.service(&grants, json!({})).await;
    let browser = Browser::start(service.address).await;
    browser.open("/reports").await;
    provider.kill().await;

    browser.click("Sign in with Example").await;

    browser
        .until("document.body?.innerText.includes('The sign-in service cannot be reached')")
        .await;
    browser.shows("Sign in with Example").await;
    browser.close().await;
}
