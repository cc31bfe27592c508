//! Tokens and the audit on the page, for those who may see them.

use serde_json::{Value, json};
use store::Scope;

use super::{Filled, filled, signed_in};
use crate::harness::{Browser, Service, id_of, make_token};

const PLACES: &str = "[...document.querySelectorAll('#nav a')].map((one) => one.textContent)";

/// Asks for a token to be revoked, and answers the question that comes.
async fn revoke(browser: &Browser, token: &str, answer: &str) {
    let button = format!("document.getElementById('revoke-{}')", id_of(token));
    browser.until(&button).await;
    browser.value(&format!("{button}.click()")).await;
    let answer = format!("document.querySelector('dialog button[value={answer}]')");
    browser.until(&answer).await;
    browser.value(&format!("{answer}.click()")).await;
    browser.until("!document.querySelector('dialog')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_makes_a_token_which_is_shown_once() {
    let service = Service::guarded().await;
    let admin = make_token(&service.database, Scope::Admin, &[]).await;
    let browser = signed_in(&service, &admin, "/tokens").await;

    browser.fill("name", "Grafana").await;
    browser
        .fill("domains", "Ours.example, theirs.example")
        .await;
    browser.fill("days", "30").await;
    browser.click("Make the token").await;

    browser.shows("it cannot be had again").await;
    let made = browser
        .value("document.activeElement.matches('#made-token') && document.activeElement.value")
        .await;
    let made = made.as_str().expect("the new token has the focus");
    let session = service.nobody().bearer(made).get("/api/v1/session").await;
    assert_eq!(session["name"], "Grafana");
    assert_eq!(session["scope"], "read");
    assert_eq!(
        session["domains"],
        json!(["ours.example", "theirs.example"])
    );
    let listed = id_of(made);
    browser
        .until(&format!(
            "document.getElementById('revoke-{listed}')?.ariaLabel === 'Revoke Grafana'"
        ))
        .await;
    browser.open("/tokens").await;
    let all = browser.value("document.documentElement.outerHTML").await;
    let secret = made.split('_').next_back().unwrap();
    assert!(!all.as_str().unwrap().contains(secret));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_token_is_copied() {
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    let permissions = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.call("Browser.grantPermissions", permissions).await;
    browser.open("/tokens").await;
    browser.shows("Nobody is asked for a token now").await;

    browser.click("Make the token").await;
    browser.shows("Copy it now.").await;
    browser.click("Copy").await;

    browser.shows("Copied.").await;
    let is_same = "navigator.clipboard.readText().then((text) => text === document.getElementById('made-token').value)";
    assert_eq!(browser.value(is_same).await, true);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_made_is_explained() {
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    browser.open("/tokens").await;

    browser.fill("name", "kept as it was typed").await;
    browser.fill("domains", "*.example.com").await;
    browser.press("Enter").await;

    browser.shows("\"*.example.com\" is no domain").await;
    let name = "document.getElementById('name').value";
    assert_eq!(browser.value(name).await, "kept as it was typed");
    let tokens: i64 = service.database.value("select count(*) from tokens").await;
    assert_eq!(tokens, 0);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_after_a_question_that_names_it() {
    let service = Service::guarded().await;
    let admin = make_token(&service.database, Scope::Admin, &[]).await;
    let other = make_token(&service.database, Scope::Read, &[]).await;
    let browser = signed_in(&service, &admin, "/tokens").await;
    let client = service.nobody().bearer(&other);

    revoke(&browser, &other, "no").await;
    assert_eq!(client.ask("/api/v1/session").await.status, 200);
    let button = format!("document.getElementById('revoke-{}')", id_of(&other));
    browser.value(&format!("{button}.click()")).await;
    browser.shows("Revoke the token a test, read (").await;
    browser.press("Escape").await;
    assert_eq!(client.ask("/api/v1/session").await.status, 200);
    revoke(&browser, &other, "yes").await;

    browser.until(&format!("!{button}")).await;
    let refused = client.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
    browser.click("Revoked 1").await;
    assert_eq!(browser.address().await, "/tokens?state=revoked");
    browser.shows("a test, read").await;
    let rows = "document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.value(rows).await, 1);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_revokes_their_own_token_is_signed_out() {
    let service = Service::guarded().await;
    let admin = make_token(&service.database, Scope::Admin, &[]).await;
    let browser = signed_in(&service, &admin, "/tokens").await;

    revoke(&browser, &admin, "yes").await;

    browser.shows("This page needs a token").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_pages_are_for_administrators_of_all_domains() {
    let service = Service::guarded().await;
    for (scope, domains, places) in [
        (
            Scope::Read,
            &[][..],
            &["Domains", "Reports", "Deliveries", "Mailboxes"][..],
        ),
        (
            Scope::Admin,
            &["ours.example"],
            &["Domains", "Reports", "Deliveries", "Upload"],
        ),
    ] {
        let token = make_token(&service.database, scope, domains).await;
        let browser = signed_in(&service, &token, "/reports").await;
        assert_eq!(browser.value(PLACES).await, json!(places));
        for path in ["/tokens", "/audit"] {
            browser.open(path).await;
            browser.shows("This page is for administrators").await;
            let asked = "performance.getEntriesByType('resource').filter((one) => one.initiatorType === 'fetch').map((one) => new URL(one.name).pathname)";
            assert_eq!(browser.value(asked).await, json!(["/api/v1/session"]));
        }
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_in_words_who_did_what() {
    let Filled {
        service, rejected, ..
    } = filled().await;
    let browser = Browser::start(service.address).await;
    let raw = "select string_agg(distinct action, ' ') from audit";
    let raw: String = service.database.value(raw).await;
    service
        .database
        .execute("insert into audit (actor, action, subject) values ('oidc:somebody', 'unheard_of', 'a thing')")
        .await;

    browser.open("/audit").await;

    let shown = browser.text().await;
    for action in raw.split(' ') {
        assert!(!shown.contains(action), "{action} is in {shown}");
    }
    for text in [
        "Made a token",
        "command line",
        "203.0.113.9",
        "name: Grafana",
    ] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    let newest = browser
        .value("[...document.querySelector('tbody tr').cells].slice(1, 4).map((one) => one.textContent)")
        .await;
    assert_eq!(newest, json!(["oidc:somebody", "unheard_of", "a thing"]));
    browser.click(&format!("delivery {rejected}")).await;
    assert_eq!(browser.address().await, format!("/deliveries/{rejected}"));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_has_its_words() {
    let service = Service::start().await;
    let known = service.get("/api/v1/openapi.json").await;
    let described = &known["components"]["schemas"]["AuditEntry"]["properties"]["action"];
    let described = described["description"].as_str().unwrap();
    let actions: Vec<&str> = described.split('`').skip(1).step_by(2).collect();
    assert!(actions.len() > 8, "{described}");
    for action in &actions {
        let row = format!("insert into audit (actor, action) values ('cli', '{action}')");
        service.database.execute(&row).await;
    }
    let browser = Browser::start(service.address).await;

    browser.open("/audit").await;

    let raw = browser
        .value("document.querySelectorAll('tbody code').length")
        .await;
    assert_eq!(raw, 0, "{actions:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_goes_on_and_is_had_as_csv() {
    let service = Service::start().await;
    service
        .database
        .execute(
            "insert into audit (actor, action) select 'cli', 'rebuilt' from generate_series(1, 60)",
        )
        .await;
    let browser = Browser::start(service.address).await;
    browser.open("/audit").await;

    browser.click("Show more").await;

    browser
        .until("document.querySelectorAll('tbody tr').length === 60")
        .await;
    let csv = browser
        .value("[...document.links].find((one) => one.textContent === 'Download as CSV').getAttribute('href')")
        .await;
    let csv = csv.as_str().unwrap();
    let answer = service.request(hyper::Method::GET, csv).await;
    assert_eq!(String::from_utf8_lossy(&answer.body).lines().count(), 61);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_audit_is_found() {
    let service = Service::guarded().await;
    let admin = make_token(&service.database, Scope::Admin, &[]).await;
    let browser = signed_in(&service, &admin, "/audit").await;

    browser.click(&format!("token {}", id_of(&admin))).await;

    let address = format!("/tokens?token={}", id_of(&admin));
    assert_eq!(browser.address().await, address);
    let rows = "document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.value(rows).await, 1);
    browser.click("Show all").await;
    assert_eq!(browser.value(rows).await, 2);
    assert_eq!(browser.value("location.search").await, Value::from(""));
    browser.close().await;
}
