//! Every page fits a phone; and pictures of all of them, for `scripts/screenshots`.

use std::path::Path;

use super::filled;
use crate::harness::{Browser, DESK, Look, PHONE, Service};

const OVERFLOW: &str = "[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('pre, .canvas, .unseen, thead')).map((one) => one.outerHTML.slice(0, 200))";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone() {
    let filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    let look = Look {
        width: PHONE,
        dark: false,
    };
    browser.look(look).await;
    for (name, path) in filled.pages() {
        browser.open(&path).await;
        let wide = browser.value(OVERFLOW).await;
        assert_eq!(wide, serde_json::json!([]), "{name}");
    }
    browser.close().await;
}

/// Only where `RUAD_SCREENSHOTS` names a folder.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_taken() {
    let Some(folder) = std::env::var_os("RUAD_SCREENSHOTS") else {
        return;
    };
    let filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    let pages = filled.pages();
    pictures(&browser, &pages, folder.as_ref()).await;
    browser.close().await;
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    pictures(&browser, &[("welcome", "/".into())], folder.as_ref()).await;
    browser.close().await;
    let service = Service::guarded().await;
    let browser = Browser::start(service.address).await;
    pictures(&browser, &[("sign-in", "/".into())], folder.as_ref()).await;
    browser.close().await;
}

async fn pictures(browser: &Browser, pages: &[(&str, String)], folder: &Path) {
    for (kind, width, dark) in [
        ("light", DESK, false),
        ("dark", DESK, true),
        ("phone", PHONE, false),
    ] {
        browser.look(Look { width, dark }).await;
        for (name, path) in pages {
            browser.open(path).await;
            let picture = browser.screenshot(width, 1600).await;
            std::fs::write(folder.join(format!("{name}-{kind}.png")), picture).unwrap();
        }
    }
}
