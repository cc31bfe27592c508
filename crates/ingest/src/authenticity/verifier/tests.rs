//! Signed mail, a name server, and what is made of them.

mod dns_faults;
mod limits;
mod rules;

#[path = "../../../../../tests/e2e/harness/dkim_key.rs"]
mod dkim_key;
#[path = "../../../../../tests/e2e/harness/dns.rs"]
mod dns;

use dkim_key::DkimKey;
use dns::Dns;

use super::*;

const MAIL: &[u8] = b"From: DMARC <reports@mail.example.net>\r\nTo: dmarc@example.com\r\n\
    Subject: Report\r\nDate: Mon, 02 Nov 2026 03:04:05 +0000\r\n\r\nA report\r\n";

/// A verifier with a name server of its own.
struct Setup {
    dns: Dns,
    verifier: Verifier,
}

impl Setup {
    async fn new() -> Self {
        let dns = Dns::start().await;
        let config = DnsConfig {
            servers: vec![dns.address()],
            timeout_secs: 1,
        };
        let verifier = Verifier::new(&config).unwrap();
        Self { dns, verifier }
    }

    /// A key of a domain, published.
    fn key(&self, domain: &str) -> DkimKey {
        let key = DkimKey::new(domain, "one");
        self.dns.add_txt(&key.record_name(), &key.record());
        key
    }

    async fn verdict(&self, check: &Check, mail: impl Into<Vec<u8>>) -> Verdict {
        let mail = Body::Memory(mail.into().into());
        self.verifier.verify(check, &mail).await.unwrap()
    }

    /// What is found out by DKIM.
    async fn verify(&self, mail: impl Into<Vec<u8>>) -> Authenticity {
        match self.verdict(&Check::default(), mail).await {
            Verdict::Take(Some(authenticity)) => authenticity,
            other => panic!("{other:?}"),
        }
    }
}

fn authenticity(dkim_domains: &[&str], dmarc_pass: Option<bool>) -> Authenticity {
    Authenticity {
        from_domain: Some("mail.example.net".into()),
        dkim_domains: dkim_domains.iter().map(ToString::to_string).collect(),
        dmarc_pass,
    }
}

fn required(method: Method) -> Check {
    Check {
        method,
        authserv_id: "mx.example.com".into(),
        require_authentic: true,
    }
}

#[tokio::test]
async fn a_signature_of_the_from_domain_passes_with_one_lookup() {
    let setup = Setup::new().await;
    let mail = setup.key("mail.example.net").sign(MAIL);
    let expected = authenticity(&["mail.example.net"], Some(true));
    assert_eq!(setup.verify(mail).await, expected);
    assert_eq!(setup.dns.queries(), ["one._domainkey.mail.example.net."]);
}

#[tokio::test]
async fn a_mail_in_a_file_is_verified_like_one_in_memory() {
    use std::io::Write as _;
    let setup = Setup::new().await;
    let mail = setup.key("mail.example.net").sign(MAIL);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&mail).unwrap();
    let check = Check::default();
    let mail = Body::File(file.into());
    let verdict = setup.verifier.verify(&check, &mail);
    let expected = authenticity(&["mail.example.net"], Some(true));
    assert_eq!(verdict.await.unwrap(), Verdict::Take(Some(expected)));
}

#[tokio::test]
async fn a_signature_of_the_organizational_domain_passes_unless_adkim_is_strict() {
    let setup = Setup::new().await;
    let mail = setup.key("example.net").sign(MAIL);
    setup.dns.add_txt("_dmarc.example.net", "v=DMARC1; p=none");
    let expected = authenticity(&["example.net"], Some(true));
    assert_eq!(setup.verify(mail.clone()).await, expected);

    let setup = Setup::new().await;
    let mail = setup.key("example.net").sign(MAIL);
    let strict = "v=DMARC1; p=none; adkim=s";
    setup.dns.add_txt("_dmarc.mail.example.net", strict);
    let expected = authenticity(&["example.net"], Some(false));
    assert_eq!(setup.verify(mail).await, expected);
}

#[tokio::test]
async fn the_record_of_the_from_domain_comes_before_that_of_the_organizational_domain() {
    let setup = Setup::new().await;
    let mail = setup.key("example.net").sign(MAIL);
    let (relaxed, strict) = ("v=DMARC1; p=none", "v=DMARC1; p=none; adkim=s");
    setup.dns.add_txt("_dmarc.mail.example.net", relaxed);
    setup.dns.add_txt("_dmarc.example.net", strict);
    assert_eq!(setup.verify(mail).await.dmarc_pass, Some(true));
}

#[tokio::test]
async fn a_domain_without_a_dmarc_record_is_relaxed() {
    let setup = Setup::new().await;
    let mail = setup.key("reports.example.net").sign(MAIL);
    let expected = authenticity(&["reports.example.net"], Some(true));
    assert_eq!(setup.verify(mail).await, expected);
}

#[tokio::test]
async fn a_signature_of_another_domain_is_known_and_does_not_pass() {
    let setup = Setup::new().await;
    let mail = setup.key("example.org").sign(MAIL);
    let expected = authenticity(&["example.org"], Some(false));
    assert_eq!(setup.verify(mail).await, expected);
    assert_eq!(setup.dns.queries(), ["one._domainkey.example.org."]);
}

#[tokio::test]
async fn one_of_several_signatures_is_enough() {
    let setup = Setup::new().await;
    let mail = setup.key("mail.example.net").sign(MAIL);
    let mail = setup.key("example.org").sign(&mail);
    let mail = DkimKey::new("example.com", "unpublished").sign(&mail);
    let expected = authenticity(&["example.org", "mail.example.net"], Some(true));
    assert_eq!(setup.verify(mail).await, expected);
}

#[tokio::test]
async fn mail_without_a_signature_needs_no_lookup() {
    let setup = Setup::new().await;
    assert_eq!(setup.verify(MAIL).await, authenticity(&[], Some(false)));
    assert!(setup.dns.queries().is_empty());
}

#[tokio::test]
async fn mail_that_must_be_authentic_is_taken_or_refused() {
    let setup = Setup::new().await;
    let check = required(Method::Dkim);
    let mail = setup.key("mail.example.net").sign(MAIL);
    let taken = authenticity(&["mail.example.net"], Some(true));
    let verdict = setup.verdict(&check, mail).await;
    assert_eq!(verdict, Verdict::Take(Some(taken)));
    let refused = authenticity(&[], Some(false));
    let verdict = setup.verdict(&check, MAIL).await;
    assert_eq!(verdict, Verdict::Refuse(refused));
}

#[tokio::test]
async fn results_of_the_server_need_no_lookup() {
    let setup = Setup::new().await;
    let check = required(Method::AuthenticationResults);
    let with = |results: &str| [results.as_bytes(), MAIL].concat();
    let aligned = with(
        "Authentication-Results: mx.example.com; dkim=pass header.d=example.net; dmarc=temperror\r\n",
    );
    let taken = authenticity(&["example.net"], Some(true));
    let verdict = setup.verdict(&check, aligned).await;
    assert_eq!(verdict, Verdict::Take(Some(taken)));
    let foreign =
        with("Authentication-Results: mx.example.com; dkim=pass header.d=example.org\r\n");
    let refused = authenticity(&["example.org"], Some(false));
    let verdict = setup.verdict(&check, foreign).await;
    assert_eq!(verdict, Verdict::Refuse(refused));
    let spf = with("Authentication-Results: mx.example.com; spf=pass; dmarc=pass\r\n");
    let taken = authenticity(&[], Some(true));
    let verdict = setup.verdict(&check, spf).await;
    assert_eq!(verdict, Verdict::Take(Some(taken)));
    assert!(setup.dns.queries().is_empty());
}

#[tokio::test]
async fn mail_that_is_not_checked_is_taken() {
    let setup = Setup::new().await;
    let check = Check {
        method: Method::Off,
        ..Check::default()
    };
    assert_eq!(setup.verdict(&check, MAIL).await, Verdict::Take(None));
}

#[tokio::test]
async fn a_panic_is_contained() {
    let setup = Setup::new().await;
    let done = setup.verifier.blocking::<Option<()>>(|| panic!("a defect"));
    assert_eq!(done.await.unwrap(), None);
}
