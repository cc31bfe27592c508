//! Where a mail comes from: the name server and the keys of the harness against the library that verifies signatures.

use std::time::Duration;

use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator,
    hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
};

use crate::harness::{DkimKey, Dns, DnsFault};

const MAIL: &[u8] = b"From: reports@example.net\r\nTo: dmarc@example.com\r\n\r\nA report\r\n";

fn resolver(dns: &Dns) -> MessageAuthenticator {
    let mut connection = ConnectionConfig::udp();
    connection.port = dns.address().port();
    let server = NameServerConfig::new(dns.address().ip(), true, vec![connection]);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(500);
    MessageAuthenticator::new(config, options).unwrap()
}

async fn verify(resolver: &MessageAuthenticator, mail: &[u8]) -> DkimResult {
    let message = AuthenticatedMessage::parse(mail).unwrap();
    let outputs = resolver.verify_dkim(&message).await;
    outputs[0].result().clone()
}

#[tokio::test]
async fn the_harness_signs_mail_and_publishes_keys() {
    let dns = Dns::start().await;
    let key = DkimKey::new("example.net", "one");
    dns.add_txt(&key.record_name(), &key.record());
    let mail = key.sign(MAIL);
    assert_eq!(verify(&resolver(&dns), &mail).await, DkimResult::Pass);
    assert_eq!(dns.queries(), ["one._domainkey.example.net."]);
}

#[tokio::test]
async fn the_name_server_fails_and_recovers_as_told() {
    let dns = Dns::start().await;
    let key = DkimKey::new("example.net", "one");
    dns.add_txt(&key.record_name(), &key.record());
    let mail = key.sign(MAIL);
    let resolver = resolver(&dns);
    for fault in [DnsFault::ServerFailure, DnsFault::Silence] {
        dns.fail("example.net", fault);
        let failed = verify(&resolver, &mail).await;
        assert!(matches!(failed, DkimResult::TempError(_)), "{failed}");
        dns.recover();
    }
    assert_eq!(verify(&resolver, &mail).await, DkimResult::Pass);
}
