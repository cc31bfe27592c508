//! The element names of both report formats.

/// Bytes to look at to see a whole tag of a known name.
const TAG_BYTES: usize = 24;

macro_rules! tags {
    ($($tag:ident = $name:literal,)+) => {
        /// An element by its local name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Tag {
            $($tag,)+
            /// A name of neither format.
            Unknown,
        }

        const TAGS: &[Tag] = &[$(Tag::$tag,)+];
        const NAMES: &[&str] = &[$($name,)+ ""];
        const START_TAGS: &[Pattern] = &[$(Pattern::new(&["<", $name, ">"]),)+ Pattern::NEVER];
        const END_TAGS: &[Pattern] = &[$(Pattern::new(&["</", $name, ">"]),)+ Pattern::NEVER];

        impl Tag {
            pub(super) fn from_name(name: &[u8]) -> Self {
                match str::from_utf8(name) {
                    $(Ok($name) => Self::$tag,)+
                    _ => Self::Unknown,
                }
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
    // R8: junc.org and others.
    Identities = "identities",
    Identifiers = "identifiers",
    HeaderFrom = "header_from",
    EnvelopeTo = "envelope_to",
    EnvelopeFrom = "envelope_from",
    AuthResults = "auth_results",
    Selector = "selector",
    Result = "result",
    HumanResult = "human_result",
    Scope = "scope",
}

impl Tag {
    /// The local name; empty for [`Tag::Unknown`].
    #[inline]
    pub(crate) fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The element that `bytes` begin with the start tag of, if it has no attributes and can be told at a glance.
    #[inline]
    pub(super) fn from_start_tag(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TAG_BYTES] = bytes.first_chunk()?;
        let [_, first, second, third, fourth, ..] = *bytes;
        let tag = INDEX.tag([first, second, third, fourth]);
        START_TAGS[tag as usize].matches(bytes).then_some(tag)
    }

    /// Whether `bytes` begin with the end tag, written without blanks. `false` also where they are too few to tell.
    #[inline]
    pub(super) fn is_ended_by(self, bytes: &[u8]) -> bool {
        let bytes = bytes.first_chunk();
        bytes.is_some_and(|bytes| END_TAGS[self as usize].matches(bytes))
    }
}

/// What a tag looks like, for comparing it in three steps whatever its length.
struct Pattern {
    words: [u64; 3],
    /// The bits that belong to the tag.
    masks: [u64; 3],
}

impl Pattern {
    const NEVER: Self = Self {
        words: [1; 3],
        masks: [0; 3],
    };

    const fn new(parts: &[&str]) -> Self {
        let (mut words, mut masks) = ([0; 3], [0; 3]);
        let (mut part, mut place) = (0, 0);
        while part < parts.len() {
            let bytes = parts[part].as_bytes();
            let mut byte = 0;
            while byte < bytes.len() {
                let shift = place % 8 * 8;
                words[place / 8] |= (bytes[byte] as u64) << shift;
                masks[place / 8] |= 0xff << shift;
                place += 1;
                byte += 1;
            }
            part += 1;
        }
        Self { words, masks }
    }

    #[inline]
    fn matches(&self, bytes: &[u8; TAG_BYTES]) -> bool {
        let (words, _) = bytes.as_chunks();
        let difference =
            |place: usize| u64::from_le_bytes(words[place]) & self.masks[place] ^ self.words[place];
        difference(0) | difference(1) | difference(2) == 0
    }
}

/// The elements by a hash of the first four bytes behind the `<`. Of those that begin alike it has the last one, and
/// none whose tag is shorter.
struct Index {
    multiplier: u32,
    tags: [Tag; 256],
}

static INDEX: Index = Index::build();

impl Index {
    /// Tries multipliers until no two elements share a place.
    const fn build() -> Self {
        let mut multiplier = 1_u32;
        loop {
            if let Some(index) = Self::with(multiplier) {
                return index;
            }
            multiplier = multiplier.wrapping_mul(0x9e37_79b1);
        }
    }

    const fn with(multiplier: u32) -> Option<Self> {
        let mut index = Self {
            multiplier,
            tags: [Tag::Unknown; 256],
        };
        let mut number = 0;
        while number < TAGS.len() {
            let tag = TAGS[number];
            number += 1;
            let Some(start) = start_of(tag) else {
                continue;
            };
            let place = index.place(start);
            if let Some(other) = start_of(index.tags[place])
                && u32::from_le_bytes(other) != u32::from_le_bytes(start)
            {
                return None;
            }
            index.tags[place] = tag;
        }
        Some(index)
    }

    #[inline]
    const fn place(&self, start: [u8; 4]) -> usize {
        (u32::from_le_bytes(start).wrapping_mul(self.multiplier) >> 24) as usize
    }

    #[inline]
    fn tag(&self, start: [u8; 4]) -> Tag {
        self.tags[self.place(start)]
    }
}

/// The first four bytes behind the `<` of a start tag without attributes, if there are so many.
const fn start_of(tag: Tag) -> Option<[u8; 4]> {
    match *NAMES[tag as usize].as_bytes() {
        [first, second, third] => Some([first, second, third, b'>']),
        [first, second, third, fourth, ..] => Some([first, second, third, fourth]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(start: &[u8]) -> Vec<u8> {
        [start, &[b'x'; TAG_BYTES]].concat()
    }

    #[test]
    fn a_name_is_its_tag() {
        for &tag in TAGS {
            assert_eq!(Tag::from_name(tag.name().as_bytes()), tag);
        }
        assert_eq!(Tag::from_name(b""), Tag::Unknown);
        assert_eq!(Tag::from_name(b"Row"), Tag::Unknown);
        assert_eq!(Tag::from_name(b"row\xbe"), Tag::Unknown);
    }

    #[test]
    fn start_tags_are_told_by_all_of_their_bytes() {
        for &tag in TAGS {
            let written = format!("<{}>", tag.name()).into_bytes();
            let told = Tag::from_start_tag(&padded(&written));
            assert!(told.is_none_or(|told| told == tag), "{tag:?}: {told:?}");
            for place in 0..written.len() {
                let mut other = written.clone();
                other[place] ^= 0x80;
                assert_eq!(Tag::from_start_tag(&padded(&other)), None, "{tag:?}");
            }
        }
        let in_records = ["record", "row", "envelope_from", "policy_evaluated", "spf"];
        for name in in_records {
            let written = padded(format!("<{name}>").as_bytes());
            let told = Tag::from_start_tag(&written);
            assert_eq!(told.map(Tag::name), Some(name));
        }
        assert_eq!(Tag::from_start_tag(b"<row>"), None);
        assert_eq!(Tag::from_start_tag(&[0; TAG_BYTES]), None);
    }

    #[test]
    fn end_tags_are_told_by_all_of_their_bytes() {
        for &tag in TAGS {
            let written = format!("</{}>", tag.name()).into_bytes();
            assert!(tag.is_ended_by(&padded(&written)), "{tag:?}");
            for place in 0..written.len() {
                let mut other = written.clone();
                other[place] ^= 0x80;
                assert!(!tag.is_ended_by(&padded(&other)), "{tag:?}");
            }
        }
        assert!(!Tag::Unknown.is_ended_by(&padded(b"</>")));
        assert!(!Tag::Row.is_ended_by(b"</row>"));
    }
}
