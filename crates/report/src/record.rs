//! One `<record>`.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::Serialize;

use crate::header::words;

/// One `<record>` that can be stored: messages of one source with the same results.
///
/// Absent values and those that were not understood are `None`; the text of the latter stands in `odd_values`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Number of the `<record>` element in the report, from 0, skipped ones counted.
    pub position: u32,
    /// The sending host.
    pub source_ip: IpAddr,
    /// `<count>`: a number of messages, at most `i64::MAX`.
    pub message_count: u64,
    /// What the receiver did.
    pub disposition: Option<Disposition>,
    /// `policy_evaluated/dkim`: an aligned DKIM pass. `None` when the reporter did not say.
    pub dkim_aligned: Option<bool>,
    /// `policy_evaluated/spf`: an aligned SPF pass. `None` when the reporter did not say.
    pub spf_aligned: Option<bool>,
    /// Why the disposition differs from the policy.
    pub reasons: Vec<Reason>,
    /// Domain of the From header, lower-cased.
    pub header_from: Option<CompactString>,
    /// Domain of the envelope sender, lower-cased.
    pub envelope_from: Option<CompactString>,
    /// Domain of the envelope recipient, lower-cased.
    pub envelope_to: Option<CompactString>,
    /// Raw DKIM results, aligned or not.
    pub dkim: Vec<DkimAuthResult>,
    /// DKIM results beyond the limit, not kept.
    pub dkim_omitted: u32,
    /// Raw SPF results, aligned or not.
    pub spf: Vec<SpfAuthResult>,
    /// Values outside the format, as written.
    pub odd_values: Vec<OddValue>,
}

impl Record {
    /// DMARC passes when DKIM or SPF passes in alignment; nothing else tells (spec section 13, rule 7).
    pub fn dmarc_pass(&self) -> bool {
        self.dkim_aligned == Some(true) || self.spf_aligned == Some(true)
    }

    /// What it takes in memory, about. A record may have hundreds of long texts.
    pub fn size_bytes(&self) -> usize {
        let text = |text: &Option<CompactString>| text.as_ref().map_or(0, CompactString::len);
        let dkim = self.dkim.iter().map(|dkim| {
            let texts = [&dkim.domain, &dkim.selector, &dkim.human_result];
            size_of_val(dkim) + texts.map(text).iter().sum::<usize>()
        });
        let spf = self
            .spf
            .iter()
            .map(|spf| size_of_val(spf) + text(&spf.domain) + text(&spf.human_result));
        let reasons = self
            .reasons
            .iter()
            .map(|reason| size_of_val(reason) + text(&reason.kind) + text(&reason.comment));
        let odd_values = self
            .odd_values
            .iter()
            .map(|odd| size_of_val(odd) + odd.text.len());
        let identifiers = [&self.header_from, &self.envelope_from, &self.envelope_to];
        size_of_val(self)
            + identifiers.map(text).iter().sum::<usize>()
            + dkim
                .chain(spf)
                .chain(reasons)
                .chain(odd_values)
                .sum::<usize>()
    }
}

/// A value that is not of the report format, kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct OddValue {
    /// Path of the element below `<record>`, such as `policy_evaluated/dkim`.
    pub element: &'static str,
    /// Its text, trimmed and cut to 255 characters.
    pub text: CompactString,
}

/// `<reason>`: why the receiver did not follow the policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Reason {
    /// `<type>`, lower-cased; words outside the format are kept as they are.
    #[serde(rename = "type")]
    pub kind: Option<CompactString>,
    /// `<comment>`.
    pub comment: Option<CompactString>,
}

/// One `auth_results/dkim`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DkimAuthResult {
    /// The signing domain (`d=`), lower-cased.
    pub domain: Option<CompactString>,
    /// The selector (`s=`).
    pub selector: Option<CompactString>,
    /// The result.
    pub result: Option<DkimResult>,
    /// Free text.
    pub human_result: Option<CompactString>,
}

/// One `auth_results/spf`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct SpfAuthResult {
    /// The domain checked, lower-cased.
    pub domain: Option<CompactString>,
    /// Which identity was checked.
    pub scope: Option<SpfScope>,
    /// The result.
    pub result: Option<SpfResult>,
    /// Free text (RFC 9990).
    pub human_result: Option<CompactString>,
}

/// What the receiver did with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// Delivered: no action was asked for, or it was overridden.
    None,
    /// Delivered, because DMARC passed under an enforcing policy (RFC 9990).
    Pass,
    /// Treated as suspicious.
    Quarantine,
    /// Refused.
    Reject,
}

/// Result of a DKIM check (RFC 8601 section 2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are defined in RFC 8601")]
pub enum DkimResult {
    None,
    Pass,
    Fail,
    Policy,
    Neutral,
    TempError,
    PermError,
}

/// Result of an SPF check (RFC 8601 section 2.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are defined in RFC 8601")]
pub enum SpfResult {
    None,
    Pass,
    Fail,
    SoftFail,
    Policy,
    Neutral,
    TempError,
    PermError,
}

/// Which identity SPF was checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpfScope {
    /// HELO or EHLO name (RFC 7489 only).
    Helo,
    /// Envelope sender.
    Mfrom,
}

words! {
    Disposition { None = "none", Pass = "pass", Quarantine = "quarantine", Reject = "reject", }
    DkimResult {
        None = "none", Pass = "pass", Fail = "fail", Policy = "policy", Neutral = "neutral",
        TempError = "temperror", PermError = "permerror",
    }
    SpfResult {
        None = "none", Pass = "pass", Fail = "fail", SoftFail = "softfail", Policy = "policy",
        Neutral = "neutral", TempError = "temperror", PermError = "permerror",
    }
    SpfScope { Helo = "helo", Mfrom = "mfrom", }
}
