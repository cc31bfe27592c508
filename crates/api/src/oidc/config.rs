//! The section `[http.oidc]` of the config file.

use std::path::PathBuf;

use ingest::{Mistake, Secret, mailbox::is_safe_for_secrets};
use openidconnect::url::Url;
use serde::{Deserialize, Serialize};
use store::{DomainList, Scope};

use super::CALLBACK;

const UNSAFE: &str = "must begin with https:// (http:// only for this machine itself)";

/// One OpenID provider, and what people may do whom it vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcConfig {
    /// The issuer, as the provider itself writes it; empty: there is none.
    pub issuer: String,
    /// What ruad is called there.
    pub client_id: String,
    /// What it proves that with.
    pub client_secret: Secret,
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// Where the provider sends browsers back to.
    pub redirect_url: String,
    /// What is asked for; `openid` always is.
    pub scopes: Vec<String>,
    /// The claim with the name that people are shown by.
    pub name_claim: String,
    /// What the button on the page says.
    pub label: String,
    /// Certificates that are trusted besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Who may do what; the first that fits counts.
    pub grants: Vec<Grant>,
}

/// What somebody may do of whom the provider says something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The claim of the ID token that is looked at.
    pub claim: String,
    /// What it must be, or hold if it is a list.
    pub value: String,
    /// What that is good for.
    pub scope: Scope,
    /// The policy domains that it is restricted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains: Option<DomainList>,
    /// The claim that lists the policy domains that it is restricted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains_claim: Option<String>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: Secret::default(),
            client_secret_file: None,
            redirect_url: String::new(),
            scopes: ["openid", "profile", "email"].map(str::to_owned).into(),
            name_claim: "email".into(),
            label: "Single sign-on".into(),
            ca_file: None,
            grants: Vec::new(),
        }
    }
}

impl OidcConfig {
    /// Finds what cannot work. The secret is expected where it belongs, its file read.
    pub fn check_all(&self) -> Result<(), Mistake> {
        if *self == Self::default() {
            return Ok(());
        }
        Mistake::if_empty("issuer", &self.issuer)?;
        let issuer = check_url("issuer", &self.issuer)?;
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err(Mistake::new("issuer", "must have neither ? nor #"));
        }
        Mistake::if_empty("client_id", &self.client_id)?;
        Mistake::if_empty("client_secret", self.client_secret.reveal())?;
        Mistake::if_empty("redirect_url", &self.redirect_url)?;
        let redirect_url = check_url("redirect_url", &self.redirect_url)?;
        if redirect_url.path() != CALLBACK || redirect_url.query().is_some() {
            let problem = format!("must be the address of the web page followed by {CALLBACK}");
            return Err(Mistake::new("redirect_url", problem));
        }
        let is_scope = |scope: &String| !scope.is_empty() && !scope.contains(char::is_whitespace);
        if !self.scopes.iter().all(is_scope) {
            return Err(Mistake::new("scopes", "must be words"));
        }
        Mistake::if_empty("name_claim", &self.name_claim)?;
        Mistake::if_empty("label", self.label.trim())?;
        if self.grants.is_empty() {
            let problem = "is missing: without [[http.oidc.grants]] nobody is let in";
            return Err(Mistake::new("grants", problem));
        }
        for (index, grant) in self.grants.iter().enumerate() {
            let checked = grant.check();
            checked.map_err(|mistake| {
                Mistake::new("grants", format!("(number {}): {mistake}", index + 1))
            })?;
        }
        Ok(())
    }
}

impl Grant {
    fn check(&self) -> Result<(), Mistake> {
        Mistake::if_empty("claim", &self.claim)?;
        Mistake::if_empty("value", &self.value)?;
        let Some(claim) = &self.domains_claim else {
            return Ok(());
        };
        if self.domains.is_some() {
            return Err(Mistake::new(
                "domains",
                "and domains_claim exclude each other",
            ));
        }
        Mistake::if_empty("domains_claim", claim)
    }
}

fn check_url(key: &'static str, text: &str) -> Result<Url, Mistake> {
    if !is_safe_for_secrets(text) {
        return Err(Mistake::new(key, UNSAFE));
    }
    Url::parse(text).map_err(|error| Mistake::new(key, format!("is no URL: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> OidcConfig {
        OidcConfig {
            issuer: "https://login.example.org".into(),
            client_id: "ruad".into(),
            client_secret: "hush".into(),
            redirect_url: format!("https://dmarc.example.org{CALLBACK}"),
            grants: vec![Grant {
                claim: "groups".into(),
                value: "mail".into(),
                scope: Scope::Read,
                domains: None,
                domains_claim: None,
            }],
            ..OidcConfig::default()
        }
    }

    fn mistake(change: impl FnOnce(&mut OidcConfig)) -> Option<String> {
        let mut config = complete();
        change(&mut config);
        config.check_all().err().map(|mistake| mistake.to_string())
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert_eq!(OidcConfig::default().check_all(), Ok(()));
        assert_eq!(mistake(|_| {}), None);
        type Change = fn(&mut OidcConfig);
        let changes: [(&str, Change); 9] = [
            ("issuer is missing", |config| config.issuer.clear()),
            ("issuer must begin with https://", |config| {
                config.issuer = "http://login.example.org".into();
            }),
            ("client_secret is missing", |config| {
                config.client_secret = Secret::default();
            }),
            ("redirect_url must be", |config| {
                config.redirect_url = "https://dmarc.example.org/".into();
            }),
            ("redirect_url must begin", |config| {
                config.redirect_url = format!("http://dmarc.example.org{CALLBACK}");
            }),
            ("grants is missing", |config| config.grants.clear()),
            ("(number 1): claim is missing", |config| {
                config.grants[0].claim.clear();
            }),
            ("(number 1): domains_claim is missing", |config| {
                config.grants[0].domains_claim = Some(String::new());
            }),
            ("(number 1): domains and domains_claim", |config| {
                config.grants[0].domains = DomainList::new(["example.org".into()]).ok();
                config.grants[0].domains_claim = Some("domains".into());
            }),
        ];
        for (expected, change) in changes {
            let mistake = mistake(change).unwrap();
            assert!(mistake.contains(expected), "{mistake}");
        }
    }
}
