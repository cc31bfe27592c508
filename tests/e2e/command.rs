//! The command line as a whole, `serve` and the small commands.

use crate::{
    harness::{Database, Program, Service, Serving, eventually},
    reports::Report,
};

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.xml");
    let bad = folder.path().join("bad.xml");
    std::fs::write(
        &good,
        Report::new("example.com", "1")
            .passing("192.0.2.1", 1)
            .xml(),
    )
    .unwrap();
    std::fs::write(&bad, "<feedback>").unwrap();
    let database = Database::fresh().await;
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (arguments, expected) in [
        (&["import", good][..], 0),
        (&["import", good, bad], 3),
        (&["import", "/nowhere/at/all"], 1),
        (&["import"], 2),
        (&["import", "--format", "csv", good], 2),
        (&["show", good], 0),
        (&["show", bad, good], 3),
        (&["show", "/nowhere/at/all"], 1),
        (&["show"], 2),
        (&["show", "--format", "csv", "--no-records", good], 2),
        (&["sources", "example.com"], 0),
        (&["sources", "nowhere.example"], 1),
        (&["sources", "example.com", "--from", "yesterday"], 2),
        (&["sources", "example.com", "--from", "9999-12-31"], 2),
        (&["verify"], 0),
        (&["rebuild"], 0),
        (&["migrate"], 0),
        (&["config"], 0),
        (&["openapi"], 0),
        (&["--version"], 0),
        (&["--help"], 0),
        (&[], 2),
        (&["frobnicate"], 2),
        (&["--config", "/nowhere.toml", "verify"], 2),
        (&["serve", "--listen", "nowhere"], 2),
        (&["token", "list"], 0),
        (&["token", "revoke", "nothing"], 1),
        (
            &["token", "create", "--scope", "read", "--domain", "*.a"],
            2,
        ),
        (&["token", "create", "--scope", "read", "--name", "a\tb"], 2),
        (&["mailbox", "test", "nothing"], 2),
        (&["healthcheck", "--listen", "127.0.0.1:1"], 1),
    ] {
        let ended = Program::new(arguments).on(&database).run().await;
        assert_eq!(ended.code, Some(expected), "{arguments:?}: {ended:?}");
        let silent = if expected == 0 {
            ended.stdout.is_empty()
        } else {
            ended.stderr.is_empty() && expected != 3
        };
        assert!(!silent, "{arguments:?} says nothing: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_our_failure() {
    for command in [&["verify"][..], &["sources", "example.com"]] {
        let program =
            Program::new(command).env("DATABASE_URL", "postgres://ruad:hush@127.0.0.1:1/ruad");
        let ended = program
            .env("RUAD_DATABASE__ACQUIRE_TIMEOUT_SECS", "1")
            .run()
            .await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.stderr.contains("hush"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_is_a_mistake() {
    for command in ["verify", "serve"] {
        let program = Program::new([command]).env("DATABASE_URL", "mysql://ruad:hush@db/ruad");
        let ended = program.env("RUAD_LISTEN", "127.0.0.1:0").run().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("database.url"), "{ended:?}");
        assert!(!ended.stderr.contains("hush"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_is_printed_without_secrets() {
    let program =
        Program::new(["config"]).env("DATABASE_URL", "postgres://ruad:hush@db.example/ruad");
    let ended = program
        .env("RUAD_HTTP__UPLOADS_MAX", "7")
        .run()
        .await
        .succeeded();

    assert!(ended.stdout.contains("url = \"[redacted]\""), "{ended:?}");
    assert!(ended.stdout.contains("uploads_max = 7"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hush"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_describes_every_route() {
    let printed = Program::new(["openapi"]).run().await.succeeded().json();
    let service = Service::start().await;

    assert_eq!(service.get("/api/v1/openapi.json").await, printed);
    for (path, method) in [
        ("/api/v1/reports", "post"),
        ("/api/v1/domains", "get"),
        ("/api/v1/domains/{domain}/summary", "get"),
        ("/api/v1/domains/{domain}/sources", "get"),
        ("/api/v1/sources/{ip}", "get"),
        ("/api/v1/reports", "get"),
        ("/api/v1/reports/{report_uid}", "get"),
        ("/api/v1/reports/{report_uid}/records", "get"),
        ("/api/v1/deliveries", "get"),
        ("/api/v1/deliveries/{delivery_id}", "get"),
        ("/api/v1/deliveries/{delivery_id}", "delete"),
        ("/api/v1/deliveries/{delivery_id}/raw", "get"),
        ("/api/v1/deliveries/{delivery_id}/retry", "post"),
        ("/api/v1/mailboxes", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/api/v1/openapi.json", "get"),
        ("/docs", "get"),
    ] {
        assert!(
            printed["paths"][path][method]["responses"].is_object(),
            "{method} {path}"
        );
    }
    assert!(
        printed["openapi"].as_str().unwrap().starts_with("3."),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_asks_nobody_else() {
    let service = Service::start().await;
    let docs = service.request(hyper::Method::GET, "/docs").await;
    let page = String::from_utf8(docs.body.to_vec()).unwrap();

    assert_eq!(docs.status, 200);
    assert!(page.contains("/api/v1/domains/{domain}/sources"), "{page}");
    for foreign in [
        "src=\"http",
        "href=\"http",
        "src=\"//",
        "href=\"//",
        "url(http",
        "@import",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_ruad_is_healthy_and_stops_when_told() {
    let database = Database::fresh().await;
    let serving = Serving::start(Program::new(["serve"]).on(&database)).await;
    let health = || Program::new(["healthcheck", "--listen", &serving.address.to_string()]).run();
    eventually("it is healthy", async || health().await.code == Some(0)).await;

    serving.process.signal(rustix::process::Signal::TERM);
    let ended = serving.process.end().await;

    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    let health = Program::new(["healthcheck", "--listen", &serving.address.to_string()])
        .run()
        .await;
    assert_eq!(health.code, Some(1), "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_listens_openly_only_when_told_so() {
    let database = Database::fresh().await;
    let refused = Program::new(["serve"])
        .on(&database)
        .env("RUAD_LISTEN", "[::]:0")
        .env("RUAD_HTTP__ACCESS", "open")
        .run()
        .await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--insecure-open"), "{refused:?}");

    let program = Program::new(["serve", "--insecure-open", "--listen", "0.0.0.0:0"]).on(&database);
    let serving = Serving::start(program).await;
    assert!(serving.address.ip().is_unspecified());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_people_are_to_sign_in_nobody_is_let_in_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ruad.toml");
    let config = r#"
        [http.oidc]
        issuer = "https://login.example.org"
        client_id = "ruad"
        client_secret = "hush"
        redirect_url = "https://dmarc.example.org/api/v1/session/oidc/callback"
        [[http.oidc.grants]]
        claim = "groups"
        value = "mail"
        scope = "read"
    "#;
    std::fs::write(&file, config).unwrap();
    let database = Database::fresh().await;
    let serve = || {
        let program = Program::new(["serve", "--listen", "127.0.0.1:0"]);
        program.on(&database).env("RUAD_CONFIG", &file)
    };

    let refused = serve().run().await;

    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("http.access"), "{refused:?}");
    let guarded = || serve().env("RUAD_HTTP__ACCESS", "token");
    let missing = guarded().env("RUAD_HTTP__OIDC__CA_FILE", "/nowhere/ca.pem");
    let refused = missing.run().await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("/nowhere/ca.pem"), "{refused:?}");
    Serving::start(guarded()).await;
}
