//! Mail from a mailbox is checked for where it comes from.

use bytes::Bytes;
use serde_json::{Value, json};
use server::{
    Config,
    mailbox::{self, Method},
};

use crate::{
    harness::{Database, DkimKey, Dns, DnsFault, Dovecot, Service},
    mailbox::{becomes, config, mail, settles, with_mailbox},
    reports::{Options, generate},
};

/// Mails with a report each, all different.
fn mails(count: usize) -> Vec<Bytes> {
    let generated = generate(Options {
        seed: 3,
        reports: count,
        records_max: 2,
        duplicates: 0,
        malformed: 0,
    });
    let reports = generated.reports.iter().enumerate();
    reports
        .map(|(number, report)| mail(&format!("{number}@example.net"), &report.xml()))
        .collect()
}

/// A name server that knows the key of the sender.
async fn name_server(key: &DkimKey) -> Dns {
    let dns = Dns::start().await;
    dns.add_txt(&key.record_name(), &key.record());
    dns
}

fn with_names(settings: mailbox::Config, dns: &Dns) -> impl FnOnce(&mut Config) {
    let server = dns.address();
    move |config| {
        with_mailbox(settings)(config);
        config.dns.servers = vec![server];
        config.dns.timeout_secs = 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_and_reports_tell_who_signed() {
    let key = DkimKey::new("example.net", "one");
    let dns = name_server(&key).await;
    let dovecot = Dovecot::start().await;
    let inbox = dovecot.mailbox("dmarc").await;
    let mails = mails(2);
    let signed = Bytes::from(key.sign(&mails[0]));
    inbox
        .deliver_all("INBOX", vec![signed, mails[1].clone()])
        .await;
    let adjust = with_names(config(&dovecot, "dmarc"), &dns);
    let service = Service::start_with(Database::fresh().await, adjust).await;

    settles(&service, 2).await;
    for list in ["deliveries", "reports"] {
        let path = format!("/api/v1/{list}?mail_dmarc_pass=true");
        let passed = service.list(&path).await;
        assert_eq!(passed.len(), 1, "{list}");
        assert_eq!(
            passed[0]["mail"],
            json!({"from_domain": "example.net", "dkim_domains": ["example.net"], "dmarc_pass": true})
        );
        let path = format!("/api/v1/{list}?mail_dmarc_pass=false");
        let failed = service.list(&path).await;
        assert_eq!(failed.len(), 1, "{list}");
        assert_eq!(failed[0]["mail"]["dkim_domains"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_must_be_authentic_and_is_not_can_be_taken_by_hand() {
    let key = DkimKey::new("example.net", "one");
    let dns = name_server(&key).await;
    let dovecot = Dovecot::start().await;
    let inbox = dovecot.mailbox("dmarc").await;
    let mails = mails(2);
    let signed = Bytes::from(key.sign(&mails[0]));
    inbox
        .deliver_all("INBOX", vec![signed, mails[1].clone()])
        .await;
    let settings = mailbox::Config {
        require_authentic: true,
        ..config(&dovecot, "dmarc")
    };
    let service = Service::start_with(Database::fresh().await, with_names(settings, &dns)).await;

    let deliveries = settles(&service, 2).await;
    let rejected: Vec<&Value> = deliveries
        .iter()
        .filter(|delivery| delivery["outcome"] == "rejected")
        .collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0]["documents"][0]["code"], "not_authentic");
    assert_eq!(rejected[0]["raw_kept"], true);
    assert_eq!(service.database.report_count().await, 1);

    let id = rejected[0]["delivery_id"].as_str().unwrap();
    let path = format!("/api/v1/deliveries/{id}/retry");
    let retried = service.request(hyper::Method::POST, &path).await;
    assert_eq!(retried.status, 201, "{retried:?}");
    assert_eq!(
        service
            .list("/api/v1/reports?mail_dmarc_pass=false")
            .await
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_cannot_be_checked_now_waits() {
    let key = DkimKey::new("example.net", "one");
    let dns = name_server(&key).await;
    dns.fail("example.net", DnsFault::Silence);
    let dovecot = Dovecot::start().await;
    let inbox = dovecot.mailbox("dmarc").await;
    inbox.deliver(&key.sign(&mails(1)[0])).await;
    let settings = mailbox::Config {
        require_authentic: true,
        ..config(&dovecot, "dmarc")
    };
    let service = Service::start_with(Database::fresh().await, with_names(settings, &dns)).await;

    let state = becomes(&service, "failed").await;
    assert_eq!(state["last_error"]["code"], "unverified");
    assert_eq!(settles(&service, 0).await, [] as [Value; 0]);
    assert!(!inbox.folder("INBOX").await[0].has("\\Seen"));
    dns.recover();
    let deliveries = settles(&service, 1).await;
    assert_eq!(deliveries[0]["outcome"], "stored");
    becomes(&service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_of_the_mail_server_is_believed() {
    let dovecot = Dovecot::start().await;
    let inbox = dovecot.mailbox("dmarc").await;
    let verdict = |authserv_id: &str, mail: &Bytes| {
        let field = format!(
            "Authentication-Results: {authserv_id};\r\n dkim=pass header.d=example.net; dmarc=pass header.from=example.net\r\n"
        );
        Bytes::from([field.as_bytes(), mail].concat())
    };
    let mails = mails(2);
    let (trusted, forged) = (
        verdict("mx.example.com", &mails[0]),
        verdict("evil.example", &mails[1]),
    );
    inbox.deliver_all("INBOX", vec![trusted, forged]).await;
    let settings = mailbox::Config {
        authenticity: Method::AuthenticationResults,
        authserv_id: "mx.example.com".into(),
        require_authentic: true,
        ..config(&dovecot, "dmarc")
    };
    let service = Service::start_with(Database::fresh().await, with_mailbox(settings)).await;

    let deliveries = settles(&service, 2).await;
    let outcomes: Vec<&str> = [true, false]
        .into_iter()
        .map(|pass| {
            let mut found = deliveries
                .iter()
                .filter(|one| one["mail"]["dmarc_pass"] == pass);
            found.next().unwrap()["outcome"].as_str().unwrap()
        })
        .collect();
    assert_eq!(outcomes, ["stored", "rejected"]);
}
