//! Values out of the texts of elements.

use std::borrow::Cow;

/// A time in milliseconds begins here: as seconds it would be the year 5138 (M7).
const SECONDS_MAX: i64 = 100_000_000_000;
/// The first second of the year 1.
const SECONDS_MIN: i64 = -62_135_596_800;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp {
    pub(super) seconds: i64,
    pub(super) was_milliseconds: bool,
}

/// A number of seconds since 1970, cut to whole ones (M6), or of milliseconds (M7).
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = whole.parse().ok().filter(|_| is_fraction)?;
    let was_milliseconds = number > SECONDS_MAX;
    let seconds = if was_milliseconds {
        number / 1000
    } else {
        number
    };
    (SECONDS_MIN..=SECONDS_MAX)
        .contains(&seconds)
        .then_some(Timestamp {
            seconds,
            was_milliseconds,
        })
}

/// A domain as it is compared: lower-cased, without trailing dots; of an address, the part after the `@` (R9).
pub(super) fn domain(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(['<', '>', ' ']);
    let domain = text.rsplit_once('@').map_or(text, |(_, domain)| domain);
    lower_case(domain.trim_end_matches('.'))
}

pub(super) fn lower_case(text: &str) -> Cow<'_, str> {
    let is_lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if text.bytes().all(is_lower) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// The address in what may have a display name, angle brackets or a scheme around it (M3); else the text as it is.
pub(super) fn address(text: &str) -> &str {
    let address = match (text.rfind('<'), text.rfind('>')) {
        (Some(start), Some(end)) if start < end => text[start + 1..end].trim(),
        _ => text,
    };
    let address = address.strip_prefix("mailto:").unwrap_or(address);
    if address.contains('@') { address } else { text }
}

/// The value of a word of the format, in whatever case.
#[inline]
pub(super) fn word<T>(text: &str, from_word: fn(&str) -> Option<T>) -> Option<T> {
    from_word(text).or_else(|| from_word(&text.to_ascii_lowercase()))
}

/// A number of messages: not negative, and no more than a signed number of 64 bits holds (R3).
pub(super) fn count(text: &str) -> Option<u64> {
    let count: i64 = text.parse().ok()?;
    count.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let check = |text, seconds| {
            assert_eq!(timestamp(text).map(|time| time.seconds), seconds, "{text}");
        };
        check("1337270400", Some(1_337_270_400));
        check("1337270400.0", Some(1_337_270_400));
        check("1337270400.", Some(1_337_270_400));
        check("1337270400000", Some(1_337_270_400));
        check("-1", Some(-1));
        check("100", Some(100));
        check("1e9", None);
        check("1337270400.x", None);
        check("13372704000000000", None);
        check("99999999999999999999", None);
        check("2024-01-01", None);
        check("", None);
    }

    #[test]
    fn domains() {
        assert_eq!(domain("Example.ORG."), "example.org");
        assert_eq!(domain("example.org.."), "example.org");
        assert_eq!(domain("Name <User@Example.org>"), "example.org");
        assert_eq!(domain("B\u{dc}CHER.example"), "b\u{fc}cher.example");
        assert_eq!(domain("<>"), "");
    }

    #[test]
    fn addresses() {
        assert_eq!(address("<a@b.example>"), "a@b.example");
        assert_eq!(address("DMARC <a@b.example> "), "a@b.example");
        assert_eq!(address("mailto:a@b.example"), "a@b.example");
        assert_eq!(address("no address"), "no address");
        assert_eq!(address("<none>"), "<none>");
    }
}
