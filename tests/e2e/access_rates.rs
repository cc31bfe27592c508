//! Those who ask too often.

use store::Scope;

use crate::{
    harness::{Database, Service, make_token},
    reports::Report,
};

/// A service with these limits, and tokens of these scopes.
async fn service(requests: u32, refusals: u32, scopes: [Scope; 2]) -> (Service, [String; 2]) {
    let database = Database::fresh().await;
    let [one, other] = scopes;
    let tokens = [
        make_token(&database, one, &[]).await,
        make_token(&database, other, &[]).await,
    ];
    let service = Service::start_with(database, |config| {
        config.http.access = server::Access::Token;
        config.http.rate_limit.requests_per_minute = requests;
        config.http.rate_limit.refusals_per_minute = refusals;
    })
    .await;
    (service, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_its_share_and_no_more() {
    let (service, [one, other]) = service(3, 0, [Scope::Read, Scope::Read]).await;
    let one = service.nobody().bearer(&one);
    for _ in 0..3 {
        one.get("/api/v1/domains").await;
    }
    let refused = one.ask("/api/v1/domains").await;
    assert_eq!(refused.problem(429), "too_many_requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    service.nobody().bearer(&other).get("/api/v1/domains").await;
    assert_eq!(service.nobody().ask("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_is_counted() {
    let (service, [token, _]) = service(2, 0, [Scope::Read, Scope::Read]).await;
    let token = serde_json::json!({ "token": token });
    for expected in [200, 200, 429] {
        let answer = service.nobody().post_json("/api/v1/session", &token).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    let sessions = "select count(*) from sessions";
    assert_eq!(service.database.value::<i64>(sessions).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_not_counted() {
    let (service, [token, _]) = service(1, 0, [Scope::Ingest, Scope::Read]).await;
    let client = service.nobody().bearer(&token);
    for number in 0..5 {
        let report = Report::new("example.com", &number.to_string());
        client.store(report.passing("192.0.2.1", 1).xml()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_is_told_to_wait_and_fills_no_audit() {
    let (service, [token, new]) = service(0, 2, [Scope::Admin, Scope::Read]).await;
    let admin = service.nobody().bearer(&token);
    admin.get("/api/v1/domains").await;
    let guess = serde_json::json!({"token": "ruad_0123456789abcdef_00"});
    for expected in [401, 401, 429, 429, 429] {
        let answer = service.nobody().post_json("/api/v1/session", &guess).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    let answer = service.nobody().ask("/api/v1/domains").await;
    assert_eq!(answer.problem(429), "too_many_requests");
    // Whoever was let in before is not kept out by others at the same address.
    admin.get("/api/v1/domains").await;
    let failed = "select count(*) from audit where action = 'sign_in_failed'";
    assert_eq!(service.database.value::<i64>(failed).await, 2);

    // The database is not asked about anybody else.
    service
        .database
        .execute("alter table tokens rename to gone")
        .await;
    let answer = service.nobody().bearer(&new).ask("/api/v1/domains").await;
    assert_eq!(answer.problem(429), "too_many_requests");
    let token = serde_json::json!({ "token": new });
    let answer = service.nobody().post_json("/api/v1/session", &token).await;
    assert_eq!(answer.problem(429), "too_many_requests");
}
