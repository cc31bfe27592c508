//! The warnings of a report while it is read.

use std::borrow::Cow;

use crate::{Peer, Warning, WarningCode, peers::Survey};

/// Kinds of warnings kept of one report; an element's name is anyone's text, so there might be no end of them.
const WARNINGS_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 255;

/// Collects warnings; equal ones are counted.
#[derive(Debug, Default)]
pub(super) struct Notes {
    warnings: Vec<Warning>,
}

impl Notes {
    pub(super) fn add(&mut self, code: WarningCode, element: &str, offset: u64) {
        self.add_times(code, element, offset, 1);
    }

    pub(super) fn add_times(&mut self, code: WarningCode, element: &str, offset: u64, times: u64) {
        let known = |warning: &&mut Warning| warning.code == code && warning.element == element;
        if let Some(warning) = self.warnings.iter_mut().find(known) {
            warning.occurrences += times;
        } else if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Warning {
                code,
                element: element.to_owned(),
                offset,
                occurrences: times,
                text: None,
            });
        }
    }

    /// With the text that is odd; only the first one is kept.
    pub(super) fn add_text(&mut self, code: WarningCode, element: &str, offset: u64, text: &str) {
        let warnings_before = self.warnings.len();
        self.add(code, element, offset);
        if self.warnings.len() > warnings_before
            && let Some(warning) = self.warnings.last_mut()
        {
            warning.text = Some(clean(text, TEXT_CHARS_MAX).0.into_owned());
        }
    }

    /// Where the report comes from, if another program kept it, and what that means.
    pub(super) fn add_peer(&mut self, survey: &Survey) {
        let form = survey.form.name();
        self.add_text(WarningCode::FromParsedmarc, "", 0, form);
        let unsure = match survey.peer {
            Peer::Exact => return,
            Peer::LocalTime => "local time of the machine that wrote it, taken as UTC",
            Peer::Inside => "from the first to the last day with a message",
        };
        let element = "report_metadata/date_range";
        self.add_text(WarningCode::PeriodUnsure, element, 0, unsure);
    }

    /// In order of first sight.
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings;
        warnings.sort_by_key(|warning| warning.offset);
        warnings
    }
}

/// Text fit for storing: without control characters, line breaks as blanks, cut. Says whether it was cut.
pub(super) fn clean(text: &str, chars_max: usize) -> (Cow<'_, str>, bool) {
    let is_clean = |byte: u8| (0x20..0x7f).contains(&byte);
    if text.len() <= chars_max && text.bytes().all(is_clean) {
        return (Cow::Borrowed(text), false);
    }
    let mut chars = text
        .chars()
        .map(|char| {
            if matches!(char, '\t' | '\n' | '\r') {
                ' '
            } else {
                char
            }
        })
        .filter(|char| !char.is_control());
    let kept = chars.by_ref().take(chars_max).collect();
    (Cow::Owned(kept), chars.next().is_some())
}
