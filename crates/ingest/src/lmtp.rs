//! A small LMTP listener (RFC 2033): mail handed over by a mail server on the spot.

use serde::{Deserialize, Serialize};

use crate::{
    Mistake,
    authenticity::{Check, Method},
};

/// The LMTP listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `127.0.0.1:2424` or `unix:/path`; empty: there is none.
    pub listen: String,
    /// Addresses that take mail.
    pub recipients: Vec<String>,
    /// Connections at a time.
    pub connections_max: usize,
    /// How long a connection may stand still.
    pub timeout_secs: u64,
    /// What shows where a mail comes from.
    pub authenticity: Method,
    /// Whose Authentication-Results are believed (RFC 8601 section 2.5).
    pub authserv_id: String,
    /// Whether mail that is not shown to come from where it says is rejected.
    pub require_authentic: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: String::new(),
            recipients: Vec::new(),
            connections_max: 32,
            timeout_secs: 300,
            authenticity: Method::default(),
            authserv_id: String::new(),
            require_authentic: false,
        }
    }
}

impl Config {
    /// Finds what cannot work.
    pub fn check_all(&self) -> Result<(), Mistake> {
        if self.listen.is_empty() {
            return Ok(());
        }
        if self.recipients.is_empty() {
            return Err(Mistake::new(
                "recipients",
                "must name the addresses that take mail",
            ));
        }
        Mistake::if_zero("connections_max", self.connections_max as u64)?;
        Mistake::if_zero("timeout_secs", self.timeout_secs)?;
        self.check().check()
    }
    /// How mail is checked.
    pub(crate) fn check(&self) -> Check {
        Check {
            method: self.authenticity,
            authserv_id: self.authserv_id.clone(),
            require_authentic: self.require_authentic,
        }
    }
}
