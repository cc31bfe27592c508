//! Mail that means harm.

use std::time::Duration;

use super::*;

const DAMAGED_MAILS: u64 = 2_000;

/// Checks a mail, which must not take long even in a build without optimization.
async fn verify_in_time(setup: &Setup, mail: impl Into<Vec<u8>>) -> Authenticity {
    let verified = tokio::time::timeout(Duration::from_secs(10), setup.verify(mail));
    verified.await.unwrap()
}

/// A signature with these tags that looks like one worth verifying.
fn signature(tags: &str) -> String {
    format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=mail.example.net; s=one; bh=AAAA; b=AAAA; {tags}\r\n"
    )
}

fn with(header: &str) -> Vec<u8> {
    [header.as_bytes(), MAIL].concat()
}

#[tokio::test]
async fn the_first_ten_signatures_are_tried() {
    let setup = Setup::new().await;
    let signers = (0..30).map(|number| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=d{number}.example; s=one; bh=AAAA; b=AAAA; h=from\r\n"
        )
    });
    let signers: String = signers.collect();
    let mail = setup.key("mail.example.net").sign(MAIL);
    let below = [signers.as_bytes(), &mail].concat();
    let expected = authenticity(&[], Some(false));
    assert_eq!(verify_in_time(&setup, below).await, expected);
    assert_eq!(setup.dns.queries().len(), 10);
    let signature_ends = mail.len() - MAIL.len();
    let on_top = [&mail[..signature_ends], signers.as_bytes(), MAIL].concat();
    let expected = authenticity(&["mail.example.net"], Some(true));
    assert_eq!(verify_in_time(&setup, on_top).await, expected);
}

#[tokio::test]
async fn signatures_that_are_costly_to_verify_take_no_time() {
    let setup = Setup::new().await;
    setup.key("mail.example.net");
    let names: String = (0..3_000).map(|number| format!(":a{number}")).collect();
    let many_names = signature(&format!("h=from{names}")).repeat(9);
    let fields = "A: a\r\n".repeat(900);
    let long = signature(&format!("h={}", "from:".repeat(40_000)));
    let empty_body = signature("h=from; l=99999999999999999999");
    for header in [format!("{many_names}{fields}"), long, empty_body] {
        let expected = authenticity(&[], Some(false));
        assert_eq!(verify_in_time(&setup, with(&header)).await, expected);
    }
}

#[tokio::test]
async fn odd_signatures_are_passed_over() {
    let setup = Setup::new().await;
    setup.key("mail.example.net");
    for tags in [
        "",
        "h=",
        "h=from; d=",
        "h=from; d=.",
        "h=from; d=mail.example.net.; s=..",
        "h=from; d=a b",
        "h=from; d=\0",
        "h=from; s=\u{202e}",
        "h=from; s=one\\.two",
        "h=from; bh=====; b=====",
        "h=from; b=",
        "h=from; v=2",
        "h=from; c=relaxed/relaxed/relaxed",
        "h=from; i=@",
        "h=from; z=From:=\0=FF|=|||",
        "h=from; a=ed25519-sha256",
        "h=from; x=18446744073709551615; t=18446744073709551616",
        "h=dkim-signature:dkim-signature:from",
    ] {
        let mail = with(&signature(tags));
        let expected = authenticity(&[], Some(false));
        assert_eq!(verify_in_time(&setup, mail).await, expected, "{tags:?}");
    }
}

#[tokio::test]
async fn odd_keys_are_none() {
    for record in [
        "",
        "v=DKIM1",
        "v=DKIM1; p=AAAA",
        "v=DKIM1; k=ed25519; p=AAAA",
        "v=DKIM1; p=MIIB",
        "v=DKIM1; p=MIGEAAAA",
        "v=DKIM1; k=none; p=AAAA",
        "v=spf1 -all",
        "\u{0}",
    ] {
        let setup = Setup::new().await;
        let key = DkimKey::new("mail.example.net", "one");
        setup.dns.add_txt(&key.record_name(), record);
        let expected = authenticity(&[], Some(false));
        assert_eq!(setup.verify(key.sign(MAIL)).await, expected, "{record:?}");
        let mail = with(&signature("h=from"));
        assert_eq!(setup.verify(mail).await, expected, "{record:?}");
    }
}

/// Changes bytes of the mail at random, always the same way.
fn damage(mail: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..seed % 8 + 1 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let interesting = b"\0\r\n\t :;=\"()\\<>@,/.0a\xff";
        let position = usize::try_from(state >> 33).unwrap() % mail.len();
        let byte = usize::try_from(state >> 12).unwrap() % interesting.len();
        mail[position] = interesting[byte];
    }
}

/// Calls what a panic is contained in when it is called by [`Verifier::verify`].
#[tokio::test]
async fn damaged_mail_and_keys_do_not_panic() {
    let setup = Setup::new().await;
    let results =
        "Authentication-Results: mx.example.com; dkim=pass (a \\) b) header.d=\"example.net\"\r\n";
    let key = DkimKey::new("mail.example.net", "one");
    let mail = [results.as_bytes(), &key.sign(MAIL)].concat();
    for seed in 0..DAMAGED_MAILS {
        let mut mail = mail.clone();
        damage(&mut mail, seed);
        let mut record = key.record().into_bytes();
        damage(&mut record, seed);
        let mail = Body::Memory(mail.into());
        let read = with_head(&mail, |message| {
            results::results(message, "mx.example.com", "mail.example.net");
            (from_domain(message), dkim::signers(message))
        });
        let (_, signers) = read.unwrap().unwrap_or_default();
        let mut keys = Keys::default();
        for signer in signers {
            keys.add(signer, &[record.clone(), key.record().into_bytes()]);
        }
        dkim::verify(&mail, &keys, setup.verifier.resolver.authenticator()).unwrap();
    }
}

#[tokio::test]
async fn mail_without_a_header_section_is_not_authentic() {
    let setup = Setup::new().await;
    for mail in [
        Vec::new(),
        b"\r\n\r\n".to_vec(),
        vec![0; 1_000_000],
        vec![b'\n'; 1_000_000],
        vec![b':'; 1_000_000],
        b"DKIM-Signature: \r\n ".repeat(50_000),
        signature("h=from").repeat(5_000).into_bytes(),
        b"<?xml version=\"1.0\"?><feedback/>".to_vec(),
    ] {
        assert_eq!(verify_in_time(&setup, mail).await, not_authentic());
    }
    assert!(setup.dns.queries().is_empty());
}

#[tokio::test]
async fn a_mail_of_25_mib_is_verified() {
    let setup = Setup::new().await;
    let body = b"0123456789 abcdef \r\n".repeat(25 * 1024 * 1024 / 20);
    let mail = setup.key("mail.example.net").sign(&[MAIL, &body].concat());
    let expected = authenticity(&["mail.example.net"], Some(true));
    assert_eq!(setup.verify(mail).await, expected);
}
