//! Lists of policy domains, each of which stands for the names below it as well.

use serde::{Deserialize, Serialize};

use crate::{Error, Store};

/// Policy domains that somebody is restricted to, the names below them included. Never empty: no restriction is no list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct DomainList(Vec<String>);

/// Why names make no [`DomainList`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDomainList {
    /// There are none.
    #[error("name a domain at least")]
    Empty,
    /// One of them can never be the domain of a report.
    #[error(
        "{0:?} is no domain: write a name such as example.com, which stands for its subdomains as well; beyond ASCII as it is in \
         the DNS (xn--...)"
    )]
    NoDomain(String),
}

impl DomainList {
    /// The list of these names, in any case and with or without trailing dot.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self, BadDomainList> {
        let names: Vec<String> = names.into_iter().map(|name| plain_domain(&name)).collect();
        if names.is_empty() {
            return Err(BadDomainList::Empty);
        }
        match names.iter().find(|name| !is_domain(name)) {
            None => Ok(Self(names)),
            Some(name) => Err(BadDomainList::NoDomain(name.clone())),
        }
    }

    /// What a row says. Whoever wrote something else there by hand must not widen what somebody sees.
    pub(crate) fn from_row(
        table: &'static str,
        names: Option<Vec<String>>,
    ) -> Result<Option<Self>, Error> {
        let list = names.map(Self::new).transpose();
        list.map_err(|error| Error::Corrupt {
            table,
            column: "domains",
            detail: error.to_string(),
        })
    }

    /// Whether a policy domain, in lower case, is one of them or below one.
    pub fn holds(&self, policy_domain: &str) -> bool {
        self.0.iter().any(|name| is_within(policy_domain, name))
    }

    /// The names, in lower case.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for DomainList {
    type Error = BadDomainList;

    fn try_from(names: Vec<String>) -> Result<Self, BadDomainList> {
        Self::new(names)
    }
}

impl From<DomainList> for Vec<String> {
    fn from(list: DomainList) -> Self {
        list.0
    }
}

/// A name as it is compared: lower case, without dots around it.
pub fn plain_domain(name: &str) -> String {
    name.trim().trim_matches('.').to_ascii_lowercase()
}

/// Whether something may be the name of a domain.
pub fn is_domain(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(is_letter))
}

/// Whether a policy domain is this one or below it; both are in lower case.
pub fn is_within(policy_domain: &str, name: &str) -> bool {
    policy_domain
        .strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The policy domains that an answer may be about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// Sorted; `None` for all.
    domain_ids: Option<Vec<i64>>,
}

impl Visible {
    /// All there are.
    pub const ALL: Self = Self { domain_ids: None };

    /// For SQL, where null is all.
    pub(crate) fn domain_ids(&self) -> Option<&[i64]> {
        self.domain_ids.as_deref()
    }
}

impl Store {
    /// Those of a list that reports name, and all without a list.
    pub async fn visible(&self, domains: Option<&DomainList>) -> Result<Visible, Error> {
        let Some(domains) = domains else {
            return Ok(Visible::ALL);
        };
        // "/" comes after ".": what is between is below the domain. Ranges, not patterns: "_" in a name is no wildcard.
        let domain_ids = sqlx::query_scalar!(
            r#"
            select distinct d.domain_id
            from unnest($1::text[]) as allowed (name)
            join domains d
                on d.name = allowed.name
                or (
                    reverse(d.name) collate "C" > reverse(allowed.name) || '.'
                    and reverse(d.name) collate "C" < reverse(allowed.name) || '/'
                )
            order by d.domain_id
            "#,
            domains.names()
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(Visible {
            domain_ids: Some(domain_ids),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_are_included_and_lookalikes_are_not() {
        let list = DomainList::new([" Example.COM.".into(), "a_b.example".into()]).unwrap();
        for inside in ["example.com", "mail.example.com", "x.a_b.example"] {
            assert!(list.holds(inside), "{inside}");
        }
        for outside in [
            "badexample.com",
            "com",
            "",
            "axb.example",
            "example.com.evil",
        ] {
            assert!(!list.holds(outside), "{outside}");
        }
    }

    #[test]
    fn no_list_is_empty_or_holds_what_never_matches() {
        assert_eq!(DomainList::new([]), Err(BadDomainList::Empty));
        for name in ["", ".", "*.example.com", "bücher.example", "a b"] {
            let list = DomainList::new(["example.com".into(), name.into()]);
            assert!(matches!(list, Err(BadDomainList::NoDomain(_))), "{name}");
        }
    }
}
