//! Whose reports are stored.

use serde::{Deserialize, Serialize};

use crate::Mistake;

/// Policy domains whose reports are stored, their subdomains included; none means all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct AllowedDomains(Vec<String>);

impl AllowedDomains {
    /// Finds what can never be the domain of a report.
    pub fn check_all(&self) -> Result<(), Mistake> {
        match self.0.iter().find(|name| !store::is_domain(name)) {
            None => Ok(()),
            Some(name) => Err(Mistake::new(
                "domains",
                format!(
                    "holds {name:?}: write a domain such as example.com, which stands for its subdomains as well; beyond ASCII as it \
                     is in the DNS (xn--...)"
                ),
            )),
        }
    }

    /// Whether reports for a policy domain, in lower case, are stored.
    pub(crate) fn allows(&self, policy_domain: &str) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|allowed| store::is_within(policy_domain, allowed))
    }
}

impl From<Vec<String>> for AllowedDomains {
    fn from(domains: Vec<String>) -> Self {
        Self(
            domains
                .iter()
                .map(|name| store::plain_domain(name))
                .collect(),
        )
    }
}

impl From<AllowedDomains> for Vec<String> {
    fn from(domains: AllowedDomains) -> Self {
        domains.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_are_included_and_lookalikes_are_not() {
        let domains = AllowedDomains::from(vec![" Example.COM.".into(), "example.org".into()]);
        for allowed in ["example.com", "mail.example.com", "a.b.example.org"] {
            assert!(domains.allows(allowed), "{allowed}");
        }
        for other in ["badexample.com", "example.net", "com", ""] {
            assert!(!domains.allows(other), "{other}");
        }
        assert!(AllowedDomains::default().allows("anything.example"));
    }

    #[test]
    fn what_would_never_match_is_a_mistake() {
        let check = |domain: &str| AllowedDomains::from(vec![domain.into()]).check_all();
        for good in [
            "example.com",
            "EXAMPLE.com.",
            "xn--bcher-kva.example",
            "a_b.example",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "*.example.com",
            "https://example.com",
            "bücher.example",
            "a b",
        ] {
            assert_eq!(check(bad).unwrap_err().key, "domains", "{bad}");
        }
    }
}
