//! What a client says, taken apart.

use std::ops::RangeInclusive;

use super::folders::Stored;

/// A set such as `1:3,5,7:*`.
pub(super) struct UidSet {
    ranges: Vec<RangeInclusive<u32>>,
}

impl UidSet {
    /// `*` is the highest UID there is. `None` if it is not a set.
    pub(super) fn parse(text: &str, highest: u32) -> Option<Self> {
        let number = |text: &str| match text {
            "*" => Some(highest),
            _ => text.parse().ok(),
        };
        let range = |text: &str| {
            let (first, last) = text.split_once(':').unwrap_or((text, text));
            let (first, last) = (number(first)?, number(last)?);
            // The order does not matter: RFC 9051 section 9, seq-range.
            Some(first.min(last)..=first.max(last))
        };
        let ranges = text.split(',').map(range).collect::<Option<_>>()?;
        Some(Self { ranges })
    }

    pub(super) fn contains(&self, uid: u32) -> bool {
        self.ranges.iter().any(|range| range.contains(&uid))
    }
}

/// The words of a command; quotes are taken off, and parentheses too, which no command here needs to be understood.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        if first.is_whitespace() || "()".contains(first) {
            continue;
        }
        let mut word = String::new();
        if first == '"' {
            while let Some(next) = characters.next().filter(|next| *next != '"') {
                let escaped = (next == '\\').then(|| characters.next()).flatten();
                word.push(escaped.unwrap_or(next));
            }
        } else {
            word.push(first);
            while let Some(next) = characters.next_if(|next| !next.is_whitespace() && *next != ')')
            {
                word.push(next);
            }
        }
        words.push(word);
    }
    words
}

/// Whether a mail is what SEARCH looks for; `None` if a key is unknown.
pub(super) fn is_found(uid: u32, mail: &Stored, keys: &[String], highest: u32) -> Option<bool> {
    let mut keys = keys.iter();
    let mut found = true;
    while keys.len() > 0 {
        // No short cut: an unknown key is an error wherever it stands.
        found &= key_holds(uid, mail, &mut keys, highest)?;
    }
    Some(found)
}

fn key_holds(
    uid: u32,
    mail: &Stored,
    keys: &mut std::slice::Iter<'_, String>,
    highest: u32,
) -> Option<bool> {
    let key = keys.next()?.to_ascii_uppercase();
    Some(match key.as_str() {
        "ALL" => true,
        "SEEN" => mail.has("\\Seen"),
        "UNSEEN" => !mail.has("\\Seen"),
        "DELETED" => mail.has("\\Deleted"),
        "UNDELETED" => !mail.has("\\Deleted"),
        "KEYWORD" => mail.has(keys.next()?),
        "UNKEYWORD" => !mail.has(keys.next()?),
        "LARGER" => mail.stated_size > keys.next()?.parse().ok()?,
        "SMALLER" => mail.stated_size < keys.next()?.parse().ok()?,
        "UID" => UidSet::parse(keys.next()?, highest)?.contains(uid),
        "NOT" => !key_holds(uid, mail, keys, highest)?,
        "OR" => {
            let first = key_holds(uid, mail, keys, highest)?;
            key_holds(uid, mail, keys, highest)? | first
        }
        _ => return None,
    })
}

/// `BODY.PEEK[]<0.100>` and its like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) peek: bool,
    /// First octet and number of octets.
    pub(super) part: Option<(usize, usize)>,
}

impl Section {
    /// The first one among what FETCH is to give.
    pub(super) fn find(items: &str) -> Option<Self> {
        let (before, after) = items.split_once('[')?;
        let (name, rest) = after.split_once(']')?;
        let part = rest.strip_prefix('<').and_then(|rest| {
            let (first, length) = rest.split_once('>')?.0.split_once('.')?;
            Some((first.parse().ok()?, length.parse().ok()?))
        });
        Some(Self {
            name: name.to_owned(),
            peek: before.ends_with("BODY.PEEK"),
            part,
        })
    }
}
