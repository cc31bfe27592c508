//! For people.

use std::io::{self, BufWriter, StdoutLock, Write};

use anyhow::Result;
use report::{Record, Summary};

use super::{Printer, Shown, ShownOutcome};
use crate::output::{self, per_cent, plain};

pub(super) struct Text {
    out: BufWriter<StdoutLock<'static>>,
    with_records: bool,
}

impl Text {
    pub(super) fn new(with_records: bool) -> Self {
        Self {
            out: output::buffered(),
            with_records,
        }
    }
}

impl Printer for Text {
    fn document(&mut self, shown: &Shown<'_>) -> Result<()> {
        let ShownOutcome::Report(summary, records) = &shown.outcome else {
            writeln!(self.out, "{}\n", describe(shown))?;
            return Ok(());
        };
        writeln!(self.out, "{}", place(shown))?;
        header(&mut self.out, summary)?;
        if self.with_records {
            let out = &mut self.out;
            writeln!(
                out,
                "  {:<39} {:>9}  {:<10}  {:<4}  {:<4}  header_from",
                "source", "messages", "disposition", "DKIM", "SPF"
            )?;
            records.for_each(&mut |record| Ok(line(out, record)?))?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Says on standard error what a document is that is no report.
pub(super) fn complain(shown: &Shown<'_>) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{}", describe(shown))
}

fn place(shown: &Shown<'_>) -> String {
    if shown.path.is_empty() {
        plain(shown.file)
    } else {
        plain(&format!("{}: {}", shown.file, shown.path))
    }
}

fn describe(shown: &Shown<'_>) -> String {
    let place = place(shown);
    match &shown.outcome {
        ShownOutcome::Report(..) => place,
        ShownOutcome::NotAggregate { detail, .. } => format!("{place}: {detail}"),
        ShownOutcome::Rejected(error) => {
            let element = error
                .element
                .as_deref()
                .map(|element| format!(" in {}", plain(element)));
            format!(
                "{place}: rejected ({}) at byte {}{}: {}",
                error.code.as_str(),
                error.offset,
                element.unwrap_or_default(),
                plain(&error.detail)
            )
        }
    }
}

fn header(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let metadata = &summary.header.report_metadata;
    let policy = &summary.header.policy_published;
    let email = metadata.email.as_deref().unwrap_or("no address");
    writeln!(
        out,
        "  reporter   {} ({})",
        plain(&metadata.org_name),
        plain(email)
    )?;
    writeln!(out, "  report_id  {}", plain(&metadata.report_id))?;
    writeln!(
        out,
        "  period     {} to {}",
        moment(metadata.date_range.begin),
        moment(metadata.date_range.end)
    )?;
    let mut tags = String::new();
    for (tag, value) in [
        ("p", policy.p.map(|p| p.as_str())),
        ("sp", policy.sp.map(|p| p.as_str())),
        ("np", policy.np.map(|p| p.as_str())),
        ("adkim", policy.adkim.map(|mode| mode.as_str())),
        ("aspf", policy.aspf.map(|mode| mode.as_str())),
        ("fo", policy.fo.as_deref()),
    ] {
        if let Some(value) = value {
            tags.push_str(&format!(" {tag}={}", plain(value)));
        }
    }
    if let Some(pct) = policy.pct {
        tags.push_str(&format!(" pct={pct}"));
    }
    if let Some(testing) = policy.testing {
        tags.push_str(if testing { " t=y" } else { " t=n" });
    }
    writeln!(out, "  policy     {}{tags}", plain(&policy.domain))?;
    writeln!(
        out,
        "  messages   {} in {} records, {} pass DMARC{}",
        summary.message_count,
        summary.record_count,
        per_cent(
            saturate(summary.dmarc_pass_count),
            saturate(summary.message_count)
        ),
        if summary.skipped_count > 0 {
            format!(", {} records skipped", summary.skipped_count)
        } else {
            String::new()
        }
    )?;
    for warning in &summary.warnings {
        let text = warning
            .text
            .as_deref()
            .map(|text| format!(": {:?}", plain(text)));
        writeln!(
            out,
            "  warning    {} {} ({} times, first at byte {}){}",
            serde_json::to_value(warning.code)?
                .as_str()
                .unwrap_or_default(),
            plain(&warning.element),
            warning.occurrences,
            warning.offset,
            text.unwrap_or_default()
        )?;
    }
    Ok(())
}

fn line(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let aligned = |aligned: Option<bool>| match aligned {
        Some(true) => "pass",
        Some(false) => "fail",
        None => "-",
    };
    writeln!(
        out,
        "  {:<39} {:>9}  {:<10}  {:<4}  {:<4}  {}",
        record.source_ip.to_string(),
        record.message_count,
        record
            .disposition
            .map_or("-", |disposition| disposition.as_str()),
        aligned(record.dkim_aligned),
        aligned(record.spf_aligned),
        plain(record.header_from.as_deref().unwrap_or("-"))
    )
}

fn moment(second: i64) -> String {
    match time::OffsetDateTime::from_unix_timestamp(second) {
        Ok(moment) => format!(
            "{} {:02}:{:02}:{:02}",
            moment.date(),
            moment.hour(),
            moment.minute(),
            moment.second()
        ),
        Err(_) => second.to_string(),
    }
}

fn saturate(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
