//! The section `[http]` of the config file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Net, OidcConfig, RateLimit, TlsConfig};

/// Whether tokens are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Unless only programs on this machine can reach the address.
    #[default]
    Auto,
    /// They are not: whoever reaches the address may do everything.
    Open,
    /// They are.
    Token,
}

/// What a client may make us do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether tokens are asked for.
    pub access: Access,
    /// Bytes of an upload. The default is the usual limit of a mail message, 25 MiB.
    pub body_bytes_max: u64,
    /// Uploads in progress at a time; one more is told to try again.
    pub uploads_max: usize,
    /// How long an upload may take to arrive as a whole.
    pub upload_timeout_secs: u64,
    /// How long an upload may stand still.
    pub idle_timeout_secs: u64,
    /// How long a client may take for the header of a request, and a connection may be idle.
    pub header_timeout_secs: u64,
    /// Proxies in front of ruad that are believed when they say who asks, and over TLS or not.
    pub trusted_proxies: Vec<Net>,
    /// How often somebody may ask.
    pub rate_limit: RateLimit,
    /// TLS without a proxy.
    pub tls: TlsConfig,
    /// Where people sign in who have no token.
    pub oidc: OidcConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access: Access::default(),
            body_bytes_max: 25 * 1024 * 1024,
            uploads_max: 32,
            upload_timeout_secs: 60,
            idle_timeout_secs: 15,
            header_timeout_secs: 10,
            trusted_proxies: Net::loopback(),
            rate_limit: RateLimit::default(),
            tls: TlsConfig::default(),
            oidc: OidcConfig::default(),
        }
    }
}

impl Config {
    pub(crate) fn upload_timeout(&self) -> Duration {
        Duration::from_secs(self.upload_timeout_secs)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_secs)
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_secs)
    }
}
