//! The page about the API, and the way to it.

use store::Scope;

use super::signed_in;
use crate::harness::{Browser, Service, make_token};

const LINK: &str = "document.getElementById('api').getClientRects().length";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_a_link_away_for_whoever_is_let_in() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Ingest, &["ours.example"]).await;
    let browser = signed_in(&service, &token, "/").await;

    browser.click("API").await;

    browser.shows("The API of ruad").await;
    browser.click("All domains").await;
    let place = "document.querySelector(':target h3').textContent";
    assert_eq!(browser.value(place).await, "All domains");
    browser.click("The web page").await;
    browser.shows("Upload reports").await;
    browser.click("Sign out").await;
    browser.shows("This page needs a token").await;
    assert_eq!(browser.value(LINK).await, 0);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_access_is_open_the_api_is_a_link_away() {
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;

    browser.open("/reports").await;

    assert_eq!(browser.value(LINK).await, 1);
    browser.close().await;
}
