//! An array with an object for each document.

use std::io::{BufWriter, StdoutLock, Write as _};

use anyhow::Result;
use report::{Header, Summary};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Printer, Records, Shown, ShownOutcome};
use crate::output;

pub(super) struct Json {
    out: BufWriter<StdoutLock<'static>>,
    with_records: bool,
    first: bool,
}

impl Json {
    pub(super) fn new(with_records: bool) -> Self {
        Self {
            out: output::buffered(),
            with_records,
            first: true,
        }
    }

    /// The array of records, written as it is read.
    fn records(&mut self, records: &Records<'_>) -> Result<()> {
        let out = &mut self.out;
        let mut first = true;
        out.write_all(b",\"records\":[")?;
        records.for_each(&mut |record| {
            out.write_all(if first { b"\n  " } else { b",\n  " })?;
            first = false;
            serde_json::to_writer(&mut *out, record)?;
            Ok(())
        })?;
        Ok(out.write_all(b"]")?)
    }
}

impl Printer for Json {
    fn document(&mut self, shown: &Shown<'_>) -> Result<()> {
        self.out
            .write_all(if self.first { b"[\n" } else { b",\n" })?;
        self.first = false;
        let object = match &shown.outcome {
            ShownOutcome::Report(summary, _) => Object::report(shown, summary),
            ShownOutcome::Rejected(error) => Object {
                code: Some(error.code.as_str()),
                detail: Some(&error.detail),
                element: error.element.as_deref(),
                offset_bytes: Some(error.offset),
                ..Object::new(shown, "rejected")
            },
            ShownOutcome::NotAggregate { code, detail } => Object {
                code: Some(code),
                detail: Some(detail),
                ..Object::new(shown, "not_aggregate")
            },
        };
        let mut text = serde_json::to_string(&object)?;
        // The records, if any, become the last member of the object.
        text.truncate(text.len() - 1);
        self.out.write_all(text.as_bytes())?;
        if let ShownOutcome::Report(_, records) = &shown.outcome
            && self.with_records
        {
            self.records(records)?;
        }
        Ok(self.out.write_all(b"}")?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out
            .write_all(if self.first { b"[]\n" } else { b"\n]\n" })?;
        Ok(self.out.flush()?)
    }
}

#[derive(Serialize)]
struct Object<'a> {
    file: &'a str,
    path: &'a str,
    outcome: &'static str,
    code: Option<&'a str>,
    detail: Option<&'a str>,
    element: Option<&'a str>,
    offset_bytes: Option<u64>,
    version: Option<&'a str>,
    xml_namespace: Option<&'a str>,
    org_name: Option<&'a str>,
    email: Option<&'a str>,
    extra_contact_info: Option<&'a str>,
    report_id: Option<&'a str>,
    domain: Option<&'a str>,
    begin: Option<i64>,
    end: Option<i64>,
    error: &'a [String],
    generator: Option<&'a str>,
    record_count: Option<u64>,
    skipped_count: Option<u64>,
    message_count: Option<u64>,
    dmarc_pass_count: Option<u64>,
    content_sha256: Option<String>,
    warnings: &'a [report::Warning],
    policy_published: Value,
}

impl<'a> Object<'a> {
    fn new(shown: &Shown<'a>, outcome: &'static str) -> Self {
        Self {
            file: shown.file,
            path: shown.path,
            outcome,
            code: None,
            detail: None,
            element: None,
            offset_bytes: None,
            version: None,
            xml_namespace: None,
            org_name: None,
            email: None,
            extra_contact_info: None,
            report_id: None,
            domain: None,
            begin: None,
            end: None,
            error: &[],
            generator: None,
            record_count: None,
            skipped_count: None,
            message_count: None,
            dmarc_pass_count: None,
            content_sha256: None,
            warnings: &[],
            policy_published: Value::Null,
        }
    }

    fn report(shown: &Shown<'a>, summary: &'a Summary) -> Self {
        let Header {
            version,
            xml_namespace,
            report_metadata: metadata,
            policy_published: policy,
            // The warnings tell.
            peer: _,
        } = &summary.header;
        Self {
            version: version.as_deref(),
            xml_namespace: xml_namespace.as_deref(),
            org_name: Some(&metadata.org_name),
            email: metadata.email.as_deref(),
            extra_contact_info: metadata.extra_contact_info.as_deref(),
            report_id: Some(&metadata.report_id),
            domain: Some(&policy.domain),
            begin: Some(metadata.date_range.begin),
            end: Some(metadata.date_range.end),
            error: &metadata.error,
            generator: metadata.generator.as_deref(),
            record_count: Some(summary.record_count),
            skipped_count: Some(summary.skipped_count),
            message_count: Some(summary.message_count),
            dmarc_pass_count: Some(summary.dmarc_pass_count),
            content_sha256: Some(store::hex(&summary.content_sha256)),
            warnings: &summary.warnings,
            policy_published: json!(policy),
            ..Self::new(shown, "report")
        }
    }
}
