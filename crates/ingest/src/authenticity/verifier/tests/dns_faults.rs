//! What comes of a name server that fails.

use std::time::Duration;

use super::{dns::Fault, *};

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
