//! A provider that is away, misbehaves, or changes its keys; and people who ask too often.

use serde_json::json;
use store::Scope;

use super::{is_refused, last_in_audit, people, service};
use crate::harness::{Database, OpenId, Service, Visitor, cookie_of, eventually, grant, place};

const DISCOVERY: &str = "/.well-known/openid-configuration";

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_at_the_start_is_asked_when_it_is_back() {
    let provider = OpenId::start().await;
    for fault in [
        json!({"path": DISCOVERY, "status": 503}),
        json!({"path": DISCOVERY, "status": 302, "headers": {"location": "/jwks"}}),
        json!({"path": DISCOVERY, "status": 200, "headers": {"content-type": "application/json"}, "body": "{}"}),
        json!({"path": DISCOVERY, "status": 200, "headers": {"content-type": "application/json"}, "body": " ", "times": 2_000_000}),
        json!({"path": "/jwks", "status": 500}),
    ] {
        let service = service(&provider).await;
        provider.set(json!({ "fault": fault })).await;
        let answer = service.nobody().ask("/api/v1/session/oidc").await;
        assert_eq!(place(&answer), "/?sign_in=unavailable", "{fault}");
        assert_eq!(cookie_of(&answer, "ruad_oidc"), None);

        provider.set(json!({ "fault": null })).await;
        eventually("it is asked again", async || {
            let answer = service.nobody().ask("/api/v1/session/oidc").await;
            place(&answer).starts_with(&provider.issuer)
        })
        .await;
        let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
        assert_eq!(place(&answer), "/", "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_names_places_without_tls_is_not_asked_there() {
    let provider = OpenId::start().await;
    let endpoints = [
        ("authorization_endpoint", "/auth"),
        ("token_endpoint", "/token"),
        ("jwks_uri", "/jwks"),
    ];
    for (endpoint, path) in endpoints {
        let service = service(&provider).await;
        let mut said = json!({
            "issuer": provider.issuer, "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        for (endpoint, path) in endpoints {
            said[endpoint] = json!(format!("{}{path}", provider.issuer));
        }
        said[endpoint] = json!(format!("http://evil.example{path}"));
        let headers = json!({"content-type": "application/json"});
        let fault =
            json!({"path": DISCOVERY, "status": 200, "headers": headers, "body": said.to_string()});
        provider.set(json!({ "fault": fault })).await;
        let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
        assert_eq!(place(&answer), "/?sign_in=unavailable", "{endpoint}");
        provider.set(json!({ "fault": null })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_cannot_be_redeemed_signs_nobody_in() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    for (fault, code) in [
        (json!({"status": 503}), "unavailable"),
        (
            json!({"status": 307, "headers": {"location": "http://127.0.0.1:9/token"}}),
            "unavailable",
        ),
        (
            json!({"status": 200, "headers": {"content-type": "application/json"}, "body": "{}"}),
            "not_verified",
        ),
        (
            json!({"status": 200, "headers": {"content-type": "application/json"}, "body": "[", "times": 2_000_000}),
            "unavailable",
        ),
        (
            json!({"status": 400, "headers": {"content-type": "application/json"}, "body": "{\"error\":\"invalid_client\"}"}),
            "refused",
        ),
        (
            json!({"status": 200, "headers": {"content-type": "application/json"},
                "body": "{\"access_token\":\"a\",\"token_type\":\"bearer\"}"}),
            "not_verified",
        ),
    ] {
        let mut fault = fault;
        fault["path"] = json!("/token");
        provider.set(json!({ "fault": fault })).await;
        let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
        let row = is_refused(&service, &answer, code).await;
        assert!(!row.to_string().contains("s&cret"), "{row}");
    }
    let mut ann = Visitor::new(&provider, "ann");
    let (attempt, callback) = ann.until_back(&service, "/").await;
    provider.kill().await;
    let client = service.nobody().header("cookie", &attempt);
    is_refused(&service, &client.ask(&callback).await, "unavailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_change_are_asked_for_anew() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    for _ in 0..3 {
        Visitor::new(&provider, "ann").client(&service).await;
        provider.set(json!({"rotate": true})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_wants_the_secret_in_the_form_gets_it_there() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let said = json!({
        "issuer": provider.issuer, "authorization_endpoint": format!("{}/auth", provider.issuer),
        "token_endpoint": format!("{}/token", provider.issuer), "jwks_uri": format!("{}/jwks", provider.issuer),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    });
    let headers = json!({"content-type": "application/json"});
    let fault =
        json!({"path": DISCOVERY, "status": 200, "headers": headers, "body": said.to_string()});
    let client = json!({"token_endpoint_auth_method": "client_secret_post"});
    let settings = json!({"fault": fault, "client": client});
    provider.set(settings).await;
    Visitor::new(&provider, "ann").client(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_too_often_is_told_to_wait() {
    let provider = OpenId::start().await;
    let service = Service::guarded_with(Database::fresh().await, |config| {
        config.http.oidc = provider.settings(config, &[grant("mail", Scope::Read, &[])]);
        config.http.rate_limit.refusals_per_minute = 3;
    })
    .await;
    let callback = format!("http://{}/api/v1/session/oidc/callback", service.address);
    let settings = json!({"redirect_uri": callback, "accounts": people()});
    provider.set(settings).await;
    let (attempt, answered) = Visitor::new(&provider, "ann")
        .until_back(&service, "/")
        .await;
    let callback = "/api/v1/session/oidc/callback?code=x&state=y";
    for _ in 0..2 {
        let answer = service.nobody().ask(callback).await;
        is_refused(&service, &answer, "stale").await;
    }
    for path in [callback, "/api/v1/session/oidc"] {
        let refused = service.nobody().ask(path).await;
        assert_eq!(place(&refused), "/?sign_in=too_many_requests");
    }
    let count = "select count(*) from audit where action = 'sign_in_failed'";
    assert_eq!(service.database.value::<i64>(count).await, 2);

    // Whoever began before comes back, and who is refused elsewhere has a share of that.
    let client = service.nobody().header("cookie", &attempt);
    let answer = client.ask(&answered).await;
    assert!(cookie_of(&answer, "ruad_session").is_some(), "{answer:?}");
    let refused = service.nobody().ask("/api/v1/domains").await;
    assert_eq!(refused.problem(401), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_on_this_side_is_told_on_the_page() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let (attempt, callback) = Visitor::new(&provider, "ann")
        .until_back(&service, "/")
        .await;
    let client = service.nobody().header("cookie", &attempt);
    let rename = "alter table sessions rename to gone";
    service.database.execute(rename).await;
    assert_eq!(place(&client.ask(&callback).await), "/?sign_in=failed");
    let twice = "/api/v1/session/oidc/callback?state=a&state=b";
    assert_eq!(place(&client.ask(twice).await), "/?sign_in=stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_not_asked_for_each_who_comes() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let fault = json!({"path": DISCOVERY, "status": 503});
    provider.set(json!({ "fault": fault })).await;
    let ask = async || {
        let answer = service.nobody().ask("/api/v1/session/oidc").await;
        place(&answer).to_owned()
    };
    assert_eq!(ask().await, "/?sign_in=unavailable");
    provider.set(json!({ "fault": null })).await;
    assert_eq!(ask().await, "/?sign_in=unavailable", "for two seconds");
    eventually("it is asked again", async || {
        ask().await.starts_with(&provider.issuer)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_a_share_of_requests_and_no_more() {
    let provider = OpenId::start().await;
    let grants = [grant("mail", Scope::Read, &[])];
    let service = Service::guarded_with(Database::fresh().await, |config| {
        config.http.oidc = provider.settings(config, &grants);
        config.http.rate_limit.requests_per_minute = 2;
    })
    .await;
    let callback = format!("http://{}/api/v1/session/oidc/callback", service.address);
    let settings = json!({"redirect_uri": callback, "accounts": people()});
    provider.set(settings).await;
    let one = Visitor::new(&provider, "ann").client(&service).await;
    let other = Visitor::new(&provider, "ann").client(&service).await;
    one.get("/api/v1/session").await;
    other.get("/api/v1/session").await;
    for client in [one, other] {
        let refused = client.ask("/api/v1/session").await;
        assert_eq!(refused.problem(429), "too_many_requests");
    }
    assert_eq!(last_in_audit(&service).await["actor"], "oidc:ann");
}
