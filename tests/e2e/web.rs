//! The web page, in a real browser. Start reading at [`filled`], then at `flows.rs`.

mod api;
mod axe;
mod deliveries;
mod details;
mod docs;
mod filled;
mod flows;
mod hostile;
mod lists;
mod narrow;
mod pictures;
mod shell;
mod sign_in;
mod tokens;
mod uploads;
mod welcome;

use filled::{Filled, filled, two_orders};

use crate::harness::{Browser, Service};

/// A browser in which somebody has signed in with this token, on a page.
async fn signed_in(service: &Service, token: &str, path: &str) -> Browser {
    let browser = Browser::start(service.address).await;
    browser.open(path).await;
    browser.fill("token", token).await;
    browser.click("Sign in").await;
    browser
        .until("document.querySelector('#nav button')?.textContent === 'Sign out'")
        .await;
    browser.settled().await;
    browser
}
