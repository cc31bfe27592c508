//! Why a sign-in at the provider came to nothing.

/// Why somebody is not signed in. The text is for the log and the audit; the page has words of its own for each code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The answer of the provider is not to what this browser began, or comes too late.
    #[error("the sign-in was not begun in this browser, or too long ago")]
    Stale,
    /// The provider sent the browser back without a code.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The provider cannot be asked.
    #[error("the provider cannot be asked: {0}")]
    Unavailable(String),
    /// What the provider answered is not to be believed.
    #[error("the provider's answer cannot be believed: {0}")]
    NotVerified(String),
    /// No grant fits.
    #[error("no grant of the configuration fits")]
    NotGranted {
        /// Whom the provider vouches for, as the audit names it.
        identity: String,
    },
    /// A claim that a grant looks at is not in the ID token, but somewhere else.
    #[error(
        "the claim {claim} is too long for the ID token, which says where else to ask for it (_claim_names): grant by another \
         one, such as roles"
    )]
    Elsewhere {
        /// Whom the provider vouches for, as the audit names it.
        identity: String,
        /// Which claim.
        claim: String,
    },
    /// The claim that is to list policy domains does not.
    #[error("the claim {claim} is to list policy domains: {reason}")]
    NoDomains {
        /// Whom the provider vouches for, as the audit names it.
        identity: String,
        /// Which claim.
        claim: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Failure {
    /// The stable reason, for the page.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
            Self::NotVerified(_) => "not_verified",
            Self::NotGranted { .. } => "not_granted",
            Self::Elsewhere { .. } => "claim_elsewhere",
            Self::NoDomains { .. } => "no_domains",
        }
    }

    /// Whom the provider vouches for, as far as that is known.
    pub(crate) fn identity(&self) -> Option<&str> {
        match self {
            Self::NotGranted { identity }
            | Self::Elsewhere { identity, .. }
            | Self::NoDomains { identity, .. } => Some(identity),
            Self::Stale | Self::Refused(_) | Self::Unavailable(_) | Self::NotVerified(_) => None,
        }
    }
}
