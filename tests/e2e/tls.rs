//! HTTPS, by ruad itself or by a proxy in front of it.

use std::{fs, path::Path};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::net::TcpStream;

use crate::harness::{
    Certificates, Database, Identity, Program, Response, Serving, eventually, send_over,
    tls_connector,
};

/// `ruad serve` or another command with these certificates.
fn program(command: &str, certificates: &Certificates) -> Program {
    Program::new([command])
        .env(
            "RUAD_HTTP__TLS__CERTIFICATE_FILE",
            &certificates.certificate_file,
        )
        .env("RUAD_HTTP__TLS__KEY_FILE", &certificates.key_file)
}

/// An answer to a client that trusts this authority.
async fn get(serving: &Serving, ca_file: &Path, path: &str) -> Option<Response> {
    let stream = TcpStream::connect(serving.address).await.ok()?;
    let name = "localhost".try_into().unwrap();
    let stream = tls_connector(ca_file).connect(name, stream).await.ok()?;
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Full::<Bytes>::default())
        .unwrap();
    send_over(stream, request).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_be_renewed_while_ruad_serves() {
    let folder = tempfile::tempdir().unwrap();
    let first = Certificates::make(folder.path(), Identity::Trusted);
    let authority = fs::read(&first.ca_file).unwrap();
    let database = Database::fresh().await;
    let serving = Serving::start(program("serve", &first).on(&database)).await;
    eventually("ruad is ready", async || {
        let answer = get(&serving, &first.ca_file, "/readyz").await;
        answer.is_some_and(|answer| answer.status == 200)
    })
    .await;
    let answer = get(&serving, &first.ca_file, "/healthz").await.unwrap();
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=31536000")
    );
    assert!(
        serving.get("/healthz").await.is_none(),
        "nothing in the clear"
    );
    let health = program("healthcheck", &first).arg("--listen");
    let health = health.arg(serving.address.to_string()).run().await;
    assert_eq!(health.code, Some(0), "{health:?}");

    // Half of a renewal: the certificate of another key.
    let key = fs::read(&first.key_file).unwrap();
    let second = Certificates::make(folder.path(), Identity::Trusted);
    let new_key = fs::read(&second.key_file).unwrap();
    fs::write(&second.key_file, &key).unwrap();
    eventually("ruad notices", async || {
        serving.process.said().contains("the one before is used on")
    })
    .await;
    let old_authority = folder.path().join("old-ca.pem");
    fs::write(&old_authority, authority).unwrap();
    assert!(get(&serving, &old_authority, "/healthz").await.is_some());
    assert!(get(&serving, &second.ca_file, "/healthz").await.is_none());

    fs::write(&second.key_file, new_key).unwrap();
    eventually("the new certificate is used", async || {
        get(&serving, &second.ca_file, "/healthz").await.is_some()
    })
    .await;
    assert!(get(&serving, &old_authority, "/healthz").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_fit_together_end_the_start_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path(), Identity::Trusted);
    let database = Database::fresh().await;
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (name, content, reason) in [
        ("key.pem", other.as_str(), "the certificate and its key"),
        ("key.pem", "nothing", "key.pem"),
        ("certificate.pem", "nothing", "certificate.pem"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        let ended = program("serve", &certificates).on(&database).run().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
    let half = Program::new(["serve"])
        .on(&database)
        .env("RUAD_HTTP__TLS__KEY_FILE", &certificates.key_file);
    let ended = half.run().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("http.tls needs"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_believed_only_when_it_is_trusted() {
    let database = Database::fresh().await;
    for (trusted, expected) in [("127.0.0.0/8", true), ("192.0.2.1", false)] {
        let program = Program::new(["serve"])
            .on(&database)
            .env("RUAD_HTTP__ACCESS", "token")
            .env("RUAD_HTTP__TRUSTED_PROXIES", trusted);
        let serving = Serving::start(program).await;
        let request = Request::get("/healthz")
            .header("host", serving.address.to_string())
            .header("x-forwarded-proto", "https")
            .body(Full::<Bytes>::default())
            .unwrap();
        let stream = TcpStream::connect(serving.address).await.unwrap();
        let answer = send_over(stream, request).await.unwrap();
        let is_secure = answer.header("strict-transport-security").is_some();
        assert_eq!(is_secure, expected, "{trusted}");
    }
}
