//! Who is let in: tokens, their scopes, their end.

use hyper::Method;
use serde_json::{Value, json};
use store::Scope;

use crate::{
    harness::{
        Client, Database, Program, Service, Serving, eventually, id_of, make_token, raw_exchange,
    },
    reports::Report,
};

/// What everybody may ask for: it tells no more than that ruad runs here.
const FOR_ALL: [&str; 6] = [
    "get /healthz",
    "get /readyz",
    "get /",
    "post /api/v1/session",
    "get /api/v1/session/oidc",
    "get /api/v1/session/oidc/callback",
];

/// Each operation of the OpenAPI document, as `get /path/{parameter}`, and what is not in it.
pub(crate) async fn operations(client: &Client) -> Vec<String> {
    let document = client.get("/api/v1/openapi.json").await;
    let mut operations = vec!["get /".to_owned(), "get /docs.css".to_owned()];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            operations.push(format!("{method} {path}"));
        }
    }
    assert!(operations.len() > 25, "{operations:?}");
    operations
}

/// Sends an operation as it stands there, parameters and all.
async fn try_it(client: &Client, operation: &str) -> crate::harness::Response {
    let (method, path) = operation.split_once(' ').unwrap();
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let path = path.replace(['{', '}'], "");
    client.send(method, &path, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anything_but_health() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    let mut asked = operations(&admin).await;
    asked.extend(["get /nothing", "put /api/v1/domains", "head /metrics"].map(str::to_owned));

    for operation in asked {
        for client in [
            service.nobody(),
            service.nobody().bearer("ruad_0123456789abcdef_00"),
            service.nobody().header("authorization", "Basic YTpi"),
            service.nobody().header("cookie", "ruad_session=00"),
        ] {
            let answer = try_it(&client, &operation).await;
            if FOR_ALL.contains(&operation.as_str()) {
                assert_ne!(answer.status, 401, "{operation}: {answer:?}");
            } else {
                assert_eq!(answer.status, 401, "{operation}: {answer:?}");
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(challenge.starts_with("Bearer"), "{challenge}");
            }
        }
    }
    let answer = service.nobody().ask("/api/v1/domains").await;
    assert_eq!(answer.problem(401), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_each_operation_needs() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    let document = admin.get("/api/v1/openapi.json").await;

    assert!(document["components"]["securitySchemes"]["token"].is_object());
    for operation in operations(&admin).await.iter().skip(2) {
        let (method, path) = operation.split_once(' ').unwrap();
        let described = &document["paths"][path][method];
        let is_for_all = FOR_ALL.contains(&operation.as_str());
        assert_eq!(described["security"].is_null(), is_for_all, "{operation}");
        for status in ["401", "403"] {
            let is_described = described["responses"][status].is_object();
            assert!(is_described || is_for_all, "{operation} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_keep_to_what_they_are_for() {
    let service = Service::guarded().await;
    let [read, ingest, admin] = [Scope::Read, Scope::Ingest, Scope::Admin];
    let report = Report::new("example.com", "1")
        .passing("192.0.2.1", 3)
        .xml();
    let reader = service.client(read, &[]).await;
    let bringer = service.client(ingest, &[]).await;
    let keeper = service.client(admin, &[]).await;

    bringer.store(report.clone()).await;
    let uploaded = reader.send(Method::POST, "/api/v1/reports", report).await;
    assert_eq!(uploaded.problem(403), "forbidden");
    for path in ["/api/v1/domains", "/api/v1/deliveries", "/metrics"] {
        assert_eq!(reader.ask(path).await.status, 200, "{path}");
        assert_eq!(bringer.ask(path).await.problem(403), "forbidden", "{path}");
    }
    for path in ["/api/v1/tokens", "/api/v1/audit"] {
        assert_eq!(reader.ask(path).await.problem(403), "forbidden", "{path}");
        assert_eq!(bringer.ask(path).await.problem(403), "forbidden", "{path}");
        assert_eq!(keeper.ask(path).await.status, 200, "{path}");
    }
    assert_eq!(keeper.ask("/nothing").await.problem(404), "unknown_route");
    assert_eq!(bringer.ask("/docs").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_expires_or_is_revoked() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    let request = json!({"scope": "read", "name": "short", "expires_days": 1});
    let made = admin.post_json("/api/v1/tokens", &request).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let client = service.nobody().bearer(&token);
    assert_eq!(client.get("/api/v1/session").await["scope"], "read");

    let move_end = format!(
        "update tokens set expires_at = now() - interval '1 second' where token_id = '{}'",
        id_of(&token)
    );
    service.database.execute(&move_end).await;
    let refused = client.ask("/api/v1/session").await;
    assert_eq!(refused.problem(401), "unauthenticated");
    let listed = admin.get("/api/v1/tokens").await;
    assert_eq!(listed["items"][0]["state"], "expired", "{listed}");

    let other = make_token(&service.database, Scope::Read, &[]).await;
    let client = service.nobody().bearer(&other);
    assert_eq!(client.ask("/api/v1/domains").await.status, 200);
    let path = format!("/api/v1/tokens/{}", id_of(&other));
    for _ in 0..2 {
        assert_eq!(admin.send(Method::DELETE, &path, "").await.status, 204);
        let refused = client.ask("/api/v1/domains").await;
        assert_eq!(refused.problem(401), "unauthenticated");
    }
    let unknown = admin.send(Method::DELETE, "/api/v1/tokens/x", "").await;
    assert_eq!(unknown.problem(404), "unknown_token");
    let odd = admin.send(Method::DELETE, "/api/v1/tokens/%00", "").await;
    assert_eq!(odd.problem(422), "bad_path");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_another_secret_is_refused() {
    let service = Service::guarded().await;
    let one = make_token(&service.database, Scope::Admin, &[]).await;
    let other = make_token(&service.database, Scope::Admin, &[]).await;
    let secret = other.rsplit('_').next().unwrap();
    let mixed = format!("ruad_{}_{secret}", id_of(&one));

    let refused = service.nobody().bearer(&mixed).ask("/api/v1/domains").await;

    assert_eq!(refused.problem(401), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_token_is_noted_once_a_minute() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Read, &[]).await;
    let client = service.nobody().bearer(&token);
    let sql = format!(
        "select extract(epoch from last_used_at)::float8 from tokens where token_id = '{}'",
        id_of(&token)
    );
    let used = async || service.database.value::<Option<f64>>(&sql).await;
    assert_eq!(used().await, None);

    client.get("/api/v1/domains").await;
    let first = used().await.unwrap();
    client.get("/api/v1/domains").await;
    assert_eq!(used().await, Some(first));

    service
        .database
        .execute("update tokens set last_used_at = last_used_at - interval '2 minutes'")
        .await;
    client.get("/api/v1/domains").await;
    assert!(used().await.unwrap() > first - 60.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_make_no_sense_are_not_made() {
    let service = Service::guarded().await;
    let admin = service.client(Scope::Admin, &[]).await;
    for request in [
        json!({}),
        json!({"scope": "root"}),
        json!({"scope": "read", "domains": []}),
        json!({"scope": "read", "domains": ["*.example.com"]}),
        json!({"scope": "read", "expires_days": 0}),
        json!({"scope": "read", "name": "a\u{1b}b"}),
        json!({"scope": "read", "domain": "example.com"}),
        json!([]),
    ] {
        let refused = admin.post_json("/api/v1/tokens", &request).await;
        assert_eq!(refused.problem(422), "bad_json", "{request}");
    }
    let form = admin.send(Method::POST, "/api/v1/tokens", "scope=admin");
    assert_eq!(form.await.problem(415), "not_json");
    let huge = json!({"scope": "read", "name": "x".repeat(1 << 20)});
    let refused = admin.post_json("/api/v1/tokens", &huge).await;
    assert_eq!(refused.problem(413), "too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_access_asks_for_nothing_and_says_so() {
    let service = Service::start().await;
    let expected = json!({"access": "open", "scope": "admin", "domains": null, "csrf_token": null, "name": null});

    assert_eq!(service.get("/api/v1/session").await, expected);
    let signed_in = service.nobody();
    let signed_in = signed_in
        .post_json("/api/v1/session", &json!({"token": "x"}))
        .await;
    assert_eq!(signed_in.json(), expected);
    assert_eq!(signed_in.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_access_is_for_this_machine_and_for_nobody_behind_a_proxy_on_it() {
    let service = Service::start().await;
    for header in ["x-forwarded-for", "x-forwarded-host", "forwarded", "via"] {
        let proxied = service.nobody().header(header, "203.0.113.9");
        for path in ["/", "/healthz", "/api/v1/domains"] {
            let refused = proxied.ask(path).await;
            assert_eq!(refused.problem(403), "behind_proxy", "{header} {path}");
            let detail = refused.json()["detail"].to_string();
            assert!(detail.contains("http.access"), "{detail}");
        }
        let discarded = "/api/v1/deliveries/00000000-0000-0000-0000-000000000000";
        let refused = proxied.send(Method::DELETE, discarded, "").await;
        assert_eq!(refused.problem(403), "behind_proxy", "{header}");
    }
    // What nginx sends when it is told `proxy_pass http://127.0.0.1:8080;` and nothing else.
    let host = service.address;
    let request =
        format!("GET /api/v1/domains HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = raw_exchange(host, request.as_bytes()).await;
    assert!(answer.contains("behind_proxy"), "{answer}");

    let guarded = Service::guarded().await;
    let reader = guarded.client(Scope::Read, &[]).await;
    let proxied = reader.header("x-forwarded-for", "203.0.113.9");
    assert_eq!(proxied.ask("/api/v1/domains").await.status, 200);
}

/// `ruad serve` that asks for tokens, of which none may be there yet.
async fn first_start(database: &Database) -> Serving {
    let program = Program::new(["serve"])
        .on(database)
        .env("RUAD_HTTP__ACCESS", "token");
    let serving = Serving::start(program).await;
    serving.ready().await;
    serving
}

/// The token that it printed.
fn printed(serving: &Serving) -> Option<String> {
    let said = serving.process.said();
    let line = said.lines().find(|line| line.trim().starts_with("ruad_"));
    line.map(|line| line.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_is_made_as_soon_as_it_can_be() {
    let database = Database::fresh().await;
    database.execute("alter table tokens rename to away").await;
    let serving = first_start(&database).await;
    eventually("it waits", async || {
        serving.process.said().contains("with the first token")
    })
    .await;
    database.execute("alter table away rename to tokens").await;
    eventually("the token is printed", async || printed(&serving).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_prints_a_token_once() {
    let database = Database::fresh().await;
    let serving = first_start(&database).await;
    eventually("the token is printed", async || printed(&serving).is_some()).await;
    let token = printed(&serving).unwrap();

    for line in serving.process.said().lines() {
        let is_log = serde_json::from_str::<Value>(line).is_ok();
        assert!(!(is_log && line.contains(&token)), "in the log: {line}");
    }
    let client = Client::of(serving.address).bearer(&token);
    assert_eq!(client.get("/api/v1/session").await["scope"], "admin");
    assert_eq!(
        client.get("/api/v1/audit").await["items"][0]["actor"],
        "serve"
    );
    serving.process.kill().await;

    let again = first_start(&database).await;
    let client = Client::of(again.address).bearer(&token);
    assert_eq!(
        client.get("/api/v1/tokens").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(printed(&again), None);
}
