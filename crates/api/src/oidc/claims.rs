//! What the provider says of somebody, and what that is good for here.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use store::{DomainList, Identity};

use super::{Failure, Grant, OidcConfig};

/// A name that is shown has no more characters.
const NAME_CHARS_MAX: usize = 200;

/// OpenID Connect Core 1.0 section 2: `sub` has at most 255 ASCII characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// The claims of an ID token.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// The claims of a token that has been verified: any claim may be asked for, not only those with a type.
    pub(super) fn of_verified(token: &str) -> Result<Self, Failure> {
        let payload = token.split('.').nth(1).unwrap_or_default();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(payload).ok();
        let claims = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        claims
            .map(Self)
            .ok_or_else(|| Failure::NotVerified("its ID token has no claims".into()))
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// Whether a claim is a value, or a list that holds it.
    fn says(&self, claim: &str, value: &str) -> bool {
        // Many providers let people enter any address: it says who somebody is once they have verified it.
        if claim == "email" && !self.has_verified_email() {
            return false;
        }
        match self.0.get(claim) {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(value)),
            _ => false,
        }
    }

    /// Whether a claim is left out of the token because it is too long (OpenID Connect Core 1.0 section 5.6.2): Entra ID does so
    /// with the groups of people who are in more than 200.
    fn is_elsewhere(&self, claim: &str) -> bool {
        let elsewhere = self.0.get("_claim_names").and_then(Value::as_object);
        elsewhere.is_some_and(|names| names.contains_key(claim)) && !self.0.contains_key(claim)
    }

    fn has_verified_email(&self) -> bool {
        match self.0.get("email_verified") {
            Some(Value::Bool(is_verified)) => *is_verified,
            // Not as it should be, and what Amazon Cognito says.
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    /// The policy domains that a claim lists. Whatever is no list of domains never means all of them.
    fn domains(&self, claim: &str) -> Result<DomainList, String> {
        let Some(value) = self.0.get(claim) else {
            return Err("there is no such claim".into());
        };
        let Some(items) = value.as_array() else {
            return Err("it is no list".into());
        };
        let names: Option<Vec<String>> = items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect();
        let names = names.ok_or("it holds something else than texts")?;
        DomainList::new(names).map_err(|error| error.to_string())
    }

    /// What somebody is called, without anything that could disturb a terminal or the database.
    fn name(&self, claim: &str) -> Option<String> {
        let visible = |char: &char| !char.is_control();
        let name = self.text(claim)?.chars().filter(visible);
        let name: String = name.take(NAME_CHARS_MAX).collect();
        (!name.is_empty()).then_some(name)
    }

    fn subject(&self) -> Result<String, Failure> {
        let subject = self.text("sub").unwrap_or_default();
        let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || !subject.bytes().all(is_plain)
        {
            return Err(Failure::NotVerified(
                "its ID token has no usable sub".into(),
            ));
        }
        Ok(subject.to_owned())
    }

    /// The first grant that fits. One that cannot be decided on ends the search: a later one may allow more.
    fn grant<'g>(&self, grants: &'g [Grant], subject: &str) -> Result<&'g Grant, Failure> {
        for grant in grants {
            let claims = [Some(&grant.claim), grant.domains_claim.as_ref()];
            let mut claims = claims.into_iter().flatten();
            if let Some(claim) = claims.find(|claim| self.is_elsewhere(claim)) {
                return Err(Failure::Elsewhere {
                    identity: Identity::holder_of(subject),
                    claim: claim.clone(),
                });
            }
            if self.says(&grant.claim, &grant.value) {
                return Ok(grant);
            }
        }
        Err(Failure::NotGranted {
            identity: Identity::holder_of(subject),
        })
    }

    /// Who it is, with what the first grant that fits allows.
    pub(super) fn identity(&self, config: &OidcConfig) -> Result<Identity, Failure> {
        let subject = self.subject()?;
        let grant = self.grant(&config.grants, &subject)?;
        let domains = match &grant.domains_claim {
            None => grant.domains.clone(),
            Some(claim) => match self.domains(claim) {
                Ok(domains) => Some(domains),
                Err(reason) => {
                    return Err(Failure::NoDomains {
                        identity: Identity::holder_of(&subject),
                        claim: claim.clone(),
                        reason,
                    });
                }
            },
        };
        Ok(Identity {
            subject,
            name: self.name(&config.name_claim),
            scope: grant.scope,
            domains,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::Scope;

    use super::*;

    fn grant(claim: &str, value: &str, scope: Scope) -> Grant {
        Grant {
            claim: claim.into(),
            value: value.into(),
            scope,
            domains: None,
            domains_claim: None,
        }
    }

    fn identity(grants: &[Grant], claims: Value) -> Result<Identity, Failure> {
        let config = OidcConfig {
            grants: grants.into(),
            ..OidcConfig::default()
        };
        let Value::Object(claims) = claims else {
            panic!("{claims}")
        };
        Claims(claims).identity(&config)
    }

    #[test]
    fn the_first_grant_that_fits_counts() {
        let grants = [
            grant("groups", "admins", Scope::Admin),
            grant("groups", "mail", Scope::Read),
            grant("department", "mail", Scope::Ingest),
        ];
        for (claims, expected) in [
            (
                json!({"sub": "1", "groups": ["mail", "admins"]}),
                Some(Scope::Admin),
            ),
            (json!({"sub": "1", "groups": ["mail"]}), Some(Scope::Read)),
            (json!({"sub": "1", "groups": "mail"}), Some(Scope::Read)),
            (
                json!({"sub": "1", "department": "mail"}),
                Some(Scope::Ingest),
            ),
            (
                json!({"sub": "1", "groups": ["Mail", "mail ", 1, null]}),
                None,
            ),
            (json!({"sub": "1", "groups": {"mail": true}}), None),
            (json!({"sub": "1"}), None),
        ] {
            let granted = identity(&grants, claims.clone());
            assert_eq!(granted.ok().map(|one| one.scope), expected, "{claims}");
        }
    }

    #[test]
    fn a_claim_that_is_kept_elsewhere_is_not_taken_for_one_that_does_not_fit() {
        let grants = [
            grant("roles", "admins", Scope::Admin),
            grant("groups", "customers", Scope::Read),
            grant("department", "mail", Scope::Admin),
        ];
        let claims = |more: Value| {
            let mut claims = json!({
                "sub": "1", "department": "mail", "_claim_names": {"groups": "src1"},
                "_claim_sources": {"src1": {"endpoint": "https://graph.example"}},
            });
            let more = more.as_object().unwrap().clone();
            claims.as_object_mut().unwrap().extend(more);
            identity(&grants, claims)
        };
        let refused = claims(json!({}));
        assert!(matches!(&refused, Err(Failure::Elsewhere { claim, .. }) if claim == "groups"));
        assert_eq!(
            claims(json!({"roles": ["admins"]})).unwrap().scope,
            Scope::Admin
        );
        assert_eq!(
            claims(json!({"groups": ["customers"]})).unwrap().scope,
            Scope::Read
        );
        assert_eq!(
            claims(json!({"_claim_names": {"x": "src1"}}))
                .unwrap()
                .scope,
            Scope::Admin
        );
    }

    #[test]
    fn an_address_counts_once_it_is_verified() {
        let grants = [grant("email", "a@example.org", Scope::Read)];
        for (verified, expected) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!(1), false),
            (json!(null), false),
        ] {
            let claims = json!({"sub": "1", "email": "a@example.org", "email_verified": verified});
            assert_eq!(identity(&grants, claims).is_ok(), expected, "{verified}");
        }
    }

    #[test]
    fn domains_that_are_none_never_mean_all() {
        let grants = [
            Grant {
                domains_claim: Some("domains".into()),
                ..grant("groups", "mail", Scope::Read)
            },
            grant("groups", "mail", Scope::Admin),
        ];
        let with = |domains: Value| {
            identity(
                &grants,
                json!({"sub": "1", "groups": "mail", "domains": domains}),
            )
        };
        let granted = with(json!(["A.example.", "b.example"])).unwrap();
        assert_eq!(granted.domains.unwrap().names(), ["a.example", "b.example"]);
        for domains in [
            json!([]),
            json!(null),
            json!("a.example"),
            json!([["a.example"]]),
            json!(["a.example", 1]),
            json!(["a.example", ""]),
            json!(["*"]),
            json!({"a.example": true}),
        ] {
            let refused = with(domains.clone());
            assert!(
                matches!(refused, Err(Failure::NoDomains { .. })),
                "{domains}"
            );
        }
        let missing = identity(&grants, json!({"sub": "1", "groups": "mail"}));
        assert!(matches!(missing, Err(Failure::NoDomains { .. })));
    }

    #[test]
    fn names_are_shown_without_what_disturbs() {
        let grants = [grant("groups", "mail", Scope::Read)];
        let name = |email: &str| {
            let claims = json!({"sub": "1", "groups": "mail", "email": email});
            identity(&grants, claims).unwrap().name
        };
        assert_eq!(name("a\0b\u{1b}[31m@x").as_deref(), Some("ab[31m@x"));
        assert_eq!(name(""), None);
        for subject in ["", "a\0b", "\u{e9}", &"x".repeat(256)] {
            let refused = identity(&grants, json!({"sub": subject, "groups": "mail"}));
            assert!(matches!(refused, Err(Failure::NotVerified(_))), "{subject}");
        }
    }
}
