//! ID tokens that must not be believed. A certified provider issues none of them: they are made of its own.

use serde_json::{Value, json};

use super::{is_refused, service};
use crate::harness::{OpenId, Visitor, place};

/// What is wrong with a token, and what the audit says of it.
fn forged() -> Vec<(Value, &'static str)> {
    let claims = |claims: Value| json!({ "claims": claims });
    vec![
        (claims(json!({"aud": "another"})), "audience"),
        (claims(json!({"aud": ["ruad", "another"]})), "audience"),
        (claims(json!({"aud": null})), "null"),
        (claims(json!({"iss": "https://evil.example"})), "issuer"),
        (claims(json!({"exp": 1_700_000_000})), "xpired"),
        (claims(json!({"nonce": "00"})), "nonce"),
        (claims(json!({"nonce": null})), "nonce"),
        (claims(json!({"sub": ""})), "sub"),
        (json!({"alg": "none"}), "signature"),
        (json!({"alg": "HS256"}), "lgorithm"),
        (json!({"key": "foreign"}), "ignature"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_what_they_should_be_sign_nobody_in() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    for (forge, said) in forged() {
        provider.set(json!({ "forge": forge })).await;
        let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
        let row = is_refused(&service, &answer, "not_verified").await;
        let reason = row["detail"]["reason"].as_str().unwrap();
        assert!(reason.contains(said), "{forge}: {reason}");
    }
    // It is not the forging that is refused.
    provider.set(json!({"forge": {"claims": {}}})).await;
    let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
    assert_eq!(place(&answer), "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_a_token_that_is_believed_are_looked_at_closely() {
    let provider = OpenId::start().await;
    let service = service(&provider).await;
    for (claims, code) in [
        (json!({"groups": null}), "not_granted"),
        (json!({"groups": {"mail": true}}), "not_granted"),
        (json!({"groups": "mailmail"}), "not_granted"),
        (json!({"groups": "customers"}), "no_domains"),
        (
            json!({"groups": "customers", "dmarc_domains": "ours.example"}),
            "no_domains",
        ),
        (
            json!({"groups": "customers", "dmarc_domains": ["*"]}),
            "no_domains",
        ),
    ] {
        let forge = json!({"forge": {"claims": claims}});
        provider.set(forge).await;
        let answer = Visitor::new(&provider, "ann").sign_in(&service).await;
        is_refused(&service, &answer, code).await;
    }
}
