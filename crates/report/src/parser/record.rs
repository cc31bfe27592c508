//! `<record>`.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use compact_str::CompactString;

use super::{
    Pass, Seen,
    notes::{Notes, clean},
    value::{count, domain, lower_case, word},
};
use crate::{
    Disposition, Error, OddValue, Reason, Record, WarningCode,
    xml::{Tag, Text},
};

pub(super) const NAME_CHARS_MAX: usize = 255;
pub(super) const TEXT_CHARS_MAX: usize = 2000;
/// Reasons and SPF results kept of one record.
pub(super) const LIST_MAX: usize = 100;

/// What of a record decides whether it can be stored (spec section 13, rule 4).
#[derive(Default)]
struct Row {
    is_there: bool,
    source_ip: Option<IpAddr>,
    message_count: Option<u64>,
}

impl Pass {
    /// Reads a `<record>`, whose start tag was the last; `None` if it cannot be stored.
    pub(super) fn record(&mut self, position: u32) -> Result<Option<Record>, Error> {
        let offset = self.reader.offset();
        let mut record = empty_record(position);
        let mut row = Row::default();
        let mut seen = Seen::default();
        while let Some(tag) = self.reader.next()? {
            // R8: the same element by another name.
            let tag = if tag == Tag::Identities {
                Tag::Identifiers
            } else {
                tag
            };
            match tag {
                Tag::Row | Tag::Identifiers | Tag::AuthResults if seen.again(tag) => {
                    self.repeated(&format!("record/{}", tag.name()))?;
                }
                Tag::Row => self.row(&mut row, &mut record)?,
                Tag::Identifiers => self.identifiers(&mut record)?,
                Tag::AuthResults => self.auth_results(&mut record)?,
                _ => self.unknown("record")?,
            }
        }
        self.reader.end_record()?;
        if !row.is_there {
            self.notes
                .add(WarningCode::RecordWithoutRow, "record", offset);
        }
        let (Some(source_ip), Some(message_count)) = (row.source_ip, row.message_count) else {
            return Ok(None);
        };
        record.source_ip = source_ip;
        record.message_count = message_count;
        Ok(Some(record))
    }

    fn row(&mut self, row: &mut Row, record: &mut Record) -> Result<(), Error> {
        const SOURCE_IP: &str = "record/row/source_ip";
        const COUNT: &str = "record/row/count";
        let offset = self.reader.offset();
        let mut seen = Seen::default();
        row.is_there = true;
        while let Some(tag) = self.reader.next()? {
            match tag {
                Tag::SourceIp | Tag::Count | Tag::PolicyEvaluated if seen.again(tag) => {
                    self.repeated(&format!("record/row/{}", tag.name()))?;
                }
                Tag::SourceIp => {
                    let text = self.reader.text()?;
                    // R2: strictly an address, with nothing around it.
                    row.source_ip = text.value.parse().ok();
                    if row.source_ip.is_none() {
                        let code = WarningCode::BadSourceIp;
                        self.notes
                            .add_text(code, SOURCE_IP, text.offset, &text.value);
                    }
                }
                Tag::Count => {
                    let text = self.reader.text()?;
                    row.message_count = count(&text.value);
                    if row.message_count.is_none() {
                        let code = WarningCode::BadCount;
                        self.notes.add_text(code, COUNT, text.offset, &text.value);
                    }
                }
                Tag::PolicyEvaluated => self.policy_evaluated(record)?,
                _ => self.unknown("record/row")?,
            }
        }
        if !seen.has(Tag::SourceIp) {
            self.notes.add(WarningCode::BadSourceIp, SOURCE_IP, offset);
        }
        if !seen.has(Tag::Count) {
            self.notes.add(WarningCode::BadCount, COUNT, offset);
        }
        Ok(())
    }

    fn policy_evaluated(&mut self, record: &mut Record) -> Result<(), Error> {
        const DISPOSITION: &str = "record/row/policy_evaluated/disposition";
        const DKIM: &str = "record/row/policy_evaluated/dkim";
        const SPF: &str = "record/row/policy_evaluated/spf";
        let mut seen = Seen::default();
        while let Some(tag) = self.reader.next()? {
            let element = match tag {
                Tag::Disposition => DISPOSITION,
                Tag::Dkim => DKIM,
                Tag::Spf => SPF,
                Tag::Reason => {
                    self.reason(record)?;
                    continue;
                }
                _ => {
                    self.unknown("record/row/policy_evaluated")?;
                    continue;
                }
            };
            if seen.again(tag) {
                self.repeated(element)?;
                continue;
            }
            let mut value = Value {
                element,
                text: self.reader.text()?,
                odd_values: &mut record.odd_values,
                notes: &mut self.notes,
            };
            match tag {
                Tag::Disposition => {
                    record.disposition = value.word(Disposition::from_word, |_| None);
                }
                Tag::Dkim => record.dkim_aligned = value.word(aligned, |_| None),
                _ => record.spf_aligned = value.word(aligned, |_| None),
            }
        }
        Ok(())
    }

    fn reason(&mut self, record: &mut Record) -> Result<(), Error> {
        const PATH: &str = "record/row/policy_evaluated/reason";
        const TYPE: &str = "record/row/policy_evaluated/reason/type";
        const COMMENT: &str = "record/row/policy_evaluated/reason/comment";
        if record.reasons.len() == LIST_MAX {
            self.notes
                .add(WarningCode::Omitted, PATH, self.reader.offset());
            return self.reader.skip();
        }
        let mut seen = Seen::default();
        let (mut kind, mut comment) = (None, None);
        while let Some(tag) = self.reader.next()? {
            let element = match tag {
                Tag::Type => TYPE,
                Tag::Comment => COMMENT,
                _ => {
                    self.unknown(PATH)?;
                    continue;
                }
            };
            if seen.again(tag) {
                self.repeated(element)?;
                continue;
            }
            let text = self.reader.text()?;
            match tag {
                Tag::Type => kind = reason_kind(&text, element, &mut self.notes),
                _ => comment = stored(&text, TEXT_CHARS_MAX, element, &mut self.notes),
            }
        }
        if kind.is_none() && !seen.has(Tag::Type) {
            // R7: bare text is the type (rspamd).
            kind = reason_kind(&self.reader.loose_text(), PATH, &mut self.notes);
        }
        if kind.is_some() || comment.is_some() {
            record.reasons.push(Reason { kind, comment });
        }
        Ok(())
    }

    fn identifiers(&mut self, record: &mut Record) -> Result<(), Error> {
        let mut seen = Seen::default();
        while let Some(tag) = self.reader.next()? {
            let (slot, element) = match tag {
                Tag::HeaderFrom => (&mut record.header_from, "record/identifiers/header_from"),
                Tag::EnvelopeFrom => (
                    &mut record.envelope_from,
                    "record/identifiers/envelope_from",
                ),
                Tag::EnvelopeTo => (&mut record.envelope_to, "record/identifiers/envelope_to"),
                _ => {
                    self.unknown("record/identifiers")?;
                    continue;
                }
            };
            if seen.again(tag) {
                self.repeated(element)?;
                continue;
            }
            *slot = stored_domain(&self.reader.text()?, element, &mut self.notes);
        }
        Ok(())
    }
}

fn empty_record(position: u32) -> Record {
    Record {
        position,
        source_ip: Ipv4Addr::UNSPECIFIED.into(),
        message_count: 0,
        disposition: None,
        dkim_aligned: None,
        spf_aligned: None,
        reasons: Vec::new(),
        header_from: None,
        envelope_from: None,
        envelope_to: None,
        dkim: Vec::new(),
        dkim_omitted: 0,
        spf: Vec::new(),
        odd_values: Vec::new(),
    }
}

/// R5: words of the raw results also occur here, and say nothing about alignment.
fn aligned(word: &str) -> Option<bool> {
    match word {
        "pass" => Some(true),
        "fail" => Some(false),
        _ => None,
    }
}

/// The text of an element with a fixed set of words, and where to keep it if it is none of them.
pub(super) struct Value<'a> {
    /// Path from below `<feedback>`.
    pub(super) element: &'static str,
    pub(super) text: Text<'a>,
    pub(super) odd_values: &'a mut Vec<OddValue>,
    pub(super) notes: &'a mut Notes,
}

impl Value<'_> {
    /// The value of the word. Words outside the format are kept as they are; some of them have a clear meaning.
    #[inline]
    pub(super) fn word<T>(
        &mut self,
        from_word: fn(&str) -> Option<T>,
        from_odd_word: fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.text.value.is_empty() {
            return None;
        }
        word(&self.text.value, from_word).or_else(|| {
            self.keep();
            word(&self.text.value, from_odd_word)
        })
    }

    fn keep(&mut self) {
        let text = &self.text.value;
        let offset = self.text.offset;
        self.notes
            .add_text(WarningCode::UnknownValue, self.element, offset, text);
        let below_record = self.element.strip_prefix("record/").unwrap_or(self.element);
        self.odd_values.push(OddValue {
            element: below_record.strip_prefix("row/").unwrap_or(below_record),
            text: clean(text, NAME_CHARS_MAX).0.into(),
        });
    }
}

/// Text to keep: `None` if empty, cut to its limit with a warning.
#[inline]
pub(super) fn stored(
    text: &Text<'_>,
    chars_max: usize,
    element: &str,
    notes: &mut Notes,
) -> Option<CompactString> {
    if text.is_simple && text.value.len() <= chars_max {
        return (!text.value.is_empty()).then(|| CompactString::new(&text.value));
    }
    let value = cut(text, chars_max, element, notes);
    (!value.is_empty()).then(|| value.into())
}

#[inline]
pub(super) fn stored_domain(
    text: &Text<'_>,
    element: &str,
    notes: &mut Notes,
) -> Option<CompactString> {
    let name = &*text.value;
    if text.is_simple && name.len() <= NAME_CHARS_MAX && !name.ends_with('.') {
        return (!name.is_empty()).then(|| name.into());
    }
    let value = cut(text, NAME_CHARS_MAX, element, notes);
    let domain = domain(&value);
    (!domain.is_empty()).then(|| domain.into())
}

fn cut<'a>(text: &'a Text<'_>, chars_max: usize, element: &str, notes: &mut Notes) -> Cow<'a, str> {
    let (value, is_cut) = clean(&text.value, chars_max);
    if is_cut {
        notes.add(WarningCode::TextCut, element, text.offset);
    }
    value
}

fn reason_kind(text: &Text<'_>, element: &str, notes: &mut Notes) -> Option<CompactString> {
    const WORDS: [&str; 7] = [
        // "forwarded" and "sampled_out": RFC 7489 only; gone in RFC 9990, which has "policy_test_mode" instead.
        "forwarded",
        "sampled_out",
        "trusted_forwarder",
        "mailing_list",
        "local_policy",
        "other",
        "policy_test_mode",
    ];
    let value = cut(text, NAME_CHARS_MAX, element, notes);
    if value.is_empty() {
        return None;
    }
    let kind = lower_case(&value);
    if !WORDS.contains(&kind.as_ref()) {
        let code = WarningCode::UnknownValue;
        notes.add_text(code, element, text.offset, &value);
    }
    Some(kind.into())
}
