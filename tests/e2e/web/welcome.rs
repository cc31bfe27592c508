//! What people see who have no reports: what they may do about it, and nothing else.

use store::Scope;

use super::signed_in;
use crate::{
    harness::{Service, make_token},
    reports::Report,
};

const PLACES_TO_DROP: &str = "document.querySelectorAll('.drop').length";

/// A service with a report that is for others.
async fn with_theirs() -> Service {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    let theirs = Report::new("theirs.example", "1").passing("192.0.2.1", 4);
    admin.store(theirs.xml()).await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_upload_is_not_asked_to() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Read, &[]).await;

    let browser = signed_in(&service, &token, "/").await;

    browser.shows("Welcome to ruad").await;
    assert_eq!(browser.value(PLACES_TO_DROP).await, 0);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_restricted_is_told_for_which_domains_nothing_came() {
    let service = with_theirs().await;
    for (scope, places) in [(Scope::Read, 0), (Scope::Admin, 1)] {
        let token = make_token(&service.database, scope, &["ours.example"]).await;

        let browser = signed_in(&service, &token, "/").await;

        browser.shows("No reports for your domains yet").await;
        browser.shows("ours.example").await;
        let shown = browser.text().await;
        assert!(!shown.contains("rua=mailto:"), "{shown}");
        assert_eq!(browser.value(PLACES_TO_DROP).await, places);
        browser.close().await;
    }
}
