//! What comes of a name server that fails.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::{dns::Fault, *};

/// Ten signatures of domains, as a hostile mail may have them.
fn claims(domain: &str) -> String {
    let claim = |number: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=d{number}.{domain}; s=one; bh=AAAA; b=AAAA; h=from\r\n"
        )
    };
    (0..10).map(claim).collect()
}

/// Sends mail of a domain until nothing is looked up any more.
async fn wear_out(setup: &Setup, mail: &[u8]) {
    for _ in 0..3 {
        assert_eq!(setup.verify(mail).await.dmarc_pass, None);
    }
}

#[tokio::test]
async fn without_an_answer_it_is_not_known() {
    let setup = Setup::new().await;
    let mail = setup.key("mail.example.net").sign(MAIL);
    setup.dns.fail(".", Fault::ServerFailure);
    assert_eq!(setup.verify(mail.clone()).await, authenticity(&[], None));
    let verdict = setup.verdict(&required(Method::Dkim), mail.clone()).await;
    assert_eq!(verdict, Verdict::Later);
    setup.dns.recover();
    assert_eq!(setup.verify(mail).await.dmarc_pass, Some(true));
}

#[tokio::test]
async fn the_key_of_a_domain_that_is_not_aligned_need_not_be_known() {
    let setup = Setup::new().await;
    let mail = setup.key("example.org").sign(MAIL);
    setup.dns.fail("example.org", Fault::ServerFailure);
    assert_eq!(setup.verify(mail).await, authenticity(&[], Some(false)));
}

#[tokio::test]
async fn alignment_that_depends_on_an_unknown_record_is_not_known() {
    let setup = Setup::new().await;
    let mail = setup.key("example.net").sign(MAIL);
    setup
        .dns
        .fail("_dmarc.mail.example.net", Fault::ServerFailure);
    assert_eq!(
        setup.verify(mail).await,
        authenticity(&["example.net"], None)
    );
}

#[tokio::test]
async fn silence_stops_lookups_for_a_while() {
    let mut setup = Setup::new().await;
    let resolver = Arc::get_mut(&mut setup.verifier.resolver).unwrap();
    resolver.pause = Duration::from_secs(5);
    let mail = setup.key("mail.example.net").sign(MAIL);
    setup.dns.fail(".", Fault::Silence);
    wear_out(&setup, &mail).await;
    setup.dns.recover();
    let queries = setup.dns.queries().len();
    for _ in 0..10 {
        assert_eq!(setup.verify(mail.clone()).await.dmarc_pass, None);
    }
    assert_eq!(setup.dns.queries().len(), queries);
    let resumed = async { while setup.verify(mail.clone()).await.dmarc_pass.is_none() {} };
    tokio::time::timeout(Duration::from_secs(60), resumed)
        .await
        .unwrap();
    assert!(setup.dns.queries().len() > queries);
}

#[tokio::test]
async fn a_silent_domain_does_not_stop_lookups_of_others() {
    let setup = Setup::new().await;
    let silent = setup.key("silent.mail.example.net").sign(MAIL);
    setup.dns.fail("silent.mail.example.net", Fault::Silence);
    wear_out(&setup, &silent).await;
    assert_eq!(setup.dns.queries().last().unwrap(), ".");
    let mail = setup.key("mail.example.net").sign(MAIL);
    assert_eq!(setup.verify(mail).await.dmarc_pass, Some(true));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_silent() {
    let setup = Setup::new().await;
    let mail = setup.key("mail.example.net").sign(MAIL);
    let Setup { dns, verifier } = setup;
    drop(dns);
    let mail = Body::Memory(mail.into());
    for _ in 0..10 {
        let verdict = verifier.verify(&required(Method::Dkim), &mail).await;
        assert_eq!(verdict.unwrap(), Verdict::Later);
    }
}

#[tokio::test]
async fn answers_are_kept() {
    let setup = Setup::new().await;
    let mail = setup.key("example.net").sign(MAIL);
    for _ in 0..100 {
        assert_eq!(setup.verify(mail.clone()).await.dmarc_pass, Some(true));
    }
    let queries = setup.dns.queries();
    let keys = queries.iter().filter(|name| name.contains("_domainkey"));
    assert_eq!(keys.count(), 1, "{queries:?}");
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let setup = Setup::new().await;
    let key = DkimKey::new("mail.example.net", "one");
    let record = format!("{}; n={}", key.record(), "x".repeat(2_000));
    setup.dns.add_txt(&key.record_name(), &record);
    let pass = setup.verify(key.sign(MAIL)).await.dmarc_pass;
    assert_eq!(pass, Some(true));
}

#[tokio::test]
async fn many_mails_are_looked_up_at_once() {
    let setup = Setup::new().await;
    let mails = (0..500).map(|number| {
        let domain = format!("d{number}.mail.example.net");
        setup.verify(setup.key(&domain).sign(MAIL))
    });
    for authenticity in join_all(mails).await {
        assert_eq!(authenticity.dmarc_pass, Some(true));
    }
}

#[tokio::test]
async fn mail_with_silent_signers_does_not_hold_up_other_mail() {
    let setup = Arc::new(Setup::new().await);
    setup.dns.fail("silent.example", Fault::Silence);
    let mut silent = JoinSet::new();
    for number in 0..30 {
        let mail = format!(
            "{}From: a@b{number}.silent.example\r\n\r\n",
            claims(&format!("b{number}.silent.example"))
        );
        let setup = Arc::clone(&setup);
        silent.spawn(async move { setup.verify(mail).await });
    }
    let asked = async {
        while setup.dns.queries().len() < 30 {
            tokio::task::yield_now().await;
        }
    };
    asked.await;
    let mail = setup.key("mail.example.net").sign(MAIL);
    let verified = tokio::time::timeout(Duration::from_secs(3), setup.verify(mail));
    assert_eq!(verified.await.unwrap().dmarc_pass, Some(true));
    assert!(silent.try_join_next().is_none());
}

#[tokio::test]
async fn signers_that_are_aligned_are_looked_up_first() {
    let setup = Setup::new().await;
    setup.dns.fail("silent.example", Fault::Silence);
    let mail = setup.key("mail.example.net").sign(MAIL);
    let signature_ends = mail.len() - MAIL.len();
    // Nine of others on top, so that the tenth is the one that counts.
    let others = claims("silent.example");
    let (others, _) = others.split_at(others.rfind("DKIM-Signature").unwrap());
    let mail = [others.as_bytes(), &mail[..signature_ends], MAIL].concat();
    let started = tokio::time::Instant::now();
    let expected = authenticity(&["mail.example.net"], Some(true));
    assert_eq!(setup.verify(mail).await, expected);
    assert!(started.elapsed() < Duration::from_secs(10));
    let queries = setup.dns.queries();
    let aligned = queries
        .iter()
        .position(|name| name.contains("mail.example.net"));
    assert!(aligned.unwrap() < 2, "{queries:?}");
}

#[tokio::test]
async fn no_more_than_some_answers_are_kept() {
    let setup = Setup::new().await;
    let names: Vec<String> = (0..1_500)
        .map(|number| format!("n{number}.example"))
        .collect();
    for name in &names {
        setup.dns.add_txt(name, "a text");
    }
    for name in names.iter().chain(&names) {
        let turn = setup.verifier.resolver.turn().await.unwrap();
        assert_eq!(turn.texts(name).await, Ok(vec![b"a text".to_vec()]));
    }
    let queries = setup.dns.queries().len();
    assert!(queries > 2_000, "{queries}");
}
