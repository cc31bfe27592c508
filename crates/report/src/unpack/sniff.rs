//! What bytes are, told from their beginning alone. Names and declared types never decide (C1 to C3).

use crate::peers::{self, Form};

/// Bytes that tell what a document is, unless all of them are blank.
pub(super) const PREFIX_BYTES: usize = 512;
/// Bytes looked at in the end.
pub(super) const PREFIX_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    Gzip,
    Zip,
    Json,
    /// A report that another program kept.
    Peer(Form),
    /// Markup, of whatever kind and encoding.
    Xml,
    /// Begins like a mail message.
    Message,
    /// Outlook's `winmail.dat`, which may hold a report (C10).
    Tnef,
    /// Outlook's `.msg`, or another file of Microsoft's old kind (C10).
    Ole,
    /// Anything else, named.
    Other(&'static str),
}

/// Tells what a document is from its first bytes.
pub(super) fn sniff(prefix: &[u8]) -> Kind {
    const MAGIC: &[(&[u8], Kind)] = &[
        (b"\x1f\x8b", Kind::Gzip),
        (b"PK\x03\x04", Kind::Zip),
        (b"PK\x05\x06", Kind::Zip),
        (b"PK\x07\x08", Kind::Zip),
        (b"<\0", Kind::Xml),
        (b"\0<", Kind::Xml),
        (b"\xff\xfe<\0", Kind::Xml),
        (b"\xfe\xff\0<", Kind::Xml),
        (b"\x78\x9f\x3e\x22", Kind::Tnef),
        (b"\xd0\xcf\x11\xe0", Kind::Ole),
        (b"\x89PNG", Kind::Other("a PNG image")),
        (b"%PDF", Kind::Other("a PDF document")),
        (b"7z\xbc\xaf\x27\x1c", Kind::Other("a 7z archive")),
        (b"Rar!", Kind::Other("a RAR archive")),
        (b"BZh", Kind::Other("a bzip2 file")),
        (b"\xfd7zXZ", Kind::Other("an xz file")),
        (b"\x28\xb5\x2f\xfd", Kind::Other("a zstd file")),
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| prefix.starts_with(magic)) {
        return *kind;
    }
    let text = without_mark(prefix).trim_ascii_start();
    if let Some(form) = peers::form(text) {
        return Kind::Peer(form);
    }
    match text.first() {
        None => Kind::Empty,
        Some(b'<') => Kind::Xml,
        Some(b'{') => Kind::Json,
        Some(b'[') => Kind::Other("a list in JSON: `ruad import` reads that of parsedmarc"),
        Some(_) if is_header_line(text) || is_postmark(text) => Kind::Message,
        Some(_) => Kind::Other("neither XML, gzip, zip nor a message"),
    }
}

/// The local name of the first element, if it is in the prefix. Sixteen-bit encodings are read by leaving out their
/// zero bytes, which is good enough for telling `feedback` from `html`.
pub(super) fn first_element(prefix: &[u8]) -> Option<Vec<u8>> {
    let narrow: Vec<u8> = prefix.iter().copied().filter(|&byte| byte != 0).collect();
    let mut rest = narrow.as_slice();
    loop {
        rest = &rest[memchr::memchr(b'<', rest)? + 1..];
        let end = match rest {
            [b'?', ..] => "?>",
            [b'!', b'-', b'-', ..] => "-->",
            [b'!', ..] => ">",
            _ => break,
        };
        rest = &rest[memchr::memmem::find(rest, end.as_bytes())?..];
    }
    let end = rest
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'))?;
    let name = &rest[..end];
    let local = name.rsplit(|&byte| byte == b':').next()?;
    // A stray schema tag around the report (D8).
    if local == b"schema" && memchr::memmem::find(rest, b"<feedback").is_some() {
        return Some(b"feedback".to_vec());
    }
    Some(local.to_vec())
}

/// Bytes without a UTF-8 byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A field name and a colon (RFC 5322 section 2.2).
pub(super) fn is_header_line(text: &[u8]) -> bool {
    let name = text
        .iter()
        .position(|&byte| !byte.is_ascii_graphic() || byte == b':');
    name.is_some_and(|end| end > 0 && text[end..].trim_ascii_start().starts_with(b":"))
}

/// The line an mbox puts in front of a message.
pub(super) fn is_postmark(text: &[u8]) -> bool {
    text.starts_with(b"From ")
        && text
            .splitn(2, |&byte| byte == b'\n')
            .nth(1)
            .is_some_and(is_header_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let check = |bytes: &[u8], kind| {
            assert_eq!(sniff(bytes), kind, "{}", bytes.escape_ascii());
        };
        check(b"", Kind::Empty);
        check(b"\xef\xbb\xbf \r\n", Kind::Empty);
        check(b"\x1f\x8b\x08", Kind::Gzip);
        check(b"PK\x03\x04", Kind::Zip);
        check(b"PKCS", Kind::Other("neither XML, gzip, zip nor a message"));
        check(b"\xef\xbb\xbf\n <feedback>", Kind::Xml);
        check(b"\xff\xfe<\0f\0", Kind::Xml);
        check(b"\0<\0f", Kind::Xml);
        check(b" {}", Kind::Json);
        check(b"Subject: hello", Kind::Message);
        check(b"X-Odd : hello", Kind::Message);
        check(
            b"From a@b Thu Jan 1 00:00:00 1970\nSubject: x",
            Kind::Message,
        );
        check(
            b"From here on: text",
            Kind::Other("neither XML, gzip, zip nor a message"),
        );
        check(
            b"not a header: x",
            Kind::Other("neither XML, gzip, zip nor a message"),
        );
        check(b": x", Kind::Other("neither XML, gzip, zip nor a message"));
    }

    #[test]
    fn first_elements() {
        let check = |text: &[u8], name: Option<&[u8]>| {
            assert_eq!(
                first_element(text).as_deref(),
                name,
                "{}",
                text.escape_ascii()
            );
        };
        check(b"<feedback>", Some(b"feedback"));
        check(
            b"<?xml?><!-- <a> --><!DOCTYPE b><n:feedback c='d'>",
            Some(b"feedback"),
        );
        check(b"<html/>", Some(b"html"));
        check(b"<\0h\0i\0>\0", Some(b"hi"));
        check(b"<xs:schema><feedback>", Some(b"feedback"));
        check(b"<feedb", None);
        check(b"<!-- ", None);
    }
}
