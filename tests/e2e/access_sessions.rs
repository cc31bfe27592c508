//! Browsers: signing in, what the cookie is worth, signing out.

use hyper::Method;
use serde_json::{Value, json};
use store::Scope;

use crate::{
    harness::{Client, Response, Service, id_of, make_token},
    reports::Report,
};

async fn sign_in(client: &Client, token: &str) -> Response {
    let body = json!({ "token": token });
    client.post_json("/api/v1/session", &body).await
}

/// A browser that is signed in with a new token, and the CSRF token that it was told.
async fn browser(service: &Service, scope: Scope, domains: &[&str]) -> (Client, String) {
    let token = make_token(&service.database, scope, domains).await;
    let answer = sign_in(&service.nobody(), &token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let csrf_token = answer.json()["csrf_token"].as_str().unwrap().to_owned();
    let cookie = answer.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    (service.nobody().header("cookie", cookie), csrf_token)
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_sets_a_cookie_that_scripts_cannot_read() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Read, &["example.com"]).await;

    let answer = sign_in(&service.nobody(), &format!(" {token}\n")).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("ruad_session="), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    let mut session = answer.json();
    let csrf_token = session["csrf_token"].take();
    assert!(csrf_token.as_str().unwrap().len() > 30);
    assert!(!cookie.contains(csrf_token.as_str().unwrap()));
    assert_eq!(
        session,
        json!({"access": "token", "scope": "read", "domains": ["example.com"], "csrf_token": null, "name": "a test, read"})
    );
    let behind_a_proxy = service.nobody().header("x-forwarded-proto", "https");
    let answer = sign_in(&behind_a_proxy, &token).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-ruad_session="), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let signed_in = behind_a_proxy.header("cookie", cookie);
    assert_eq!(signed_in.get("/api/v1/session").await["scope"], "read");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_cookies_none_counts() {
    let service = Service::guarded().await;
    let (admin, _) = browser(&service, Scope::Admin, &[]).await;
    let refused = admin.header("cookie", "ruad_session=00");
    let refused = refused.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_signs_nobody_in() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Admin, &[]).await;
    for wrong in ["", "hunter2", &token[..token.len() - 1]] {
        let refused = sign_in(&service.nobody(), wrong).await;
        assert_eq!(refused.problem(401), "unauthenticated");
        assert_eq!(refused.header("set-cookie"), None);
    }
    let elsewhere = service.nobody().header("origin", "https://evil.example");
    let refused = sign_in(&elsewhere, &token).await;
    assert_eq!(refused.problem(403), "forbidden_origin");
    let form = service.nobody().header("content-type", "text/plain");
    let body = json!({ "token": token }).to_string();
    let refused = form.send(Method::POST, "/api/v1/session", body).await;
    assert_eq!(refused.problem(415), "not_json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_do_what_its_token_may() {
    let service = Service::guarded().await;
    let (reader, _) = browser(&service, Scope::Read, &["example.com"]).await;

    assert_eq!(reader.get("/api/v1/domains").await["items"], json!([]));
    assert_eq!(reader.ask("/metrics").await.problem(403), "forbidden");
    assert_eq!(reader.ask("/api/v1/tokens").await.problem(403), "forbidden");
    let session = reader.get("/api/v1/session").await;
    assert!(session["csrf_token"].is_string(), "{session}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_with_a_cookie_need_the_csrf_token() {
    let service = Service::guarded().await;
    let (admin, csrf_token) = browser(&service, Scope::Admin, &[]).await;
    let (_, csrf_token_of_another) = browser(&service, Scope::Admin, &[]).await;
    let report = Report::new("example.com", "1")
        .passing("192.0.2.1", 3)
        .xml();
    let upload = async |client: &Client| {
        let sent = client.send(Method::POST, "/api/v1/reports", report.clone());
        sent.await
    };

    assert_eq!(upload(&admin).await.problem(403), "csrf");
    for wrong in ["", "x", &csrf_token_of_another] {
        let client = admin.header("x-csrf-token", wrong);
        assert_eq!(upload(&client).await.problem(403), "csrf");
    }
    for (method, path) in [
        (Method::DELETE, "/api/v1/session"),
        (Method::POST, "/api/v1/tokens"),
        (Method::DELETE, "/api/v1/tokens/x"),
    ] {
        assert_eq!(admin.send(method, path, "").await.problem(403), "csrf");
    }
    let told = admin.header("x-csrf-token", &csrf_token);
    assert_eq!(upload(&told).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_time_its_token_and_when_told() {
    let service = Service::guarded().await;
    let is_over = async |client: &Client| {
        let answer = client.ask("/api/v1/session").await;
        assert_eq!(answer.problem(401), "unauthenticated");
    };

    let (browser_one, csrf_token) = browser(&service, Scope::Read, &[]).await;
    let out = browser_one.header("x-csrf-token", &csrf_token);
    let out = out.send(Method::DELETE, "/api/v1/session", "").await;
    assert_eq!(out.status, 204, "{out:?}");
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    is_over(&browser_one).await;

    let (browser_two, _) = browser(&service, Scope::Read, &[]).await;
    let end = "update sessions set expires_at = now() - interval '1 second'";
    service.database.execute(end).await;
    is_over(&browser_two).await;

    let token = make_token(&service.database, Scope::Read, &[]).await;
    let answer = sign_in(&service.nobody(), &token).await;
    let count = "select count(*) from sessions";
    assert_eq!(
        service.database.value::<i64>(count).await,
        1,
        "others are cleared away"
    );
    let cookie = answer.header("set-cookie").unwrap();
    let browser_three = service
        .nobody()
        .header("cookie", cookie.split(';').next().unwrap());
    assert_eq!(browser_three.get("/api/v1/session").await["scope"], "read");
    let admin = service.client(Scope::Admin, &[]).await;
    let path = format!("/api/v1/tokens/{}", id_of(&token));
    assert_eq!(admin.send(Method::DELETE, &path, "").await.status, 204);
    is_over(&browser_three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_more_than_a_cookie() {
    let service = Service::guarded().await;
    let (admin, _) = browser(&service, Scope::Admin, &[]).await;
    let read = make_token(&service.database, Scope::Read, &[]).await;

    let both: Value = admin.bearer(&read).get("/api/v1/session").await;
    assert_eq!(
        (&both["scope"], &both["csrf_token"]),
        (&json!("read"), &Value::Null)
    );

    let refused = admin.bearer("wrong").ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_has_one_session_and_a_token_a_hundred() {
    let service = Service::guarded().await;
    let count = "select count(*) from sessions";
    let (before, _) = browser(&service, Scope::Read, &[]).await;
    let token = make_token(&service.database, Scope::Read, &[]).await;

    let answer = sign_in(&before, &token).await;

    let refused = before.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
    assert_eq!(service.database.value::<i64>(count).await, 1);
    let cookie = answer.header("set-cookie").unwrap();
    let oldest = service
        .nobody()
        .header("cookie", cookie.split(';').next().unwrap());
    for _ in 0..99 {
        assert_eq!(sign_in(&service.nobody(), &token).await.status, 200);
    }
    oldest.get("/api/v1/session").await;
    assert_eq!(sign_in(&service.nobody(), &token).await.status, 200);
    let refused = oldest.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
    assert_eq!(service.database.value::<i64>(count).await, 100);
}
