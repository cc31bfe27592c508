//! Small screens and large letters: everything is there, and everything can still be done.

use serde_json::json;

use super::{filled, two_orders};
use crate::harness::{Browser, Look, PHONE};

const OVERFLOW: &str = "[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('pre, .canvas, .unseen, thead, .table[tabindex]')).map((one) => one.outerHTML.slice(0, 200))";

async fn look(browser: &Browser, width: u32) {
    browser.look(Look { width, dark: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone() {
    let filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    look(&browser, PHONE).await;
    for (name, path) in filled.pages() {
        browser.open(&path).await;
        let wide = browser.value(OVERFLOW).await;
        assert_eq!(wide, json!([]), "{name}");
    }
    browser.close().await;
}

/// Cells that are not there, and frames that hide a part of their table from whoever has no mouse.
const LOST: &str = "[
    ...[...document.querySelectorAll('main tbody th, main td')].filter((one) => one.getClientRects().length === 0 && !one.closest('details:not([open])')),
    ...[...document.querySelectorAll('.table')].filter((one) => one.scrollWidth > one.clientWidth + 1 && !(one.tabIndex === 0 && one.ariaLabel)),
].map((one) => one.outerHTML.slice(0, 200)).join()";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_everything_is_larger() {
    let filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    for (name, path) in filled.pages() {
        browser.open(&path).await;
        // A screen of 1,280 pixels at 125, 150, 175 and 400 per cent.
        for width in [1024, 853, 731, 320] {
            look(&browser, width).await;
            browser.until(&format!("{LOST} === ''")).await;
            let wide = browser.value(OVERFLOW).await;
            assert_eq!(wide, json!([]), "{name} {width}");
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_too_wide_is_moved_with_the_keyboard() {
    let filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    look(&browser, 853).await;
    browser.open("/domains/example.com").await;
    let frame = "document.querySelector('section:has(form.filters) .table')";
    browser.until(&format!("{frame}.tabIndex === 0")).await;

    browser.value(&format!("{frame}.focus()")).await;
    browser.press("ArrowRight").await;

    browser.until(&format!("{frame}.scrollLeft > 0")).await;
    look(&browser, 1280).await;
    browser.until(&format!("{frame}.tabIndex === -1")).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_without_the_head_of_their_table() {
    let service = two_orders().await;
    let browser = Browser::start(service.address).await;
    look(&browser, PHONE).await;
    let first = "document.querySelector('section:has(#choose-sort) tbody th').textContent";
    for (path, most_messages, most_failures) in [
        ("/", "large.example", "bad.example"),
        ("/domains/large.example", "192.0.2.1", "192.0.2.2"),
    ] {
        browser.open(path).await;
        assert_eq!(browser.value(first).await, most_messages, "{path}");
        let focused = "[...document.querySelectorAll('thead a')].filter((one) => (one.focus(), one === document.activeElement)).length";
        assert_eq!(browser.value(focused).await, 0, "{path}");

        browser.choose("choose-sort", "failures").await;
        browser.click("Apply").await;

        assert_eq!(browser.value(first).await, most_failures, "{path}");
        assert_eq!(browser.address().await, format!("{path}?sort=failures"));
        let chosen = "document.getElementById('choose-sort').value";
        assert_eq!(browser.value(chosen).await, "failures");
    }
    browser.close().await;
}
