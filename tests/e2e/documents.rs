//! What the documents tell users to write is understood.

use std::{fs, path::Path};

use crate::harness::Program;

/// The examples of configuration files in a document, those that are whole.
fn examples(document: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document);
    let text = fs::read_to_string(path).unwrap();
    text.split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .filter(|example| example.lines().any(|line| line.starts_with('[')))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_a_configuration_loads() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["password", "client-secret", "refresh-token"] {
        fs::write(folder.path().join(format!("dmarc-{secret}")), "hush").unwrap();
    }
    fs::write(folder.path().join("ruad-oidc-secret"), "hush").unwrap();
    let file = folder.path().join("ruad.toml");
    for (document, count) in [
        ("README.md", 2),
        ("docs/mailboxes.md", 6),
        ("docs/access.md", 2),
    ] {
        let examples = examples(document);
        assert_eq!(examples.len(), count, "{document}");
        for example in examples {
            let secrets = folder.path().display().to_string();
            fs::write(&file, example.replace("/run/secrets", &secrets)).unwrap();

            let ended = Program::new(["config"])
                .env("RUAD_CONFIG", &file)
                .run()
                .await;

            assert_eq!(ended.code, Some(0), "{document}:\n{example}\n{ended:?}");
        }
    }
}
