//! The policy that a domain published.

use serde::Serialize;
use utoipa::ToSchema;

/// The policy published, as a report saw it; null where it did not say.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyPublished {
    /// Policy for the domain.
    #[schema(example = "quarantine")]
    pub p: Option<String>,
    /// Policy for subdomains.
    #[schema(example = "none")]
    pub sp: Option<String>,
    /// Policy for subdomains that do not exist.
    #[schema(example = "reject")]
    pub np: Option<String>,
    /// DKIM alignment mode: `r` (relaxed) or `s` (strict).
    #[schema(example = "r")]
    pub adkim: Option<String>,
    /// SPF alignment mode: `r` (relaxed) or `s` (strict).
    #[schema(example = "r")]
    pub aspf: Option<String>,
    /// Per cent of messages the policy applies to (RFC 7489 only).
    #[schema(example = 100)]
    pub pct: Option<i16>,
    /// Failure reporting options.
    #[schema(example = "1")]
    pub fo: Option<String>,
    /// The `t` tag (RFC 9990).
    #[schema(example = false)]
    pub testing: Option<bool>,
}
