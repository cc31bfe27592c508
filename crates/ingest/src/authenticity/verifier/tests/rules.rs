//! Which signatures count.

use mail_auth::{
    common::{crypto::Ed25519Key, headers::HeaderWriter as _},
    dkim::{DkimSigner, Done},
};

use super::*;

/// Mail signed by dkimpy, which mail-auth cannot sign itself, and its keys.
const KEYS: &str = include_str!("../../../../../../tests/fixtures/authenticity/keys.txt");
const RSA_SHA256: &[u8] =
    include_bytes!("../../../../../../tests/fixtures/authenticity/rsa_sha256.eml");
const RSA_1024_BITS: &[u8] =
    include_bytes!("../../../../../../tests/fixtures/authenticity/rsa_1024_bits.eml");
const RSA_768_BITS: &[u8] =
    include_bytes!("../../../../../../tests/fixtures/authenticity/rsa_768_bits.eml");
const RSA_SHA1: &[u8] =
    include_bytes!("../../../../../../tests/fixtures/authenticity/rsa_sha1.eml");

async fn verify_rsa(mail: &[u8]) -> Option<bool> {
    let setup = Setup::new().await;
    for (name, text) in KEYS.lines().filter_map(|line| line.split_once(' ')) {
        setup.dns.add_txt(name, text);
    }
    setup.verify(mail).await.dmarc_pass
}

/// Signs a mail in an unusual way, and verifies it.
async fn verify_signed(
    headers: &[&str],
    sign: impl FnOnce(DkimSigner<Ed25519Key, Done>) -> DkimSigner<Ed25519Key, Done>,
    change: impl FnOnce(String) -> String,
) -> Option<bool> {
    let setup = Setup::new().await;
    let key = Ed25519Key::generate_pkcs8().unwrap();
    let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(&key).unwrap();
    let public =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.public_key());
    let record = format!("v=DKIM1; k=ed25519; p={public}");
    setup
        .dns
        .add_txt("one._domainkey.mail.example.net", &record);
    let signer = DkimSigner::from_key(key)
        .domain("mail.example.net")
        .selector("one")
        .headers(headers.iter().copied());
    let signature = sign(signer).sign(MAIL).unwrap().to_header();
    let mail = format!("{signature}{}", String::from_utf8_lossy(MAIL));
    setup.verify(change(mail)).await.dmarc_pass
}

#[tokio::test]
async fn rsa_keys_of_1024_bits_and_more_count() {
    assert_eq!(verify_rsa(RSA_SHA256).await, Some(true));
    assert_eq!(verify_rsa(RSA_1024_BITS).await, Some(true));
}

#[tokio::test]
async fn shorter_keys_and_sha1_do_not_count() {
    assert_eq!(verify_rsa(RSA_768_BITS).await, Some(false));
    assert_eq!(verify_rsa(RSA_SHA1).await, Some(false));
}

#[tokio::test]
async fn a_changed_mail_does_not_count() {
    let change = |from: &'static str, to: &'static str| {
        verify_signed(
            &["From", "Subject"],
            |signer| signer,
            move |mail| mail.replacen(from, to, 1),
        )
    };
    assert_eq!(change("A report", "A report").await, Some(true));
    assert_eq!(change("A report", "Another").await, Some(false));
    assert_eq!(
        change("Subject: Report", "Subject: Other").await,
        Some(false)
    );
    assert_eq!(change("reports@", "other@").await, Some(false));
    assert_eq!(change("To: dmarc", "To: other").await, Some(true));
}

#[tokio::test]
async fn a_second_from_field_makes_the_mail_unauthentic() {
    let changed = verify_signed(
        &["From"],
        |signer| signer,
        |mail| format!("From: someone@example.org\r\n{mail}"),
    );
    assert_eq!(changed.await, Some(false));
}

#[tokio::test]
async fn a_signature_without_the_from_field_does_not_count() {
    let pass = verify_signed(&["To", "Subject"], |signer| signer, |mail| mail);
    assert_eq!(pass.await, Some(false));
}

#[tokio::test]
async fn a_signature_of_a_part_of_the_body_does_not_count() {
    let signed = |signer: DkimSigner<_, _>| signer.body_length(true);
    let pass = verify_signed(&["From"], signed, |mail| format!("{mail}and more\r\n"));
    assert_eq!(pass.await, Some(false));
    let pass = verify_signed(&["From"], signed, |mail| mail);
    assert_eq!(pass.await, Some(false));
}

#[tokio::test]
async fn a_signature_that_has_expired_since_the_mail_arrived_counts() {
    let signed = |signer: DkimSigner<_, _>| signer.expiration(1);
    let pass = verify_signed(&["From"], signed, |mail| mail);
    assert_eq!(pass.await, Some(true));
}

#[tokio::test]
async fn third_parties_and_reports_of_failures_are_not_looked_up() {
    let signed = |signer: DkimSigner<_, _>| signer.atps("mail.example.net").reporting(true);
    let pass = verify_signed(&["From"], signed, |mail| mail);
    assert_eq!(pass.await, Some(true));
}

#[tokio::test]
async fn an_identity_of_another_domain_does_not_count() {
    let signed = |signer: DkimSigner<_, _>| signer.agent_user_identifier("@example.org");
    let pass = verify_signed(&["From"], signed, |mail| mail);
    assert_eq!(pass.await, Some(false));
}

#[tokio::test]
async fn a_revoked_key_does_not_count() {
    let setup = Setup::new().await;
    let key = DkimKey::new("mail.example.net", "one");
    setup.dns.add_txt(&key.record_name(), "v=DKIM1; p=");
    let expected = authenticity(&[], Some(false));
    assert_eq!(setup.verify(key.sign(MAIL)).await, expected);
}

#[tokio::test]
async fn what_a_key_says_of_itself_is_obeyed() {
    for (tags, expected) in [
        ("t=s", true),
        ("t=; h=; s=", true),
        ("n=t=y", true),
        ("h=sha256", true),
        ("h=sha1 : SHA256", true),
        ("s=email", true),
        ("s=tlsrpt:*", true),
        // RFC 6376 section 3.6.1: a domain that is testing.
        ("t=y", false),
        ("t=s : y", false),
        ("t=s; t=y", false),
        ("T = Y", false),
        ("h=sha1", false),
        ("h=sha512", false),
        ("s=tlsrpt", false),
    ] {
        let setup = Setup::new().await;
        let key = DkimKey::new("mail.example.net", "one");
        let record = key.record().replacen("; ", &format!("; {tags}; "), 1);
        setup.dns.add_txt(&key.record_name(), &record);
        let pass = setup.verify(key.sign(MAIL)).await.dmarc_pass;
        assert_eq!(pass, Some(expected), "{tags}");
    }
}
