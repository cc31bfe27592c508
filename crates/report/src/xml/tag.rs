//! The element names of both report formats.

macro_rules! tags {
    ($($tag:ident = $name:literal,)+) => {
        /// An element by its local name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Tag {
            $($tag,)+
            /// A name of neither format.
            Unknown,
        }

        impl Tag {
            /// The local name; empty for [`Tag::Unknown`].
            #[inline]
            pub(crate) fn name(self) -> &'static str {
                const NAMES: &[&str] = &[$($name,)+ ""];
                NAMES[self as usize]
            }
        }
    };
}

tags! {
    Feedback = "feedback",
    Version = "version",
    ReportMetadata = "report_metadata",
    OrgName = "org_name",
    Email = "email",
    ExtraContactInfo = "extra_contact_info",
    ReportId = "report_id",
    DateRange = "date_range",
    Begin = "begin",
    End = "end",
    Error = "error",
    Generator = "generator",
    PolicyPublished = "policy_published",
    Domain = "domain",
    DiscoveryMethod = "discovery_method",
    P = "p",
    Sp = "sp",
    Np = "np",
    Adkim = "adkim",
    Aspf = "aspf",
    Pct = "pct",
    Fo = "fo",
    Testing = "testing",
    Extension = "extension",
    Record = "record",
    Row = "row",
    SourceIp = "source_ip",
    Count = "count",
    PolicyEvaluated = "policy_evaluated",
    Disposition = "disposition",
    Dkim = "dkim",
    Spf = "spf",
    Reason = "reason",
    Type = "type",
    Comment = "comment",
    Identifiers = "identifiers",
    // R8: junc.org and others.
    Identities = "identities",
    HeaderFrom = "header_from",
    EnvelopeFrom = "envelope_from",
    EnvelopeTo = "envelope_to",
    AuthResults = "auth_results",
    Selector = "selector",
    Result = "result",
    HumanResult = "human_result",
    Scope = "scope",
}

impl Tag {
    /// Told by length first: this runs for every start tag.
    #[inline]
    pub(super) fn from_name(name: &[u8]) -> Self {
        match name.len() {
            1..=4 => Self::from_short_name(name),
            5 => match name {
                b"count" => Self::Count,
                b"scope" => Self::Scope,
                b"email" => Self::Email,
                b"begin" => Self::Begin,
                b"error" => Self::Error,
                b"adkim" => Self::Adkim,
                _ => Self::Unknown,
            },
            6 => match name {
                b"domain" => Self::Domain,
                b"result" => Self::Result,
                b"record" => Self::Record,
                b"reason" => Self::Reason,
                _ => Self::Unknown,
            },
            7 => match name {
                b"comment" => Self::Comment,
                b"version" => Self::Version,
                b"testing" => Self::Testing,
                _ => Self::Unknown,
            },
            8 => match name {
                b"selector" => Self::Selector,
                b"org_name" => Self::OrgName,
                b"feedback" => Self::Feedback,
                _ => Self::Unknown,
            },
            9 => match name {
                b"source_ip" => Self::SourceIp,
                b"report_id" => Self::ReportId,
                b"generator" => Self::Generator,
                b"extension" => Self::Extension,
                _ => Self::Unknown,
            },
            _ => Self::from_long_name(name),
        }
    }

    #[inline]
    fn from_short_name(name: &[u8]) -> Self {
        match name {
            b"dkim" => Self::Dkim,
            b"type" => Self::Type,
            b"aspf" => Self::Aspf,
            b"row" => Self::Row,
            b"spf" => Self::Spf,
            b"end" => Self::End,
            b"pct" => Self::Pct,
            b"sp" => Self::Sp,
            b"np" => Self::Np,
            b"fo" => Self::Fo,
            b"p" => Self::P,
            _ => Self::Unknown,
        }
    }

    #[inline]
    fn from_long_name(name: &[u8]) -> Self {
        match name.len() {
            10 => match name {
                b"date_range" => Self::DateRange,
                b"identities" => Self::Identities,
                _ => Self::Unknown,
            },
            11 => match name {
                b"identifiers" => Self::Identifiers,
                b"header_from" => Self::HeaderFrom,
                b"disposition" => Self::Disposition,
                b"envelope_to" => Self::EnvelopeTo,
                _ => Self::Unknown,
            },
            12 => match name {
                b"auth_results" => Self::AuthResults,
                b"human_result" => Self::HumanResult,
                _ => Self::Unknown,
            },
            13 if name == b"envelope_from" => Self::EnvelopeFrom,
            15 if name == b"report_metadata" => Self::ReportMetadata,
            16 => match name {
                b"policy_evaluated" => Self::PolicyEvaluated,
                b"policy_published" => Self::PolicyPublished,
                b"discovery_method" => Self::DiscoveryMethod,
                _ => Self::Unknown,
            },
            18 if name == b"extra_contact_info" => Self::ExtraContactInfo,
            _ => Self::Unknown,
        }
    }
}
