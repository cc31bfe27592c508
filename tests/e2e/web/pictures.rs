//! Pictures of all pages, for `scripts/screenshots`.

use std::path::Path;

use serde_json::json;

use super::{
    filled,
    flows::{show_trouble, show_uploads},
};
use crate::harness::{Browser, DESK, Look, OpenId, PHONE, Service};

/// Only where `RUAD_SCREENSHOTS` names a folder.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_taken() {
    let Some(folder) = std::env::var_os("RUAD_SCREENSHOTS") else {
        return;
    };
    let folder = Path::new(&folder);
    let filled = filled().await;
    let browser = Browser::start(filled.service.address).await;
    let pages = filled.pages();
    pictures(&browser, &pages, folder).await;
    browser.close().await;
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    pictures(&browser, &[("welcome", "/".into())], folder).await;
    browser.close().await;
    let service = Service::guarded().await;
    let browser = Browser::start(service.address).await;
    pictures(&browser, &[("sign-in", "/".into())], folder).await;
    browser.close().await;
    let provider = OpenId::start().await;
    let service = provider.service(&[], json!({})).await;
    let browser = Browser::start(service.address).await;
    let failed = "/?sign_in=not_granted".into();
    pictures(&browser, &[("sign-in-elsewhere", failed)], folder).await;
    browser.close().await;
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    for (kind, look) in LOOKS {
        browser.look(look).await;
        show_uploads(&browser).await;
        picture(&browser, look, &folder.join(format!("uploaded-{kind}.png"))).await;
        show_trouble(&browser).await;
        picture(&browser, look, &folder.join(format!("trouble-{kind}.png"))).await;
    }
    browser.close().await;
}

/// How pictures are taken, by the end of the names of their files.
const LOOKS: [(&str, Look); 3] = [
    (
        "light",
        Look {
            width: DESK,
            dark: false,
        },
    ),
    (
        "dark",
        Look {
            width: DESK,
            dark: true,
        },
    ),
    (
        "phone",
        Look {
            width: PHONE,
            dark: false,
        },
    ),
];

async fn pictures(browser: &Browser, pages: &[(&str, String)], folder: &Path) {
    for (kind, look) in LOOKS {
        browser.look(look).await;
        for (name, path) in pages {
            browser.open(path).await;
            picture(browser, look, &folder.join(format!("{name}-{kind}.png"))).await;
        }
    }
}

/// A picture of what the browser shows.
async fn picture(browser: &Browser, look: Look, file: &Path) {
    let picture = browser.screenshot(look.width, 1600).await;
    std::fs::write(file, picture).unwrap();
}
