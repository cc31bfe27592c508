//! Signing in at an OpenID provider, as browsers do it; the page itself is in `web/sign_in.rs`.

mod faults;
mod tokens;

use hyper::Method;
use serde_json::{Value, json};
use store::Scope;

use crate::{
    harness::{
        Client, Database, OpenId, Program, Response, Service, Visitor, cookie_of, grant, place,
    },
    reports::Report,
};

/// Ann reads all, Ben reads what his claim lists, Cem is known and has no access.
fn people() -> Value {
    json!({
        "ann": {"groups": ["staff", "mail"], "email": "ann@example.org", "email_verified": true},
        "ben": {"groups": "customers", "dmarc_domains": ["ours.example"]},
        "cem": {"groups": ["staff"], "email": "cem@example.org"},
        "dee": {"groups": ["customers"], "dmarc_domains": []},
    })
}

/// A service where these people sign in.
async fn service(provider: &OpenId) -> Service {
    let customers = server::Grant {
        domains_claim: Some("dmarc_domains".into()),
        ..grant("customers", Scope::Read, &[])
    };
    let grants = [grant("mail", Scope::Admin, &[]), customers];
    provider.service(&grants, people()).await
}

/// The last row of the audit.
async fn last_in_audit(service: &Service) -> Value {
    let row = "select jsonb_build_object('actor', actor, 'name', actor_name, 'action', action, 'subject', subject, \
        'detail', detail, 'address', host(address)) from audit order by audit_id desc limit 1";
    service.database.value(row).await
}

/// Asserts that nobody is signed in, and that the page is told why, and the audit.
async fn is_refused(service: &Service, answer: &Response, code: &str) -> Value {
    assert_eq!(place(answer), format!("/?sign_in={code}"));
    assert_eq!(cookie_of(answer, "ruad_session"), None);
    let sessions: i64 = service
        .database
        .value("select count(*) from sessions")
        .await;
    assert_eq!(sessions, 0);
    let row = last_in_audit(service).await;
    assert_eq!(
        (&row["action"], &row["actor"], &row["detail"]["code"]),
        (&json!("sign_in_failed"), &json!("nobody"), &json!(code))
    );
    row
}

/// The same client, told the CSRF token.
async fn told(client: &Client) -> Client {
    let session = client.get("/api/v1/session").await;
    client.header("x-csrf-token", session["csrf_token"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_has_what_is_granted() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let mut ann = Visitor::new(&provider, "ann");

    let (attempt, callback) = ann.until_back(&service, "/reports?domain=a.example").await;
    let client = service.nobody().header("cookie", &attempt);
    let answer = client.ask(&callback).await;

    assert_eq!(place(&answer), "/reports?domain=a.example");
    let cookies = answer.headers.get_all("set-cookie").iter();
    let cookies: Vec<&str> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(
        cookies[0],
        "ruad_oidc=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    );
    assert!(cookies[1].ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"));
    let cookie = cookie_of(&answer, "ruad_session").unwrap();
    let client = service.nobody().header("cookie", &cookie);
    let mut session = client.get("/api/v1/session").await;
    assert!(session["csrf_token"].take().is_string());
    assert_eq!(
        session,
        json!({"access": "token", "scope": "admin", "domains": null, "csrf_token": null, "name": "ann@example.org"})
    );
    let row = last_in_audit(&service).await;
    assert_eq!(
        row,
        json!({
            "actor": "oidc:ann", "name": "ann@example.org", "action": "signed_in", "subject": "oidc:ann",
            "detail": {"scope": "admin", "domains": null}, "address": "127.0.0.1",
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_person_is_one_like_all_others() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let client = Visitor::new(&provider, "ann").client(&service).await;

    let token = json!({"scope": "read"});
    let refused = client.post_json("/api/v1/tokens", &token).await;
    assert_eq!(refused.problem(403), "csrf");
    let told = told(&client).await;
    assert_eq!(told.post_json("/api/v1/tokens", &token).await.status, 201);
    let row = last_in_audit(&service).await;
    assert_eq!(
        (&row["actor"], &row["name"], &row["action"]),
        (
            &json!("oidc:ann"),
            &json!("ann@example.org"),
            &json!("token_created")
        )
    );

    let out = told.send(Method::DELETE, "/api/v1/session", "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(last_in_audit(&service).await["action"], "signed_out");
    let refused = client.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
    assert_eq!(refused.json()["sign_in_label"], "Sign in with Example");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_restricted_sees_nothing_else() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let admin = service.client(Scope::Admin, &[]).await;
    for domain in ["ours.example", "theirs.example"] {
        let report = Report::new(domain, domain).passing("192.0.2.1", 4);
        admin.store(report.xml()).await;
    }

    let client = Visitor::new(&provider, "ben").client(&service).await;

    let session = client.get("/api/v1/session").await;
    assert_eq!(
        (&session["scope"], &session["domains"], &session["name"]),
        (&json!("read"), &json!(["ours.example"]), &json!("ben"))
    );
    let domains = client.get("/api/v1/domains").await;
    let names = domains["items"].as_array().unwrap().iter();
    let names: Vec<&Value> = names.map(|item| &item["domain"]).collect();
    assert_eq!(names, ["ours.example"]);
    let theirs = client.ask("/api/v1/domains/theirs.example/summary").await;
    assert_eq!(theirs.problem(404), "unknown_domain");
    for path in ["/metrics", "/api/v1/tokens", "/api/v1/audit"] {
        assert_eq!(client.ask(path).await.problem(403), "forbidden", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_access_is_told_so() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;

    let answer = Visitor::new(&provider, "cem").sign_in(&service).await;
    let row = is_refused(&service, &answer, "not_granted").await;
    assert_eq!(row["subject"], "oidc:cem");

    let answer = Visitor::new(&provider, "dee").sign_in(&service).await;
    let row = is_refused(&service, &answer, "no_domains").await;
    let reason = row["detail"]["reason"].as_str().unwrap();
    assert!(reason.contains("dmarc_domains"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_and_where_it_was_asked_for() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let mut ann = Visitor::new(&provider, "ann");
    let (attempt, callback) = ann.until_back(&service, "/").await;
    let mut other = Visitor::new(&provider, "ben");
    let (other_attempt, other_callback) = other.until_back(&service, "/").await;
    let ask = async |cookie: &str, path: &str| {
        let client = service.nobody().header("cookie", cookie);
        client.ask(path).await
    };

    let state = callback.split('&').find(|part| part.starts_with("state="));
    let changed = callback.replace(state.unwrap(), "state=00");
    let without = "/api/v1/session/oidc/callback";
    for (cookie, path) in [
        (attempt.as_str(), other_callback.as_str()),
        (other_attempt.as_str(), callback.as_str()),
        ("a=b", callback.as_str()),
        ("ruad_oidc=", callback.as_str()),
        (attempt.as_str(), changed.as_str()),
        (attempt.as_str(), without),
    ] {
        is_refused(&service, &ask(cookie, path).await, "stale").await;
    }
    let value = attempt.strip_prefix("ruad_oidc=").unwrap();
    let (secret, rest) = value.split_once('.').unwrap();
    let (_, return_to) = rest.split_once('.').unwrap();
    let expired = format!("{secret}.1700000000.{return_to}");
    let state = store::derive("oidc state", &expired);
    let path = format!("{without}?code=x&state={}", state.reveal());
    let answer = ask(&format!("ruad_oidc={expired}"), &path).await;
    is_refused(&service, &answer, "stale").await;

    let first = ask(&attempt, &callback).await;
    assert_eq!(place(&first), "/");
    service.database.execute("delete from sessions").await;
    let again = ask(&attempt, &callback).await;
    is_refused(&service, &again, "stale").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_instead_of_a_code_is_kept_as_text() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let (attempt, callback) = Visitor::new(&provider, "ann")
        .until_back(&service, "/")
        .await;
    let state = callback.split('&').find(|part| part.starts_with("state="));
    let path = format!(
        "/api/v1/session/oidc/callback?error=access_denied&error_description=%1B%5B31mno&{}",
        state.unwrap()
    );
    let client = service.nobody().header("cookie", &attempt);
    let row = is_refused(&service, &client.ask(&path).await, "refused").await;
    let reason = &row["detail"]["reason"];
    assert_eq!(reason, "the provider refused: access_denied [31mno");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere_afterwards() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "%2F%2Fevil.example",
        "/a%0D%0Ab",
        "",
    ] {
        let path = format!("/api/v1/session/oidc?return_to={elsewhere}");
        let refused = service.nobody().ask(&path).await;
        assert_eq!(refused.problem(422), "bad_query", "{elsewhere}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_or_with_open_access_there_is_no_way_in() {
    let provider = OpenId::start().await;
    let guarded = Service::guarded().await;
    let open = Service::start_with(Database::fresh().await, |config| {
        config.http.access = server::Access::Open;
        config.http.oidc = provider.settings(config, &[grant("mail", Scope::Read, &[])]);
    })
    .await;
    for service in [&guarded, &open] {
        for path in ["/api/v1/session/oidc", "/api/v1/session/oidc/callback"] {
            let answer = service.nobody().ask(path).await;
            assert_eq!(answer.problem(404), "unknown_route", "{path}");
        }
    }
    let refused = guarded.nobody().ask("/api/v1/session").await;
    assert_eq!(refused.json().get("sign_in_label"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_person_are_listed_and_ended() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let ruad = async |arguments: &[&str]| {
        let program = Program::new(["session"].iter().chain(arguments));
        program.on(&service.database).run().await
    };
    let ann = Visitor::new(&provider, "ann").client(&service).await;
    let ben = Visitor::new(&provider, "ben").client(&service).await;

    let listed = ruad(&["list", "--format", "json"]).await.succeeded().json();
    assert_eq!(
        (&listed[0]["who"], &listed[0]["domains"], &listed[1]["who"]),
        (
            &json!("oidc:ben"),
            &json!(["ours.example"]),
            &json!("oidc:ann")
        )
    );
    let table = ruad(&["list"]).await.succeeded().stdout;
    assert!(table.contains("ann@example.org"), "{table}");
    ruad(&["revoke", "oidc:ann"]).await.succeeded();

    assert_eq!(
        ann.ask("/api/v1/session").await.problem(401),
        "unauthenticated"
    );
    ben.get("/api/v1/session").await;
    assert_eq!(ruad(&["revoke", "oidc:ann"]).await.code, Some(1));
    let row = last_in_audit(&service).await;
    assert_eq!(
        (&row["actor"], &row["action"], &row["subject"]),
        (
            &json!("cli"),
            &json!("sessions_revoked"),
            &json!("oidc:ann")
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_taken_out_takes_its_people_along() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
    let cookie = cookie_of(&answer, "ruad_session").unwrap();

    let service = Service::guarded_on(service.stop().await).await;

    let client = service.nobody().header("cookie", &cookie);
    let refused = client.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
}
