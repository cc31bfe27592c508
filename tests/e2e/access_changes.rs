//! What the command line does with tokens, what the audit tells, and that secrets are nowhere.

use hyper::Method;
use serde_json::{Value, json};
use store::Scope;

use crate::{
    harness::{Client, Database, Program, Service, Serving, eventually, id_of, make_token},
    reports::Report,
};

/// The audit, newest first, without what differs from run to run.
async fn audit(client: &Client) -> Vec<Value> {
    let audit = client.get("/api/v1/audit").await;
    audit["items"].as_array().unwrap().clone()
}

fn actions(audit: &[Value]) -> Vec<&str> {
    let actions = audit.iter().map(|entry| entry["action"].as_str().unwrap());
    actions.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_lists_and_revokes_tokens() {
    let database = Database::fresh().await;
    let ruad = async |arguments: &[&str]| {
        let program = Program::new(["token"].iter().chain(arguments)).on(&database);
        program.run().await
    };
    let made = ruad(&[
        "create",
        "--scope",
        "read",
        "--name",
        "Grafana",
        "--domain",
        "Example.COM",
        "--domain",
        "example.org.",
        "--expires",
        "30",
    ]);
    let made = made.await.succeeded();
    let token = made.stdout.trim();
    assert!(
        token.starts_with("ruad_") && made.stdout.lines().count() == 1,
        "{made:?}"
    );

    let listed = ruad(&["list", "--format", "json"]).await.succeeded().json();
    assert_eq!(listed[0]["token_id"], id_of(token));
    assert_eq!(listed[0]["domains"], json!(["example.com", "example.org"]));
    assert_eq!(
        (&listed[0]["scope"], &listed[0]["state"]),
        (&json!("read"), &json!("valid"))
    );
    let text = ruad(&["list"]).await.succeeded().stdout;
    assert!(text.contains("Grafana") && !text.contains(token), "{text}");

    ruad(&["revoke", id_of(token)]).await.succeeded();
    let listed = ruad(&["list", "--format", "json"]).await.succeeded().json();
    assert_eq!(listed[0]["state"], "revoked");
    assert_eq!(ruad(&["revoke", "x"]).await.code, Some(1));
    for wrong in [
        &["create"][..],
        &["create", "--scope", "root"],
        &["create", "--scope", "read", "--expires", "0"],
    ] {
        assert_eq!(ruad(wrong).await.code, Some(2), "{wrong:?}");
    }
    let wrong = ruad(&["create", "--scope", "read", "--domain", "*.example.com"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    Program::new(["rebuild"])
        .on(&database)
        .run()
        .await
        .succeeded();
    let folder = tempfile::tempdir().unwrap();
    let report = Report::new("example.com", "1").passing("192.0.2.1", 5);
    std::fs::write(folder.path().join("1.xml"), report.xml()).unwrap();
    let import = Program::new(["import"]).arg(folder.path()).on(&database);
    import.run().await.succeeded();

    let actors: String = database
        .value("select string_agg(actor || ' ' || action, ', ' order by audit_id) from audit")
        .await;
    assert_eq!(
        actors,
        "cli token_created, cli token_revoked, cli rebuilt, cli imported"
    );
    let counts: Value = database
        .value("select detail from audit where action = 'imported'")
        .await;
    assert_eq!(
        (&counts["reports"]["stored"], &counts["messages"]),
        (&json!(1), &json!(5))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_through_the_api_is_in_the_audit() {
    let service = Service::guarded().await;
    let token = make_token(&service.database, Scope::Admin, &[]).await;
    let admin = service.nobody().bearer(&token);
    let before = audit(&admin).await.len();
    let upload = admin
        .send(Method::POST, "/api/v1/reports", "<feedback>")
        .await;
    assert_eq!(upload.status, 422);
    let delivery_id = upload.json()["delivery_id"].clone();
    let delivery = format!("/api/v1/deliveries/{}", delivery_id.as_str().unwrap());

    let retried = admin
        .send(Method::POST, &format!("{delivery}/retry"), "")
        .await;
    assert_eq!(retried.status, 422, "{retried:?}");
    assert_eq!(admin.send(Method::DELETE, &delivery, "").await.status, 204);
    assert_eq!(admin.send(Method::DELETE, &delivery, "").await.status, 404);
    let made = admin
        .post_json("/api/v1/tokens", &json!({"scope": "read"}))
        .await
        .json();
    let made_id = made["token_id"].as_str().unwrap();
    let path = format!("/api/v1/tokens/{made_id}");
    assert_eq!(admin.send(Method::DELETE, &path, "").await.status, 204);
    for text in [token.as_str(), made["token"].as_str().unwrap(), "hunter2"] {
        service
            .nobody()
            .post_json("/api/v1/session", &json!({ "token": text }))
            .await;
    }

    let audit = audit(&admin).await;
    let new = &audit[..audit.len() - before];
    assert_eq!(
        actions(new),
        [
            "sign_in_failed",
            "sign_in_failed",
            "signed_in",
            "token_revoked",
            "token_created",
            "delivery_discarded",
            "delivery_retried"
        ]
    );
    for entry in &new[2..] {
        assert_eq!(entry["actor"], id_of(&token), "{entry}");
        assert_eq!(entry["actor_name"], "a test, admin", "{entry}");
        assert_eq!(entry["address"], "127.0.0.1", "{entry}");
    }
    assert_eq!(new[0]["actor"], "nobody");
    assert_eq!(
        (&new[0]["subject"], &new[1]["subject"]),
        (&Value::Null, &json!(made_id))
    );
    assert_eq!(
        (&new[5]["subject"], &new[6]["subject"]),
        (&delivery_id, &delivery_id)
    );
    assert_eq!(new[6]["detail"], json!({"outcome": "rejected"}));
    let page = admin.get("/api/v1/audit?limit=2").await;
    let next = format!(
        "/api/v1/audit?limit=1&cursor={}",
        page["next"].as_str().unwrap()
    );
    assert_eq!(admin.get(&next).await["items"][0], new[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_a_token_are_in_the_audit_as_well() {
    let service = Service::start().await;
    let upload = service.upload("<feedback>").await.json();
    let delivery = format!(
        "/api/v1/deliveries/{}",
        upload["delivery_id"].as_str().unwrap()
    );

    assert_eq!(service.request(Method::DELETE, &delivery).await.status, 204);

    let audit = service.list("/api/v1/audit").await;
    assert_eq!(actions(&audit), ["delivery_discarded"]);
    assert_eq!(audit[0]["actor"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_neither_in_the_log_nor_in_the_database() {
    let database = Database::fresh().await;
    let token = make_token(&database, Scope::Admin, &[]).await;
    let program = Program::new(["serve"])
        .on(&database)
        .env("RUAD_HTTP__ACCESS", "token")
        .env("RUAD_LOG__LEVEL", "trace");
    let serving = Serving::start(program).await;
    serving.ready().await;
    let nobody = Client::of(serving.address);
    let admin = nobody.bearer(&token);
    admin
        .store(
            Report::new("example.com", "1")
                .passing("192.0.2.1", 1)
                .xml(),
        )
        .await;
    let made = admin
        .post_json("/api/v1/tokens", &json!({"scope": "read"}))
        .await
        .json();
    let made = made["token"].as_str().unwrap();
    let signed_in = nobody
        .post_json("/api/v1/session", &json!({"token": made}))
        .await;
    let cookie = signed_in
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let csrf_token = signed_in.json()["csrf_token"].as_str().unwrap().to_owned();
    let wrong = format!("{}0", &token[..token.len() - 1]);
    nobody.bearer(&wrong).ask("/api/v1/domains").await;
    nobody
        .post_json("/api/v1/session", &json!({"token": "hunter2"}))
        .await;
    let browser = nobody
        .header("cookie", cookie)
        .header("x-csrf-token", &csrf_token);
    assert_eq!(
        browser
            .send(Method::GET, "/api/v1/domains", "")
            .await
            .status,
        200
    );
    eventually("something is logged", async || {
        serving.process.said().contains("an upload was taken in")
    })
    .await;

    // Everything there is, as `pg_dump` would write it.
    let dump: String = database
        .value("select schema_to_xml(current_schema()::name, true, false, '')::text")
        .await;
    assert!(dump.contains(id_of(&token)) && dump.contains("sign_in_failed"));
    let said = serving.process.said();
    let secret = |token: &str| token.rsplit('_').next().unwrap().to_owned();
    let session = cookie.strip_prefix("ruad_session=").unwrap().to_owned();
    for secret in [
        secret(&token),
        secret(made),
        session,
        csrf_token,
        secret(&wrong),
        "hunter2".into(),
    ] {
        assert!(!dump.contains(&secret), "in the database");
        assert!(!said.contains(&secret), "in the log: {said}");
    }
}
