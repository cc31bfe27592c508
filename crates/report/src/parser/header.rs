//! `<report_metadata>` and `<policy_published>`.

use super::{
    Pass, Seen,
    notes::{Notes, clean},
    value::{address, domain, timestamp, word},
};
use crate::{
    Alignment, Code, DateRange, DiscoveryMethod, Error, Header, Policy, PolicyPublished,
    ReportMetadata, WarningCode,
    error::quoted,
    xml::{Tag, Text},
};

const NAME_CHARS_MAX: usize = 255;
const REPORT_ID_CHARS_MAX: usize = 512;
const TEXT_CHARS_MAX: usize = 2000;
/// Texts of `<error>` kept (M21), and their bytes together.
const ERRORS_MAX: usize = 100;
const ERRORS_BYTES_MAX: usize = 20_000;

/// Where an element stands. Its path is put together only if there is something to say about it.
#[derive(Clone, Copy, Debug)]
struct Element {
    parent: &'static str,
    tag: Tag,
}

impl Element {
    fn of(parent: &'static str, tag: Tag) -> Self {
        Self { parent, tag }
    }

    fn path(self) -> String {
        let separator = if self.parent.is_empty() { "" } else { "/" };
        [self.parent, separator, self.tag.name()].concat()
    }
}

/// The header as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    xml_namespace: Option<String>,
    /// The first one counts, even if it is empty.
    seen_version: bool,
    pub(super) version: Option<String>,
    report_metadata: Option<ReportMetadata>,
    policy_published: Option<PolicyPublished>,
}

impl Draft {
    pub(super) fn new(namespace: Option<String>) -> Self {
        Self {
            xml_namespace: namespace.map(|uri| clean(uri.trim(), NAME_CHARS_MAX).0.into_owned()),
            ..Self::default()
        }
    }

    /// Whether all is there that a report must have in front of its records.
    pub(super) fn is_complete(&self) -> bool {
        self.report_metadata.is_some() && self.policy_published.is_some()
    }

    pub(super) fn header(&self) -> Result<Header, Error> {
        let missing = |element: &str| {
            let detail = format!("{element} is missing");
            Error::new(Code::MissingElement, 0, detail).at(element)
        };
        Ok(Header {
            version: self.version.clone(),
            xml_namespace: self.xml_namespace.clone(),
            peer: None,
            report_metadata: self
                .report_metadata
                .clone()
                .ok_or_else(|| missing("report_metadata"))?,
            policy_published: self
                .policy_published
                .clone()
                .ok_or_else(|| missing("policy_published"))?,
        })
    }
}

impl Pass {
    pub(super) fn version(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.draft.seen_version, true) {
            return self.repeated("version");
        }
        let element = Element::of("", Tag::Version);
        let text = self.reader.text()?;
        self.draft.version = stored(&text, NAME_CHARS_MAX, element, &mut self.notes);
        Ok(())
    }

    pub(super) fn report_metadata(&mut self) -> Result<(), Error> {
        if self.draft.report_metadata.is_some() {
            return self.repeated("report_metadata");
        }
        let mut seen = Seen::default();
        let mut error = Vec::new();
        let (mut org_name, mut email, mut contact) = (None, None, None);
        let (mut report_id, mut date_range, mut generator) = (None, None, None);
        while let Some(tag) = self.reader.next()? {
            let element = Element::of("report_metadata", tag);
            if tag != Tag::Unknown && tag != Tag::Error && seen.again(tag) {
                self.repeated(&element.path())?;
                continue;
            }
            let (slot, chars_max) = match tag {
                Tag::OrgName => (&mut org_name, NAME_CHARS_MAX),
                Tag::Email => (&mut email, NAME_CHARS_MAX),
                Tag::ExtraContactInfo => (&mut contact, TEXT_CHARS_MAX),
                Tag::ReportId => (&mut report_id, REPORT_ID_CHARS_MAX),
                Tag::Generator => (&mut generator, NAME_CHARS_MAX),
                Tag::Error => {
                    self.error(element, &mut error)?;
                    continue;
                }
                Tag::DateRange => {
                    date_range = Some(self.date_range()?);
                    continue;
                }
                _ => {
                    self.unknown("report_metadata")?;
                    continue;
                }
            };
            *slot = stored(&self.reader.text()?, chars_max, element, &mut self.notes);
        }
        let offset = self.reader.offset();
        let email = email.map(|text| address(&text).to_owned());
        if org_name.is_none()
            && let Some((_, domain)) = email.as_ref().and_then(|email| email.rsplit_once('@'))
            && !domain.is_empty()
        {
            // M2.
            org_name = Some(domain.to_owned());
            let code = WarningCode::OrgNameMissing;
            self.notes.add(code, "report_metadata/org_name", offset);
        }
        self.draft.report_metadata = Some(ReportMetadata {
            org_name: org_name.ok_or_else(|| missing("report_metadata/org_name", offset))?,
            email,
            extra_contact_info: contact,
            report_id: report_id.ok_or_else(|| missing("report_metadata/report_id", offset))?,
            date_range: date_range.ok_or_else(|| missing("report_metadata/date_range", offset))?,
            error,
            generator,
        });
        Ok(())
    }

    fn error(&mut self, element: Element, errors: &mut Vec<String>) -> Result<(), Error> {
        let text = stored(
            &self.reader.text()?,
            TEXT_CHARS_MAX,
            element,
            &mut self.notes,
        );
        let bytes: usize = errors.iter().chain(&text).map(String::len).sum();
        if errors.len() < ERRORS_MAX && bytes <= ERRORS_BYTES_MAX {
            errors.extend(text);
        } else {
            let offset = self.reader.offset();
            self.notes
                .add(WarningCode::Omitted, &element.path(), offset);
        }
        Ok(())
    }

    fn date_range(&mut self) -> Result<DateRange, Error> {
        const PATH: &str = "report_metadata/date_range";
        let start = self.reader.offset();
        let (mut begin, mut end) = (None, None);
        while let Some(tag) = self.reader.next()? {
            let element = Element::of(PATH, tag);
            let slot = match tag {
                Tag::Begin => &mut begin,
                Tag::End => &mut end,
                _ => {
                    self.unknown(PATH)?;
                    continue;
                }
            };
            if slot.is_some() {
                self.repeated(&element.path())?;
                continue;
            }
            let text = self.reader.text()?;
            if text.value.is_empty() {
                return Err(missing(&element.path(), text.offset));
            }
            let Some(time) = timestamp(&text.value) else {
                let element = element.path();
                let detail = format!("{element} is {}", quoted(text.value.as_bytes()));
                return Err(Error::new(Code::BadValue, text.offset, detail).at(element));
            };
            *slot = Some(time.seconds);
            if time.was_milliseconds {
                let code = WarningCode::Milliseconds;
                self.notes
                    .add_text(code, &element.path(), text.offset, &text.value);
            }
        }
        let range = DateRange {
            begin: begin.ok_or_else(|| missing("report_metadata/date_range/begin", start))?,
            end: end.ok_or_else(|| missing("report_metadata/date_range/end", start))?,
        };
        if range.begin > range.end {
            self.notes.add(WarningCode::PeriodReversed, PATH, start);
        } else if range.is_long() {
            self.notes.add(WarningCode::PeriodLong, PATH, start);
        }
        Ok(range)
    }

    pub(super) fn policy_published(&mut self) -> Result<(), Error> {
        const PATH: &str = "policy_published";
        if self.draft.policy_published.is_some() {
            return self.repeated(PATH);
        }
        let mut seen = Seen::default();
        let mut policy = PolicyPublished {
            domain: String::new(),
            domain_as_reported: None,
            discovery_method: None,
            p: None,
            sp: None,
            np: None,
            adkim: None,
            aspf: None,
            pct: None,
            fo: None,
            testing: None,
        };
        while let Some(tag) = self.reader.next()? {
            let element = Element::of(PATH, tag);
            if tag != Tag::Unknown && seen.again(tag) {
                self.repeated(&element.path())?;
                continue;
            }
            match tag {
                Tag::Domain
                | Tag::DiscoveryMethod
                | Tag::P
                | Tag::Sp
                | Tag::Np
                | Tag::Adkim
                | Tag::Aspf
                | Tag::Pct
                | Tag::Fo
                | Tag::Testing => {
                    let text = self.reader.text()?;
                    set_policy(&mut policy, &text, element, &mut self.notes);
                }
                _ => self.unknown(PATH)?,
            }
        }
        if policy.domain.is_empty() {
            return Err(missing("policy_published/domain", self.reader.offset()));
        }
        self.draft.policy_published = Some(policy);
        Ok(())
    }
}

fn set_policy(policy: &mut PolicyPublished, text: &Text<'_>, element: Element, notes: &mut Notes) {
    match element.tag {
        Tag::Domain => {
            let Some(reported) = stored(text, NAME_CHARS_MAX, element, notes) else {
                return;
            };
            // M20.
            policy.domain = domain(&reported).into_owned();
            policy.domain_as_reported = (policy.domain != reported).then_some(reported);
        }
        Tag::DiscoveryMethod => {
            policy.discovery_method = enumerated(text, DiscoveryMethod::from_word, element, notes);
        }
        Tag::P => policy.p = enumerated(text, Policy::from_word, element, notes),
        Tag::Sp => policy.sp = enumerated(text, Policy::from_word, element, notes),
        Tag::Np => policy.np = enumerated(text, Policy::from_word, element, notes),
        Tag::Adkim => policy.adkim = enumerated(text, Alignment::from_word, element, notes),
        Tag::Aspf => policy.aspf = enumerated(text, Alignment::from_word, element, notes),
        Tag::Pct => {
            let percent = |word: &str| word.parse().ok().filter(|percent| *percent <= 100);
            policy.pct = enumerated(text, percent, element, notes);
        }
        Tag::Fo => policy.fo = stored(text, NAME_CHARS_MAX, element, notes),
        Tag::Testing => {
            let flag = |word: &str| match word {
                "y" => Some(true),
                "n" => Some(false),
                _ => None,
            };
            policy.testing = enumerated(text, flag, element, notes);
        }
        _ => {}
    }
}

/// Text to keep: `None` if empty, cut to its limit with a warning.
fn stored(
    text: &Text<'_>,
    chars_max: usize,
    element: Element,
    notes: &mut Notes,
) -> Option<String> {
    let (value, is_cut) = clean(&text.value, chars_max);
    if is_cut {
        notes.add(WarningCode::TextCut, &element.path(), text.offset);
    }
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// A value of the format; another one is a warning that carries it (M14 to M18).
fn enumerated<T>(
    text: &Text<'_>,
    from_word: fn(&str) -> Option<T>,
    element: Element,
    notes: &mut Notes,
) -> Option<T> {
    if text.value.is_empty() {
        return None;
    }
    let value = word(&text.value, from_word);
    if value.is_none() {
        let code = WarningCode::UnknownValue;
        notes.add_text(code, &element.path(), text.offset, &text.value);
    }
    value
}

fn missing(element: &str, offset: u64) -> Error {
    let detail = format!("{element} is missing or empty");
    Error::new(Code::MissingElement, offset, detail).at(element)
}
