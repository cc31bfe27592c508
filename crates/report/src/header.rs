//! What a report says of itself and of the policy, before its records.

use serde::Serialize;

use crate::Peer;

/// Everything of a report but its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The text of `<version>`. It does not tell RFC 7489 from RFC 9990.
    pub version: Option<String>,
    /// The namespace of the root element, as reported.
    pub xml_namespace: Option<String>,
    /// `<report_metadata>`.
    pub report_metadata: ReportMetadata,
    /// `<policy_published>`.
    pub policy_published: PolicyPublished,
    /// Set where the report was read from the output of another program, which does not keep all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

impl Header {
    /// What it takes in memory, about.
    pub fn size_bytes(&self) -> usize {
        let metadata = &self.report_metadata;
        let policy = &self.policy_published;
        let texts = [
            &self.version,
            &self.xml_namespace,
            &metadata.email,
            &metadata.extra_contact_info,
            &metadata.generator,
            &policy.domain_as_reported,
            &policy.fo,
        ];
        let errors = metadata.error.iter();
        size_of_val(self)
            + [&metadata.org_name, &metadata.report_id, &policy.domain]
                .into_iter()
                .chain(texts.into_iter().flatten())
                .map(String::len)
                .chain(errors.map(|error| size_of_val(error) + error.len()))
                .sum::<usize>()
    }
}

/// `<report_metadata>`: who reports, about when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportMetadata {
    /// The reporter; where the element is empty, the domain of `email`.
    pub org_name: String,
    /// The contact's address, without display name and brackets where one could be made out.
    pub email: Option<String>,
    /// Free text, mostly a web address.
    pub extra_contact_info: Option<String>,
    /// As reported, trimmed. See [`ReportMetadata::report_id_key`] for comparing.
    pub report_id: String,
    /// The reporting period.
    pub date_range: DateRange,
    /// Texts of `<error>`.
    pub error: Vec<String>,
    /// Software that made the report (RFC 9990).
    pub generator: Option<String>,
}

impl ReportMetadata {
    /// The report id as it counts for identity: without one pair of enclosing angle brackets, nothing else changed.
    pub fn report_id_key(&self) -> &str {
        let id = self.report_id.as_str();
        id.strip_prefix('<')
            .and_then(|id| id.strip_suffix('>'))
            .map_or(id, str::trim)
    }
}

/// `<date_range>`: seconds since 1970-01-01 UTC, as reported but for a fraction (cut) and milliseconds (divided).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DateRange {
    /// First second of the period.
    pub begin: i64,
    /// Last second of the period, or the first after it: reporters do both.
    pub end: i64,
}

impl DateRange {
    /// Whether this is more than a day: receivers report one day, and some of them a little more (M11). Beyond 27 hours
    /// a period says little about its days.
    pub fn is_long(self) -> bool {
        const ONE_DAY_SECS_MAX: u64 = 27 * 60 * 60;
        self.begin.abs_diff(self.end) > ONE_DAY_SECS_MAX
    }
}

/// `<policy_published>`: the policy as the reporter found it. Absent is `None`, never a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyPublished {
    /// The policy domain, lower-cased, without trailing dot.
    pub domain: String,
    /// The policy domain as written, where it differs from `domain`.
    pub domain_as_reported: Option<String>,
    /// How the record was found (RFC 9990).
    pub discovery_method: Option<DiscoveryMethod>,
    /// Policy for the domain.
    pub p: Option<Policy>,
    /// Policy for subdomains; absent means that of `p`.
    pub sp: Option<Policy>,
    /// Policy for subdomains that do not exist; absent means that of `sp`.
    pub np: Option<Policy>,
    /// DKIM alignment mode.
    pub adkim: Option<Alignment>,
    /// SPF alignment mode.
    pub aspf: Option<Alignment>,
    /// Per cent of messages the policy applies to (RFC 7489 only).
    pub pct: Option<u8>,
    /// Failure reporting options, as written.
    pub fo: Option<String>,
    /// The `t` tag: `true` for `y` (RFC 9990).
    pub testing: Option<bool>,
}

/// What a domain owner asks receivers to do with mail that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nothing.
    None,
    /// Treat as suspicious.
    Quarantine,
    /// Refuse.
    Reject,
}

/// How exactly domains must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Alignment {
    /// `r`: the organizational domains match.
    #[serde(rename = "r")]
    Relaxed,
    /// `s`: the domains match.
    #[serde(rename = "s")]
    Strict,
}

/// How the reporter found the DMARC record (RFC 9990).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryMethod {
    /// Public suffix list.
    Psl,
    /// DNS tree walk.
    Treewalk,
}

macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal,)+ })+) => {$(
        impl $type {
            /// The word of the report format, lower case.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value for a lower-case word, if the format has it.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    )+};
}
pub(crate) use words;

words! {
    Policy { None = "none", Quarantine = "quarantine", Reject = "reject", }
    Alignment { Relaxed = "r", Strict = "s", }
    DiscoveryMethod { Psl = "psl", Treewalk = "treewalk", }
}
