//! Signing in at an OpenID provider (OpenID Connect Core 1.0, authorization code flow with PKCE).
//!
//! An [`Attempt`] is what a browser takes with it to the provider and back; [`Provider`] sends it there and makes an
//! [`Identity`](store::Identity) of what the provider answers. The crate `openidconnect` speaks the protocol and verifies
//! the ID token. Start reading at `routes/oidc.rs`.

mod attempt;
mod claims;
mod config;
mod failure;
mod http;
mod provider;

pub(crate) use attempt::{ATTEMPT_SECS, Attempt};
pub use config::{Grant, OidcConfig};
pub(crate) use failure::Failure;
pub use provider::{OidcError, Provider};

/// Where the provider sends a browser back to.
pub(crate) const CALLBACK: &str = "/api/v1/session/oidc/callback";
