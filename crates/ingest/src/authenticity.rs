//! Whether a mail comes from where it says.

mod dkim;
mod domain;
mod head;
mod received;
mod resolver;
mod results;
mod results_field;
mod verifier;

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Mistake;

pub(crate) use verifier::Verdict;
pub use verifier::{Error, Verifier};

/// Where names are looked up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Resolvers; none means those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one may take for an answer.
    pub timeout_secs: u64,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout_secs: 5,
        }
    }
}

impl DnsConfig {
    /// Finds what cannot work.
    pub fn check_all(&self) -> Result<(), Mistake> {
        Mistake::if_zero("timeout_secs", self.timeout_secs)
    }

    /// How long a resolver may take for an answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_secs)
    }
}

/// How mail that comes in one way is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// What shows where a mail comes from.
    pub method: Method,
    /// Whose Authentication-Results are believed (RFC 8601 section 2.5).
    pub authserv_id: String,
    /// Whether mail that is not shown to come from where it says is rejected.
    pub require_authentic: bool,
}

impl Check {
    /// Finds what cannot work.
    pub(crate) fn check(&self) -> Result<(), Mistake> {
        match self.method {
            Method::AuthenticationResults => Mistake::if_empty("authserv_id", &self.authserv_id),
            Method::Off if self.require_authentic => Err(Mistake::new(
                "require_authentic",
                "needs authenticity to be dkim or authentication-results",
            )),
            Method::Dkim | Method::Off => Ok(()),
        }
    }
}

/// What shows where a mail comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Its DKIM signatures, verified here.
    #[default]
    Dkim,
    /// What the receiving mail server wrote into the mail.
    AuthenticationResults,
    /// Nothing: it is not checked.
    Off,
}
