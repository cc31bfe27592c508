//! `<auth_results>`: what DKIM and SPF said, aligned or not.

use super::{
    Pass, Seen,
    record::{LIST_MAX, NAME_CHARS_MAX, TEXT_CHARS_MAX, Value, stored, stored_domain},
};
use crate::{
    DkimAuthResult, DkimResult, Error, Record, SpfAuthResult, SpfResult, SpfScope, WarningCode,
    xml::Tag,
};

impl Pass {
    pub(super) fn auth_results(&mut self, record: &mut Record) -> Result<(), Error> {
        while let Some(tag) = self.reader.next()? {
            match tag {
                // R18: hundreds of them occur.
                Tag::Dkim if record.dkim.len() >= self.limits.dkim_results => {
                    let (code, offset) = (WarningCode::DkimOmitted, self.reader.offset());
                    self.notes.add(code, "record/auth_results/dkim", offset);
                    record.dkim_omitted = record.dkim_omitted.saturating_add(1);
                    self.reader.skip()?;
                }
                Tag::Spf if record.spf.len() >= LIST_MAX => {
                    let (code, offset) = (WarningCode::Omitted, self.reader.offset());
                    self.notes.add(code, "record/auth_results/spf", offset);
                    self.reader.skip()?;
                }
                Tag::Dkim => self.dkim(record)?,
                Tag::Spf => self.spf(record)?,
                _ => self.unknown("record/auth_results")?,
            }
        }
        Ok(())
    }

    fn dkim(&mut self, record: &mut Record) -> Result<(), Error> {
        let mut seen = Seen::default();
        let mut dkim = DkimAuthResult {
            domain: None,
            selector: None,
            result: None,
            human_result: None,
        };
        while let Some(tag) = self.reader.next()? {
            let element = match tag {
                Tag::Domain => "record/auth_results/dkim/domain",
                Tag::Selector => "record/auth_results/dkim/selector",
                Tag::Result => "record/auth_results/dkim/result",
                Tag::HumanResult => "record/auth_results/dkim/human_result",
                _ => {
                    self.unknown("record/auth_results/dkim")?;
                    continue;
                }
            };
            if seen.again(tag) {
                self.repeated(element)?;
                continue;
            }
            let text = self.reader.text()?;
            let notes = &mut self.notes;
            match tag {
                Tag::Domain => dkim.domain = stored_domain(&text, element, notes),
                Tag::Selector => dkim.selector = stored(&text, NAME_CHARS_MAX, element, notes),
                Tag::HumanResult => {
                    dkim.human_result = stored(&text, TEXT_CHARS_MAX, element, notes);
                }
                _ => {
                    let odd_values = &mut record.odd_values;
                    let mut value = Value {
                        element,
                        text,
                        odd_values,
                        notes,
                    };
                    dkim.result = value.word(DkimResult::from_word, odd_dkim_result);
                }
            }
        }
        // R16: an entry without a domain is kept, one without anything says nothing.
        if dkim.domain.is_some() || dkim.selector.is_some() || dkim.result.is_some() {
            push(&mut record.dkim, dkim);
        }
        Ok(())
    }

    fn spf(&mut self, record: &mut Record) -> Result<(), Error> {
        let mut seen = Seen::default();
        let mut spf = SpfAuthResult {
            domain: None,
            scope: None,
            result: None,
            human_result: None,
        };
        while let Some(tag) = self.reader.next()? {
            let element = match tag {
                Tag::Domain => "record/auth_results/spf/domain",
                Tag::Scope => "record/auth_results/spf/scope",
                Tag::Result => "record/auth_results/spf/result",
                Tag::HumanResult => "record/auth_results/spf/human_result",
                _ => {
                    self.unknown("record/auth_results/spf")?;
                    continue;
                }
            };
            if seen.again(tag) {
                self.repeated(element)?;
                continue;
            }
            let text = self.reader.text()?;
            let notes = &mut self.notes;
            match tag {
                Tag::Domain => spf.domain = stored_domain(&text, element, notes),
                Tag::HumanResult => {
                    spf.human_result = stored(&text, TEXT_CHARS_MAX, element, notes);
                }
                _ => {
                    let odd_values = &mut record.odd_values;
                    let mut value = Value {
                        element,
                        text,
                        odd_values,
                        notes,
                    };
                    if tag == Tag::Scope {
                        spf.scope = value.word(SpfScope::from_word, |_| None);
                    } else {
                        spf.result = value.word(SpfResult::from_word, odd_spf_result);
                    }
                }
            }
        }
        // R11: gosecure and others send entries without content. R13: a domain may be missing, a result not.
        if spf.domain.is_some() || spf.result.is_some() {
            push(&mut record.spf, spf);
        }
        Ok(())
    }
}

/// Most records have one entry of a kind, and a list grows to four at once by itself.
fn push<T>(list: &mut Vec<T>, entry: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(entry);
}

/// R15, where the meaning is clear. "invalid" may be anything and stays text.
fn odd_dkim_result(word: &str) -> Option<DkimResult> {
    match word {
        "hardfail" => Some(DkimResult::Fail),
        // RFC 7489 appendix C names both for SPF.
        "unknown" => Some(DkimResult::TempError),
        "error" => Some(DkimResult::PermError),
        _ => None,
    }
}

/// R14: docomo and OpenDMARC.
fn odd_spf_result(word: &str) -> Option<SpfResult> {
    match word {
        "hardfail" => Some(SpfResult::Fail),
        "unknown" => Some(SpfResult::TempError),
        "error" => Some(SpfResult::PermError),
        _ => None,
    }
}
