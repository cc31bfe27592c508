//! What checking a mail told of its sender, as deliveries and reports show it.

use serde::Serialize;
use store::Authenticity;
use utoipa::ToSchema;

/// Who sent a mail.
#[derive(Serialize, ToSchema)]
pub(super) struct Mail {
    /// Domain of its From field; null where it has none that can be read.
    #[schema(example = "google.com")]
    pub(super) from_domain: Option<String>,
    /// Domains that signed it, as far as their DKIM signatures are valid.
    #[schema(example = json!(["google.com"]))]
    pub(super) dkim_domains: Vec<String>,
    /// Whether the mail passes DMARC: one of them is aligned with the From domain or, where Authentication-Results are
    /// read, the mail server's verdict, which may rest on SPF. Null when that could not be found out.
    #[schema(example = true)]
    pub(super) dmarc_pass: Option<bool>,
}

impl From<Authenticity> for Mail {
    fn from(authenticity: Authenticity) -> Self {
        Self {
            from_domain: authenticity.from_domain,
            dkim_domains: authenticity.dkim_domains,
            dmarc_pass: authenticity.dmarc_pass,
        }
    }
}
