//! Which servers are trusted, and what is said about the others.

use std::fs;

use server::mailbox::{self, Security};

use crate::{
    harness::{Dovecot, DovecotOptions, Fault, Identity, Scripted},
    mailbox::{becomes, config, fails, plain_config, reports, serve, settles},
};

/// A server that says it is somebody, with a mail for the user.
async fn server(identity: Identity) -> Dovecot {
    let dovecot = Dovecot::start_with(DovecotOptions {
        identity,
        ..DovecotOptions::default()
    })
    .await;
    let mailbox = dovecot.mailbox("dmarc").await;
    mailbox.deliver(&reports(1)[0]).await;
    dovecot
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_not_trusted_are_refused_with_the_reason() {
    for (identity, reason) in [
        (Identity::UnknownAuthority, "its issuer is unknown"),
        (Identity::SelfSigned, "its issuer is unknown"),
        (Identity::OtherName, "it was issued for another name"),
        (Identity::Expired, "it has expired"),
    ] {
        let dovecot = server(identity).await;
        for security in [Security::Tls, Security::Starttls] {
            let service = serve(secured(&dovecot, security)).await;
            let detail = fails(&service, "certificate").await;
            assert!(detail.contains(reason), "{identity:?}: {detail}");
            let fingerprint = &dovecot.certificates.sha256;
            assert!(detail.contains(fingerprint), "{identity:?}: {detail}");
            let deliveries = service.list("/api/v1/deliveries").await;
            assert_eq!(deliveries.len(), 0);
            service.stop().await;
        }
        assert!(!dovecot.log().contains("user=<dmarc>"), "nobody logged in");
    }
}

/// Over the port that goes with it.
fn secured(dovecot: &Dovecot, security: Security) -> mailbox::Config {
    let port = match security {
        Security::Tls => dovecot.imaps_port,
        Security::Starttls | Security::Plain => dovecot.imap_port,
    };
    mailbox::Config {
        port,
        security,
        ..config(dovecot, "dmarc")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_servers_are_worked_with_over_tls_starttls_and_in_plain() {
    let dovecot = server(Identity::Trusted).await;
    for security in [Security::Tls, Security::Starttls, Security::Plain] {
        let service = serve(secured(&dovecot, security)).await;
        becomes(&service, "waiting").await;
        service.stop().await;
    }
    let log = dovecot.log();
    let logins = log.lines().filter(|line| line.contains("Login: user="));
    let over_tls = logins
        .map(|line| line.contains(", TLS"))
        .collect::<Vec<_>>();
    assert_eq!(over_tls, [true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_is_trusted_and_no_other() {
    let dovecot = server(Identity::SelfSigned).await;
    let pinned = |pin: String| mailbox::Config {
        certificate_sha256: pin,
        ca_file: None,
        ..config(&dovecot, "dmarc")
    };
    let service = serve(pinned(dovecot.certificates.sha256.to_uppercase())).await;
    settles(&service, 1).await;
    becomes(&service, "waiting").await;
    service.stop().await;

    let service = serve(pinned("0".repeat(64))).await;
    let detail = fails(&service, "certificate").await;
    assert!(
        detail.contains("not the one of certificate_sha256"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_ca_file_needs_no_restart() {
    let dovecot = server(Identity::Trusted).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let service = serve(mailbox::Config {
        ca_file: Some(ca_file.clone()),
        ..config(&dovecot, "dmarc")
    })
    .await;
    let detail = fails(&service, "trusted_certificates").await;
    assert!(detail.contains(ca_file.to_str().unwrap()), "{detail}");
    fs::write(&ca_file, "no certificate").unwrap();
    fails(&service, "trusted_certificates").await;
    let other = server(Identity::Trusted).await;
    fs::copy(&other.certificates.ca_file, &ca_file).unwrap();
    fails(&service, "certificate").await;
    fs::copy(&dovecot.certificates.ca_file, &ca_file).unwrap();
    settles(&service, 1).await;
    becomes(&service, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_a_server_without_tls() {
    let server = Scripted::start().await;
    server.deliver("INBOX", reports(1).remove(0));
    let settings = |security| mailbox::Config {
        security,
        ..plain_config(&server)
    };
    let service = serve(settings(Security::Starttls)).await;
    let detail = fails(&service, "no_starttls").await;
    assert!(detail.contains("security = \"tls\""), "{detail}");
    service.stop().await;
    // One that pretends to go over to TLS, and one that never spoke anything else.
    server.on("STARTTLS", 1, Fault::Answer("OK go on"));
    let service = serve(settings(Security::Starttls)).await;
    fails(&service, "stalled").await;
    service.stop().await;
    let service = serve(settings(Security::Tls)).await;
    let detail = fails(&service, "tls").await;
    assert!(detail.contains("check port and security"), "{detail}");
    service.stop().await;
    let commands = server.commands();
    let is_login = |command: &String| command.contains("LOGIN") || command.contains("AUTHENT");
    assert!(!commands.iter().any(is_login), "{commands:?}");
}
