//! The lists inside a record as JSON: what is absent is left out.

use report::{DkimAuthResult, Reason, SpfAuthResult};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct ReasonJson<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

impl<'a> From<&'a Reason> for ReasonJson<'a> {
    fn from(reason: &'a Reason) -> Self {
        Self {
            kind: reason.kind.as_deref(),
            comment: reason.comment.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct DkimJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    human_result: Option<&'a str>,
}

impl<'a> From<&'a DkimAuthResult> for DkimJson<'a> {
    fn from(dkim: &'a DkimAuthResult) -> Self {
        Self {
            domain: dkim.domain.as_deref(),
            selector: dkim.selector.as_deref(),
            result: dkim.result.map(report::DkimResult::as_str),
            human_result: dkim.human_result.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SpfJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    human_result: Option<&'a str>,
}

impl<'a> From<&'a SpfAuthResult> for SpfJson<'a> {
    fn from(spf: &'a SpfAuthResult) -> Self {
        Self {
            domain: spf.domain.as_deref(),
            scope: spf.scope.map(report::SpfScope::as_str),
            result: spf.result.map(report::SpfResult::as_str),
            human_result: spf.human_result.as_deref(),
        }
    }
}
