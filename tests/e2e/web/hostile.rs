//! Names made to do harm are text like any other: no script runs, no dialog opens, nothing is loaded, no layout breaks.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use sqlx::types::Uuid;
use store::MailboxState;

use crate::{
    harness::{Browser, DESK, Look, PHONE, Service, query},
    reports::{DAY, FIRST_SECOND},
};

/// What somebody may write wherever a report has free text.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "<script>window.harm = 1; alert(1)</script>",
        "<img src=x onerror=\"window.harm = 1\">",
        "\"><svg onload=window.harm=1>",
        "'-alert(1)-'",
        "javascript:window.harm=1//",
        "</title></textarea><iframe src=\"https://evil.example/\">",
        "{{7*7}} ${7*7} <%= 7*7 %>",
        "<style>* { display: none }</style>",
        "<base href=\"https://evil.example/\">",
        "<a href=\"https://evil.example/\">click here</a>",
        "=HYPERLINK(\"https://evil.example/\", \"Error\")",
        "+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\u{202e}moc.elpmaxe\u{202c} then",
        "\u{2067}\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{2069} \u{645}\u{631}\u{62d}\u{628}\u{627}",
        "zero\u{200b}width\u{feff}",
        "Z\u{351}\u{36f}\u{30f}a\u{34a}\u{33a}l\u{330}\u{301}g\u{33f}\u{35c}o\u{302}\u{316}",
        "../../../etc/passwd",
        "%00%0d%0aSet-Cookie: a=b",
        "🏴‍☠️👩‍👩‍👧‍👦 🇦🇶",
        "../../x",
        "__proto__",
        "example.com?from=1&to=2#end",
    ]
    .map(String::from)
    .into();
    names.push("W".repeat(3000));
    names.push("<b>".repeat(300));
    names
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A report about this domain that says the same in every other place for text.
fn report(number: usize, domain: &str, name: &str) -> String {
    let (domain, name) = (escaped(domain), escaped(name));
    let (begin, end) = (FIRST_SECOND, FIRST_SECOND + DAY - 1);
    format!(
        "<feedback><version>{name}</version><report_metadata><org_name>{name} {number}</org_name><email>{name}</email>\
         <extra_contact_info>{name}</extra_contact_info><report_id>{name} {number}</report_id>\
         <date_range><begin>{begin}</begin><end>{end}</end></date_range><error>{name}</error><generator>{name}</generator>\
         </report_metadata><policy_published><domain>{domain}</domain><p>none</p><sp>{name}</sp><np>{name}</np><adkim>{name}</adkim><aspf>{name}</aspf>\
         <pct>{name}</pct><testing>{name}</testing><fo>{name}</fo></policy_published>\
         <record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated><disposition>{name}</disposition>\
         <dkim>pass</dkim><spf>{name}</spf><reason><type>{name}</type><comment>{name}</comment></reason></policy_evaluated></row>\
         <identifiers><header_from>{name}</header_from><envelope_from>{name}</envelope_from><envelope_to>{name}</envelope_to></identifiers>\
         <auth_results><dkim><domain>{name}</domain><selector>{name}</selector><result>pass</result><human_result>{name}</human_result></dkim>\
         <spf><domain>{name}</domain><scope>{name}</scope><result>{name}</result></spf></auth_results></record></feedback>"
    )
}

/// Uploads a file of this name in a form, as browsers do.
async fn upload(service: &Service, name: &str, content: &str) {
    let name: String = name.replace(['"', '\r', '\n'], "_");
    let form = format!(
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n--x--\r\n"
    );
    let answer = service
        .upload_as("multipart/form-data; boundary=x", form)
        .await;
    assert!(matches!(answer.status, 201 | 422), "{answer:?}");
}

/// Makes a token with this name, as far as names of tokens may be so.
async fn name_token(service: &Service, name: &str) {
    let name: String = name.chars().take(200).collect();
    let token = json!({"scope": "read", "name": name});
    let answer = service.nobody().post_json("/api/v1/tokens", &token).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// A change with this text wherever the audit has one.
async fn note_change(service: &Service, text: &str) {
    let text = text.replace('\'', "''");
    for action in ["delivery_discarded", "token_created", &text] {
        let row = format!(
            "insert into audit (actor, actor_name, action, subject, detail) \
             values ('{text}', '{text}', '{action}', '{text}', jsonb_build_object('{text}', '{text}', 'list', array['{text}']))"
        );
        service.database.execute(&row).await;
    }
}

/// Mail with this sender, and a mailbox whose server said this, as ruad keeps them.
async fn note_mail(service: &Service, names: &[String]) {
    for table in ["reports", "deliveries"] {
        let sender = if table == "reports" {
            "org_name"
        } else {
            "name"
        };
        let update = format!(
            "update {table} set mail_from_domain = {sender}, mail_dkim_domains = '{{}}', mail_dmarc_pass = false"
        );
        assert!(service.database.execute(&update).await > 20);
    }
    let store = service.database.store();
    for (number, name) in names.iter().enumerate() {
        let (holder, lease) = (Uuid::now_v7(), Duration::from_secs(600));
        let mailbox = format!("{number}: {name}");
        let leased = store.lease_mailbox(&mailbox, holder, name, lease).await;
        assert!(leased.unwrap());
        let state = MailboxState::Failed;
        let error = store.set_mailbox_error(&mailbox, holder, state, name, name);
        error.await.unwrap();
    }
    store.close().await;
}

/// A service in which everything is called so; and the addresses of its pages.
async fn hostile() -> (Service, Vec<String>) {
    let service = Service::start().await;
    let names = names();
    for (number, name) in names.iter().enumerate() {
        upload(&service, name, &report(number, "example.com", name)).await;
        upload(&service, name, &report(number, name, name)).await;
        upload(&service, name, &format!("no report: {name}")).await;
        name_token(&service, name).await;
        note_change(&service, name).await;
    }
    note_mail(&service, &names).await;
    let lists = [
        ("/domains", "domain", "/api/v1/domains"),
        ("/reports", "report_uid", "/api/v1/reports"),
        (
            "/deliveries",
            "delivery_id",
            "/api/v1/deliveries?outcome=rejected",
        ),
    ];
    let mut pages: Vec<String> = ["/", "/sources/192.0.2.1", "/mailboxes", "/tokens", "/audit"]
        .map(String::from)
        .into();
    for (place, key, list) in lists {
        let items = service.list(list).await;
        assert!(items.len() >= names.len(), "{list}: {}", items.len());
        pages.push(place.replace("/domains", "/?sort=name"));
        let ids = items.iter().map(|item| item[key].as_str().unwrap());
        pages.extend(ids.map(|id| format!("{place}/{}", query(id))));
    }
    (service, pages)
}

/// What must be true of every page, whatever it shows.
const STATE: &str = "({
    harm: window.harm ?? null,
    foreign: [...document.querySelectorAll('script, iframe, base, style, link, img, object, embed')]
        .filter((one) => !one.matches('[src^=\"/assets/\"], [href^=\"/assets/\"]')).map((one) => one.outerHTML),
    links: [...document.links].filter((one) => one.origin !== location.origin).map((one) => one.outerHTML),
    handlers: [...document.querySelectorAll('*')].filter((one) => [...one.attributes].some(({ name }) => name.startsWith('on'))).length,
    wide: document.documentElement.scrollWidth - innerWidth,
    high: [...document.querySelectorAll('h1')].some((one) => one.getBoundingClientRect().height > 300),
    blocked: window.blocked,
})";

const LARGE: Look = Look {
    width: DESK,
    dark: false,
};
const SMALL: Look = Look {
    width: PHONE,
    dark: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text() {
    let (service, pages) = hostile().await;
    let browser = Browser::start(service.address).await;
    let listen = "window.blocked = []; addEventListener('securitypolicyviolation', (event) => window.blocked.push(event.blockedURI))";
    browser
        .call(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": listen}),
        )
        .await;

    for page in &pages {
        browser.look(LARGE).await;
        browser.open(page).await;
        for look in [LARGE, SMALL] {
            browser.look(look).await;

            let state = browser.value(STATE).await;

            let expected = json!({
                "harm": null, "foreign": [], "links": [], "handlers": 0, "wide": 0, "high": false, "blocked": [],
            });
            assert_eq!(state, expected, "{page} {look:?}");
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_shown_as_they_are() {
    let service = Service::start().await;
    for (number, name) in names().iter().enumerate() {
        upload(&service, name, &report(number, "example.com", name)).await;
    }
    let browser = Browser::start(service.address).await;
    browser.open("/reports").await;

    let shown = browser
        .value("[...document.querySelectorAll('tbody tr td:nth-child(3) bdi')].map((one) => one.textContent)")
        .await;

    let shown: Vec<String> = serde_json::from_value(shown).unwrap();
    for expected in [
        "<script>window.harm = 1; alert(1)</script> 0",
        "=HYPERLINK(\"https://evil.example/\", \"Error\") 10",
        // What turns the direction of text is written out, so that nobody is misled.
        "⟨U+202E⟩moc.elpmaxe⟨U+202C⟩ then 13",
    ] {
        assert!(shown.iter().any(|name| name == expected), "{shown:?}");
    }
    browser.close().await;
}

/// The name of a domain is the title of its page, a part of the addresses of links, the name of a file, a choice.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_domains_are_found_under_their_names() {
    let service = Service::start().await;
    for (number, name) in names().iter().enumerate() {
        upload(&service, name, &report(number, name, "plain")).await;
    }
    let domains = service.list("/api/v1/domains").await;
    assert!(domains.len() > 20, "{domains:?}");
    let browser = Browser::start(service.address).await;
    browser.open("/sources/192.0.2.1").await;
    let choices = "[...document.querySelectorAll('#choose-domain option')].map((one) => one.value)";
    let choices = browser.value(choices).await;
    for domain in domains {
        let name = domain["domain"].as_str().unwrap();
        assert!(choices.as_array().unwrap().contains(&name.into()), "{name}");
        browser.open("/?sort=name").await;
        let link = format!(
            "[...document.querySelectorAll('tbody a')].find((one) => decodeURIComponent(one.pathname) === '/domains/' + {})",
            Value::from(name)
        );
        browser.value(&format!("{link}.click()")).await;
        browser.until("document.querySelector('#verdict')").await;
        browser.settled().await;
        let title = browser.value("document.title.replace(/ – ruad$/, '') === document.querySelector('h1').textContent").await;
        assert_eq!(title, true, "{name}");
        browser.shows("7 messages").await;
        let list = format!("/api/v1/domains/{}/sources?format=csv", query(name));
        let answer = service.request(Method::GET, &list).await;
        let file = answer.header("content-disposition").unwrap();
        let file = file.strip_prefix("attachment; filename=\"").unwrap();
        let file = file.strip_suffix(".csv\"").unwrap();
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        assert!(file.chars().all(is_plain), "{file}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_addresses_are_text() {
    let service = Service::start().await;
    service.store(report(0, "example.com", "reporter")).await;
    let browser = Browser::start(service.address).await;
    for path in [
        "/domains/%3Cimg%20src=x%20onerror=window.harm=1%3E",
        "/domains/javascript:window.harm=1",
        "/sources/%3Cscript%3Ewindow.harm=1%3C%2Fscript%3E",
        "/reports?domain=%22%3E%3Csvg%20onload=window.harm=1%3E&org_name=%3Cb%3E",
        "/domains/example.com?net=%22%3E%3Cscript%3E&header_from=%3Cb%3E&chart=%3Cb%3E&sort=%3Cb%3E",
        "/tokens?state=%3Cimg%20src=x%20onerror=window.harm=1%3E",
        "/tokens?token=%3Cimg%20src=x%20onerror=window.harm=1%3E",
        // Names that every object of JavaScript has.
        "/?sort=__proto__",
        "/?sort=constructor",
        "/domains/example.com?sort=__proto__&chart=constructor&pass=toString",
        "/deliveries?outcome=__proto__",
        "/tokens?state=__proto__",
        "/reports?mail_dmarc_pass=valueOf",
        "/deliveries?origin=%3Cimg%20src=x%20onerror=window.harm=1%3E&outcome=%3Cb%3E",
    ] {
        browser.open(path).await;
        assert_eq!(
            browser.value("window.harm ?? null").await,
            Value::Null,
            "{path}"
        );
        let shown = browser.text().await;
        assert!(!shown.contains("The page itself has a fault"), "{path}");
        let elements = "document.querySelectorAll('main script, main img, main svg:not(.swatch, .spark)').length";
        assert_eq!(browser.value(elements).await, 0, "{path}");
    }
    browser.close().await;
}
