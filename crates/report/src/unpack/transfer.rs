//! Content transfer encodings, decoded as leniently as mail in the wild needs it (C11).

use std::borrow::Cow;

use memchr::memchr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    Identity,
    Base64,
    QuotedPrintable,
}

impl Transfer {
    /// The value of a `Content-Transfer-Encoding` field. Unknown words mean no encoding: the content decides.
    pub(super) fn from_field(value: &[u8]) -> Self {
        let word = value.trim_ascii();
        let end = word
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
        let word = &word[..end.unwrap_or(word.len())];
        if word.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else if word.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }

    /// Decodes a body. What is declared is not believed where the bytes say otherwise: raw content under a wrong
    /// declaration is taken as it is, and base64 of a report without any declaration is decoded (C6).
    pub(super) fn decode(self, body: &[u8]) -> Cow<'_, [u8]> {
        let text = body.trim_ascii_start();
        let is_raw = text.starts_with(b"<") || body.starts_with(b"\x1f\x8b");
        match self {
            Self::Base64 if !is_raw => Cow::Owned(base64(body)),
            Self::QuotedPrintable if !body.starts_with(b"\x1f\x8b") => {
                let decoded = quoted_printable(body);
                match is_base64_of_report(&decoded) {
                    true => Cow::Owned(base64(&decoded)),
                    false => Cow::Owned(decoded),
                }
            }
            Self::Identity if is_base64_of_report(text) => Cow::Owned(base64(text)),
            Self::Identity | Self::Base64 | Self::QuotedPrintable => Cow::Borrowed(body),
        }
    }
}

/// The beginnings of gzip, zip and XML in base64.
fn is_base64_of_report(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 6] = [
        b"H4sI",
        b"UEsDB",
        b"PD94bW",
        b"PGZlZWRiYWNr",
        b"77u/PD94",
        b"77u/PGZl",
    ];
    STARTS.iter().any(|start| text.starts_with(start))
}

/// Decodes base64, leaving out whatever is not of its alphabet. Padding ends a group, not the text: some senders
/// encode in pieces.
fn base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut group, mut digits) = (0_u32, 0);
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        // Nearly all of a text is groups that nothing stands in.
        if digits == 0
            && let Some(whole) = rest.first_chunk()
            && let Some(decoded) = whole_group(whole)
        {
            bytes.extend_from_slice(&decoded);
            rest = &rest[4..];
            continue;
        }
        rest = after;
        let value = VALUES[usize::from(*byte)];
        if value < 64 {
            group = group << 6 | u32::from(value);
            digits += 1;
        }
        if digits == 4 || *byte == b'=' {
            push_group(&mut bytes, group, digits);
            (group, digits) = (0, 0);
        }
    }
    push_group(&mut bytes, group, digits);
    bytes
}

fn whole_group(digits: &[u8; 4]) -> Option<[u8; 3]> {
    let values = digits.map(|digit| VALUES[usize::from(digit)]);
    let group = values
        .iter()
        .fold(0, |group, &value| group << 6 | u32::from(value));
    let [_, first, second, third] = group.to_be_bytes();
    let is_whole = values.iter().all(|&value| value < 64);
    is_whole.then_some([first, second, third])
}

fn push_group(bytes: &mut Vec<u8>, group: u32, digits: usize) {
    let [_, first, second, third] = match digits {
        4 => group,
        3 => group << 6,
        2 => group << 12,
        _ => return,
    }
    .to_be_bytes();
    bytes.extend_from_slice(&[first, second, third][..digits - 1]);
}

/// The values of base64's digits; of other bytes, more than any digit's.
const VALUES: [u8; 256] = base64_values();

const fn base64_values() -> [u8; 256] {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 64 {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values
}

/// Decodes quoted-printable; what is no valid sequence stays as it is.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = memchr(b'=', rest) {
        bytes.extend_from_slice(&rest[..place]);
        rest = &rest[place + 1..];
        let line_end = memchr(b'\n', rest).filter(|&end| rest[..end].trim_ascii().is_empty());
        match (line_end, rest) {
            (Some(end), _) => rest = &rest[end + 1..],
            (None, [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'='),
            },
            (None, _) => bytes.push(b'='),
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(transfer: Transfer, body: &str, expected: &str) {
        assert_eq!(
            String::from_utf8_lossy(&transfer.decode(body.as_bytes())),
            expected,
            "{body:?}"
        );
    }

    #[test]
    fn base64_is_lenient() {
        check(Transfer::Base64, "aGVsbG8=", "hello");
        check(Transfer::Base64, "aGVsbG8", "hello");
        check(Transfer::Base64, "aG Vs\r\n!bG-8=\r\n", "hello");
        check(Transfer::Base64, "aGVs bG8=aGVsbG8=", "hellohello");
        check(Transfer::Base64, "", "");
    }

    #[test]
    fn declarations_are_not_believed() {
        check(Transfer::Base64, "\r\n<feedback/>", "\r\n<feedback/>");
        check(Transfer::Identity, "PGZlZWRiYWNrLz4=", "<feedback/>");
        check(Transfer::Identity, "hello", "hello");
        check(
            Transfer::QuotedPrintable,
            "PGZlZWRiYWNrLz4=3D",
            "<feedback/>",
        );
    }

    #[test]
    fn quoted_printable_is_lenient() {
        check(Transfer::QuotedPrintable, "<a b=3D\"c\"/>", "<a b=\"c\"/>");
        check(
            Transfer::QuotedPrintable,
            "one=\r\ntwo= \nthree=",
            "onetwothree=",
        );
        check(
            Transfer::QuotedPrintable,
            "a=\"1.0\" =e4",
            "a=\"1.0\" \u{fffd}",
        );
    }

    #[test]
    fn the_field_may_carry_more_than_the_word() {
        assert_eq!(Transfer::from_field(b" BASE64 (c)"), Transfer::Base64);
        assert_eq!(
            Transfer::from_field(b"Quoted-Printable;"),
            Transfer::QuotedPrintable
        );
        assert_eq!(Transfer::from_field(b"8bit"), Transfer::Identity);
    }
}
