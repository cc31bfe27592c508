//! A line for each record. Documents that are no report are named on standard error.

use std::io::{BufWriter, StdoutLock};

use anyhow::Result;
use api::csv_cell;

use super::{Printer, Shown, ShownOutcome};
use crate::output;

pub(super) struct Csv {
    out: csv::Writer<BufWriter<StdoutLock<'static>>>,
}

impl Csv {
    pub(super) fn new() -> Result<Self> {
        let mut out = csv::Writer::from_writer(output::buffered());
        out.write_record([
            "file",
            "org_name",
            "report_id",
            "domain",
            "begin",
            "end",
            "position",
            "source_ip",
            "message_count",
            "disposition",
            "dkim_aligned",
            "spf_aligned",
            "header_from",
            "envelope_from",
            "envelope_to",
            "reasons",
            "dkim",
            "spf",
        ])?;
        Ok(Self { out })
    }
}

impl Printer for Csv {
    fn document(&mut self, shown: &Shown<'_>) -> Result<()> {
        let ShownOutcome::Report(summary, records) = &shown.outcome else {
            super::text::complain(shown)?;
            return Ok(());
        };
        let metadata = &summary.header.report_metadata;
        let head = [
            csv_cell(shown.file).into_owned(),
            csv_cell(&metadata.org_name).into_owned(),
            csv_cell(&metadata.report_id).into_owned(),
            csv_cell(&summary.header.policy_published.domain).into_owned(),
            metadata.date_range.begin.to_string(),
            metadata.date_range.end.to_string(),
        ];
        let flag = |flag: Option<bool>| flag.map_or(String::new(), |flag| flag.to_string());
        let text = |text: Option<&str>| csv_cell(text.unwrap_or_default()).into_owned();
        let out = &mut self.out;
        records.for_each(&mut |record| {
            let mut row = head.to_vec();
            row.extend([
                record.position.to_string(),
                record.source_ip.to_string(),
                record.message_count.to_string(),
                text(record.disposition.map(|disposition| disposition.as_str())),
                flag(record.dkim_aligned),
                flag(record.spf_aligned),
                text(record.header_from.as_deref()),
                text(record.envelope_from.as_deref()),
                text(record.envelope_to.as_deref()),
                serde_json::to_string(&record.reasons)?,
                serde_json::to_string(&record.dkim)?,
                serde_json::to_string(&record.spf)?,
            ]);
            Ok(out.write_record(row)?)
        })
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Ok(self.out.flush()?)
    }
}
