//! The API is what its OpenAPI document says: schemathesis asks all that the document allows, and much that it does not.

use std::{fs, path::Path};

use hyper::Method;
use store::Scope;
use tokio::process::Command;

use crate::harness::{Client, Database, Program, Serving, make_token};

/// Made-up requests of each operation; many more are told from the document by rule.
const MADE_UP: &str = "5";

/// Of what was made up, so that a finding can be had again.
const SEED: &str = "1";

/// A service with reports of all kinds, and with what could not be stored.
async fn filled(program: Program, token: &str) -> Serving {
    let serving = Serving::start(program).await;
    serving.ready().await;
    let client = Client::of(serving.address).bearer(token);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in [
        "samples",
        "tests/fixtures/reports",
        "tests/fixtures/hostile",
    ] {
        let mut files: Vec<_> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        for file in files {
            let body = fs::read(&file).unwrap();
            let answer = client.send(Method::POST, "/api/v1/reports", body).await;
            assert!(
                matches!(answer.status, 200 | 201 | 409 | 422),
                "{}: {answer:?}",
                file.display()
            );
        }
    }
    serving
}

/// Runs it against a service and asserts that it asked for everything and found nothing.
async fn finds_nothing(serving: &Serving, token: Option<&str>, options: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/schemathesis");
    let mut command = Command::new(script);
    command
        .arg(format!("http://{}", serving.address))
        .args(["--seed", SEED, "--max-examples", MADE_UP])
        .args(options)
        .env_remove("RUAD_TOKEN")
        .envs(token.map(|token| ("RUAD_TOKEN", token)))
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let operations = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Tested: "));
    let operations: u32 = operations.unwrap_or_default().parse().unwrap();
    assert!(operations > 25, "{text}");
    assert!(
        text.contains(&format!("Selected: {operations}/{operations}")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_token_gets_what_the_document_says() {
    let database = Database::fresh().await;
    let token = make_token(&database, Scope::Admin, &[]).await;
    let program = Program::new(["serve"])
        .on(&database)
        .env("RUAD_HTTP__ACCESS", "token")
        // It asks without a token far more often than anybody may.
        .env("RUAD_HTTP__RATE_LIMIT__REQUESTS_PER_MINUTE", "0")
        .env("RUAD_HTTP__RATE_LIMIT__REFUSALS_PER_MINUTE", "0");
    let serving = filled(program, &token).await;

    finds_nothing(&serving, Some(&token), &[]).await;

    let client = Client::of(serving.address).bearer(&token);
    client.get("/api/v1/session").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_access_is_open_everybody_gets_what_the_document_says() {
    let database = Database::fresh().await;
    let serving = filled(Program::new(["serve"]).on(&database), "").await;

    finds_nothing(&serving, None, &["--phases", "examples,coverage,fuzzing"]).await;
}
