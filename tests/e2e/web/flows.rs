//! What people do on the page.

use std::path::Path;

use super::{Filled, filled};
use crate::{
    harness::{Browser, Service},
    reports::Report,
};

fn sample(name: &str) -> std::path::PathBuf {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    // Chromium reads no file whose path goes up.
    samples.join(name).canonicalize().unwrap()
}

/// Uploads files of which one is no report.
pub(super) async fn show_uploads(browser: &Browser) {
    browser.open("/upload").await;
    let report = sample("example.com-bigmail-1015.eml");
    let packed = sample("example.org-provider-1018.xml.gz");
    let other = sample("../README.md");
    browser.choose_files(&[&report, &packed, &other]).await;
    browser.shows("Done: ").await;
}

/// Goes to a page while ruad is away.
pub(super) async fn show_trouble(browser: &Browser) {
    browser.offline(true).await;
    browser.click("Reports").await;
    browser.shows("ruad cannot be reached").await;
    browser.offline(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_installation_says_what_to_do_and_takes_a_first_report() {
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    browser.open("/").await;
    browser.shows("v=DMARC1; p=none; rua=mailto:").await;
    browser.shows("[mailboxes.dmarc]").await;

    let report = sample("example.com-bigmail-1015.eml");
    browser
        .choose_files(&[&report, &sample("../README.md")])
        .await;

    browser.shows("Done: 1 stored").await;
    browser.shows("Rejected").await;
    browser.click("See the domains").await;
    browser.shows("example.com").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_taken_where_they_are_dropped() {
    let service = Service::start().await;
    let browser = Browser::start(service.address).await;
    browser.open("/upload").await;
    let xml = Report::new("example.com", "dropped").passing("192.0.2.1", 4);
    let xml = serde_json::Value::from(String::from_utf8(xml.xml()).unwrap());

    browser
        .value(&format!(
            "(() => {{ const dataTransfer = new DataTransfer(); dataTransfer.items.add(new File([{xml}], 'dropped.xml'));\
             for (const name of ['dragover', 'drop']) document.querySelector('.drop')\
             .dispatchEvent(new DragEvent(name, {{ dataTransfer, bubbles: true, cancelable: true }})); }})()"
        ))
        .await;

    browser.shows("Done: 1 stored").await;
    browser.shows("4 messages").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_from_all_domains_to_one_report_and_back() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/").await;
    browser.shows("Mail in the name of 3 domains").await;

    browser.click("example.com").await;
    browser.shows("of the mail passes").await;
    browser.click("198.51.100.20").await;
    browser.shows("passes at times").await;
    browser.click("28 Mar 2024").await;
    browser.shows("Report of").await;
    browser.click("this delivery").await;
    browser.shows("What was in it").await;

    let place = browser.address().await;
    for shown in ["Report of", "In whose name", "of the mail passes"] {
        browser.go_back().await;
        browser.shows(shown).await;
    }
    assert_eq!(browser.address().await, "/domains/example.com");
    for shown in ["In whose name", "Report of", "What was in it"] {
        browser.go_forward().await;
        browser.shows(shown).await;
    }
    assert_eq!(browser.address().await, place);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_the_api() {
    let Filled { service, .. } = filled().await;
    let summary = service.get("/api/v1/domains/example.org/summary").await;
    let browser = Browser::start(service.address).await;

    browser.open("/domains/example.org").await;

    let shown = browser
        .value("Object.fromEntries([...document.querySelectorAll('.figures > div')].map((one) => [one.children[0].textContent, one.children[1].firstChild.textContent]))")
        .await;
    let digits = |name: &str| -> i64 {
        let text: String = shown[name].as_str().unwrap().replace(',', "");
        text.parse().unwrap()
    };
    assert_eq!(digits("Messages"), summary["message_count"]);
    assert_eq!(digits("Sources"), summary["source_count"]);
    assert_eq!(digits("Reports"), summary["report_count"]);
    let rows = browser
        .value("[...document.querySelectorAll('figure.chart tbody tr')].map((row) => [...row.cells].slice(1).map((cell) => Number(cell.textContent.replaceAll(',', ''))).reduce((sum, one) => sum + one, 0))")
        .await;
    let days: Vec<i64> = serde_json::from_value(rows).unwrap();
    assert_eq!(days.iter().sum::<i64>(), summary["message_count"]);
    assert_eq!(days.len(), 30);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_is_in_the_address() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/domains/example.com").await;

    browser.fill("net", "203.0.113.0/24").await;
    browser.press("Enter").await;
    browser
        .until("location.search.includes('net=203.0.113.0%2F24')")
        .await;
    browser.settled().await;
    browser.click("By pass and fail").await;
    browser.click("7 days").await;
    let address = browser.address().await;

    for part in [
        "net=203.0.113.0%2F24",
        "chart=result",
        "from=2024-03-24",
        "to=2024-03-30",
    ] {
        assert!(address.contains(part), "{address}");
    }
    let sources = "[...document.querySelectorAll('section:has(form.filters) tbody th')].map((one) => one.textContent)";
    let shown = browser.value(sources).await;
    assert_eq!(shown, serde_json::json!(["203.0.113.203", "203.0.113.7"]));
    browser.open(&address).await;
    assert_eq!(browser.value(sources).await, shown);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_cannot_be_is_explained() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;

    browser.open("/domains/example.com?net=everything").await;

    browser.shows("is no network such as 192.0.2.0/24").await;
    browser.shows("Who reports").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_delivery_is_tried_again_and_discarded() {
    let Filled {
        service, rejected, ..
    } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/deliveries?outcome=rejected").await;
    browser.shows("the root element is 'html'").await;
    browser.open(&format!("/deliveries/{rejected}")).await;

    browser.click("Try again").await;
    browser.shows("Tried again: rejected").await;
    browser.click("Discard").await;
    browser.press("Escape").await;
    let raw = format!("/api/v1/deliveries/{rejected}/raw");
    let kept = service.request(hyper::Method::GET, &raw).await;
    assert_eq!(kept.status, 200, "Escape discards nothing");
    browser.click("Discard").await;
    browser
        .until("document.querySelector('dialog button[value=yes]')")
        .await;
    browser
        .value("document.querySelector('dialog button[value=yes]').click()")
        .await;

    browser.shows("Its bytes are not kept").await;
    let gone = service.request(hyper::Method::GET, &raw).await;
    assert_eq!(gone.problem(404), "not_kept");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_show_what_is_wrong_with_them() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;

    browser.open("/mailboxes").await;

    browser.shows("All mail is taken").await;
    browser.shows("the server refuses the credentials").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_go_on() {
    let service = Service::start().await;
    for number in 0..60 {
        let report = Report::new("example.com", &format!("{number}")).passing("192.0.2.1", 1);
        service.store(report.xml()).await;
    }
    let browser = Browser::start(service.address).await;
    browser.open("/reports").await;
    let rows = "document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.value(rows).await, 50);

    browser.click("Show more").await;

    browser.until(&format!("{rows} === 60")).await;
    browser.until("![...document.querySelectorAll('button')].some((one) => one.textContent === 'Show more')").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_domains_are_added_up_once_all_are_known() {
    let service = Service::start().await;
    for number in 0..205 {
        let report = Report::new(&format!("d{number}.example"), "1").passing("192.0.2.1", 2);
        service.store(report.xml()).await;
    }
    let browser = Browser::start(service.address).await;

    browser.open("/").await;

    let first = "document.querySelector('.figures dd').firstChild.textContent";
    assert_eq!(browser.value(first).await, "410");
    let rows = "document.querySelectorAll('.card > .table tbody tr').length";
    assert_eq!(browser.value(rows).await, 205);
    browser
        .until("document.querySelector('.canvas canvas')")
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_not_wait_for_what_takes_long() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/").await;
    let held = serde_json::json!({"patterns": [{"urlPattern": "*/domains/example.com/sources?*"}]});
    browser.call("Fetch.enable", held).await;

    let link = "document.querySelector('main a[href=\"/domains/example.com\"]').click()";
    browser.value(link).await;

    browser.shows("of the mail passes").await;
    browser
        .until("document.querySelector('.canvas canvas')")
        .await;
    let waiting = "[...document.querySelectorAll('section:has([aria-busy=true]) > h2')].map((one) => one.textContent.replace(/^[0-9].*/, 'verdict'))";
    browser
        .until(&format!(
            "{waiting}.join() === 'verdict,Sources that fail,All sources'"
        ))
        .await;
    browser.call("Fetch.disable", serde_json::json!({})).await;
    browser.settled().await;
    browser.shows("Look at these first.").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough() {
    let Filled { service, .. } = filled().await;
    let browser = Browser::start(service.address).await;
    browser.open("/").await;
    let focused = "document.activeElement.textContent.trim()";

    browser.press("Tab").await;
    assert_eq!(browser.value(focused).await, "Skip to the content");
    for _ in 0..40 {
        if browser.value(focused).await == "example.com" {
            break;
        }
        browser.press("Tab").await;
    }
    let outline = browser
        .value("getComputedStyle(document.activeElement).outlineStyle")
        .await;
    assert_eq!(outline, "solid", "focus is visible");
    browser.press("Enter").await;

    browser.shows("of the mail passes").await;
    browser
        .until("document.activeElement.id === 'main' && document.title === 'example.com – ruad'")
        .await;
    browser.close().await;
}
