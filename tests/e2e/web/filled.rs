//! A service with a month of mail in it, and the pages that show it.

use serde_json::json;
use sqlx::types::Uuid;
use store::{Action, Actor, Change, DomainList, MailboxState, NewToken, Scope};

use crate::{
    harness::Service,
    reports::{DAY, FIRST_SECOND, Record, Report, Schema},
};

const DAYS: i64 = 30;
const REPORTERS: [&str; 3] = ["bigmail.example", "Grosspost GmbH", "provider.example"];

/// A service, and where something of each kind is found.
pub(super) struct Filled {
    pub(super) service: Service,
    pub(super) report_uid: String,
    pub(super) rejected: String,
}

impl Filled {
    /// Every page, that of the API included, by a name for files.
    pub(super) fn pages(&self) -> Vec<(&'static str, String)> {
        vec![
            ("domains", "/".into()),
            ("domain", "/domains/example.com".into()),
            (
                "domain-filtered",
                "/domains/example.com?chart=result&pass=false&sort=failures&net=203.0.113.0%2F24"
                    .into(),
            ),
            ("source", "/sources/198.51.100.20".into()),
            ("source-unknown", "/sources/2001:db8::ffff".into()),
            ("reports", "/reports".into()),
            ("report", format!("/reports/{}", self.report_uid)),
            ("deliveries", "/deliveries?outcome=rejected".into()),
            ("delivery", format!("/deliveries/{}", self.rejected)),
            ("mailboxes", "/mailboxes".into()),
            ("upload", "/upload".into()),
            ("tokens", "/tokens".into()),
            ("audit", "/audit".into()),
            ("not-found", "/domains/nobody.example".into()),
            ("api", "/docs".into()),
        ]
    }
}

/// Starts a service and fills it.
pub(super) async fn filled() -> Filled {
    let service = Service::start().await;
    let mut report_uid = String::new();
    for day in 0..DAYS {
        for report in reports(day) {
            let stored = service.store(plausible(&report)).await;
            if report.domain == "example.com" {
                report_uid = stored["reports"][0]["report_uid"].as_str().unwrap().into();
            }
        }
    }
    let whole = reports(0).remove(0).xml();
    for (name, broken) in [
        (
            "bigmail.example!example.com!1709251200.xml",
            &whole[..whole.len() / 2],
        ),
        ("answer.html", b"<html><body>Out of office</body></html>"),
    ] {
        upload(&service, name, broken).await;
    }
    let rejected = service
        .list("/api/v1/deliveries?outcome=rejected")
        .await
        .remove(0);
    let rejected: String = rejected["delivery_id"].as_str().unwrap().into();
    mailboxes(&service).await;
    tokens(&service).await;
    changes(&service, &rejected).await;
    Filled {
        rejected,
        report_uid,
        service,
    }
}

/// One domain has most messages, the other most that fail; and so have the sources of the first.
pub(super) async fn two_orders() -> Service {
    let service = Service::start().await;
    let large = Report::new("large.example", "1")
        .passing("192.0.2.1", 10)
        .failing("192.0.2.2", 1);
    let bad = Report::new("bad.example", "2").failing("192.0.2.3", 5);
    for report in [large, bad] {
        service.store(report.xml()).await;
    }
    service
}

/// Uploads a file that is no report, as browsers do.
async fn upload(service: &Service, name: &str, content: &[u8]) {
    let content = String::from_utf8_lossy(content);
    let form = format!(
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n--x--\r\n"
    );
    let answer = service
        .upload_as("multipart/form-data; boundary=x", form)
        .await;
    assert_eq!(answer.status, 422, "{answer:?}");
}

/// The report with raw results as they mostly are: the same as the aligned ones.
fn plausible(report: &Report) -> String {
    let xml = String::from_utf8(report.xml()).unwrap();
    let (pass, fail) = ("<result>pass", "<result>fail");
    xml.replace(pass, "<result>?")
        .replace(fail, pass)
        .replace("<result>?", fail)
}

/// What three reporters say of a day: own servers, a newsletter service, a forwarder, and strangers now and then.
fn reports(day: i64) -> Vec<Report> {
    let begin = FIRST_SECOND + day * DAY;
    let weekend = day % 7 == 1 || day % 7 == 2;
    let mut reports = Vec::new();
    for (place, domain) in ["example.com", "example.org", "shop.example"]
        .iter()
        .enumerate()
    {
        for (number, reporter) in REPORTERS.iter().enumerate() {
            let size = if weekend { 20 } else { 60 } * (3 - place as u64) + (day as u64 * 7) % 23;
            let mut report = Report::new(domain, &format!("{domain}-{reporter}-{day}"))
                .period(begin, begin + DAY - 1)
                .passing("192.0.2.10", size)
                .passing("2001:db8:10::25", size / 2);
            report.org_name = (*reporter).into();
            // The policy changes in the middle of the month.
            if day >= DAYS / 2 {
                report.schema = Schema::Rfc9990;
            }
            if day % 7 == 3 {
                report = report.passing("198.51.100.20", size * 3 / 2);
            } else if day % 3 == 0 && number == 0 {
                report = report.failing("198.51.100.20", 3);
            }
            if day % 11 == 4 {
                report.records.push(Record {
                    disposition: Some("quarantine"),
                    ..failing(domain, 203, 40 + size / 3)
                });
            }
            if day % 5 == 2 && place == 0 {
                report.records.push(failing(domain, 7, 12));
            }
            reports.push(report);
        }
    }
    reports
}

fn failing(domain: &str, host: u8, count: u64) -> Record {
    Record {
        disposition: Some("reject"),
        dkim: false,
        spf: false,
        ..Record::new(&format!("203.0.113.{host}"), count, domain)
    }
}

async fn mailboxes(service: &Service) {
    const LEASE: std::time::Duration = std::time::Duration::from_secs(600);
    let store = service.database.store();
    let holder = Uuid::now_v7();
    for name in ["dmarc", "old-provider"] {
        let leased = store.lease_mailbox(name, holder, "mx1:4711", LEASE).await;
        assert!(leased.unwrap());
    }
    let state = store.set_mailbox_state("dmarc", holder, MailboxState::Waiting);
    state.await.unwrap();
    store
        .set_mailbox_progress("dmarc", holder, 30, 0)
        .await
        .unwrap();
    let advice =
        "the server refuses the credentials of dmarc@example.org; correct user and password";
    let failed = MailboxState::Failed;
    store
        .set_mailbox_error("old-provider", holder, failed, "credentials", advice)
        .await
        .unwrap();
    store.close().await;
}

/// Tokens of each kind and in each state.
async fn tokens(service: &Service) {
    let store = service.database.store();
    for (name, scope, domains, expires_days) in [
        (Some("An intern"), Scope::Read, &[][..], Some(90)),
        (Some("A laptop that was lost"), Scope::Admin, &[], None),
        (
            Some("Our agency"),
            Scope::Read,
            &["shop.example", "example.org"],
            Some(365),
        ),
        (Some("mx1"), Scope::Ingest, &[], None),
        (None, Scope::Read, &["example.com"], Some(30)),
        (Some("Grafana"), Scope::Read, &[], None),
    ] {
        let domains = DomainList::new(domains.iter().map(|name| (*name).to_owned())).ok();
        let new = NewToken::new(name.map(String::from), scope).unwrap();
        let new = new.for_domains(domains).expiring(expires_days).unwrap();
        let (token, text) = store.create_token(&new, &Actor::cli()).await.unwrap();
        match name {
            Some("An intern") => expire(service, &token.token_id).await,
            Some("A laptop that was lost") => {
                let revoked = store.revoke_token(&token.token_id, &Actor::open()).await;
                assert!(revoked.unwrap());
            }
            _ => _ = store.token(text.reveal()).await.unwrap(),
        }
    }
    store.close().await;
}

async fn expire(service: &Service, token_id: &str) {
    let over = format!(
        "update tokens set created_at = now() - interval '91 days', expires_at = now() - interval '1 day' \
         where token_id = '{token_id}'"
    );
    assert_eq!(service.database.execute(&over).await, 1);
}

/// What people do beside making tokens.
async fn changes(service: &Service, delivery_id: &str) {
    let store = service.database.store();
    let laptop = "select token_id from tokens where name = 'A laptop that was lost'";
    let laptop: String = service.database.value(laptop).await;
    let address = Some("203.0.113.9".parse().unwrap());
    let retried = json!({"outcome": "rejected"});
    for (actor, change) in [
        (Actor::cli(), Change::new(Action::Rebuilt)),
        (
            Actor::nobody().at(address),
            Change::new(Action::SignInFailed).of(&laptop),
        ),
        (
            Actor::open().at(address),
            Change::new(Action::DeliveryRetried)
                .of(delivery_id)
                .with(retried),
        ),
    ] {
        store.record_change(&actor, &change).await.unwrap();
    }
    store.close().await;
}
