//! The header section of a mail, within limits.

use std::io;

use mail_auth::AuthenticatedMessage;
use report::Body;

use super::domain;
use crate::body::start;

/// A longer header section is not read. That of a real mail has some 10 KiB.
pub(super) const HEADER_BYTES_MAX: usize = 256 * 1024;

/// With more fields, nothing is verified: looking for those that are signed takes time by their number.
const FIELDS_MAX: usize = 1_000;

/// Reads the header section and hands it on; `None` if there is none, or none of a real mail.
pub(super) fn with_head<T>(
    mail: &Body,
    read: impl FnOnce(&AuthenticatedMessage) -> T,
) -> io::Result<Option<T>> {
    let start = start(mail, HEADER_BYTES_MAX)?;
    let Some(message) = AuthenticatedMessage::parse(&start) else {
        return Ok(None);
    };
    let is_plausible =
        message.body_offset() < HEADER_BYTES_MAX && message.headers.len() <= FIELDS_MAX;
    Ok(is_plausible.then(|| read(&message)))
}

/// The domain of the From field.
///
/// `None` without one, and with several fields or domains: DMARC has nothing to hold on to then (RFC 7489 section
/// 6.6.1), since a signature of one domain says nothing of the others, and programs differ in which of them they show.
pub(super) fn from_domain(message: &AuthenticatedMessage) -> Option<String> {
    let is_from = |(name, _): &&(&[u8], &[u8])| name.trim_ascii().eq_ignore_ascii_case(b"from");
    if message.headers.iter().filter(is_from).count() != 1 {
        return None;
    }
    let (first, others) = message.froms().split_first()?;
    let domain = domain::of_address(first)?;
    let is_same = |address: &String| domain::of_address(address).as_ref() == Some(&domain);
    others.iter().all(is_same).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_domain_of(mail: impl Into<Vec<u8>>) -> Option<String> {
        let mail = Body::Memory(mail.into().into());
        with_head(&mail, from_domain).unwrap().flatten()
    }

    #[test]
    fn the_from_domain_is_that_of_the_only_from_field() {
        for (header, expected) in [
            ("From: a@example.com", Some("example.com")),
            ("FROM: Someone <a@EXAMPLE.com>", Some("example.com")),
            (
                "from: \"b@example.net\" <a@example.com>",
                Some("example.com"),
            ),
            ("From: a@example.com, b@example.com", Some("example.com")),
            ("From:\r\n a@example.com", Some("example.com")),
            ("From: a@b\u{fc}cher.example", Some("xn--bcher-kva.example")),
            ("From: a@example.com, b@example.net", None),
            ("From: a@example.com\r\nFrom: a@example.com", None),
            ("From: a@example.com\r\nFrom : b@example.net", None),
            ("From: nobody", None),
            ("From: a@", None),
            ("From: a@exam\0ple.com", None),
            ("From:", None),
            ("Subject: no From", None),
        ] {
            let mail = format!("{header}\r\n\r\nBody\r\n");
            assert_eq!(from_domain_of(mail).as_deref(), expected, "{header:?}");
        }
    }

    #[test]
    fn what_has_no_header_section_has_no_from_domain() {
        for mail in [
            "",
            "\r\n",
            "\0",
            ":",
            "no header at all",
            "\r\n\r\nFrom: a@example.com",
        ] {
            assert_eq!(from_domain_of(mail), None, "{mail:?}");
        }
    }

    #[test]
    fn a_header_section_beyond_the_limits_is_not_read() {
        let from = "From: a@example.com\r\n";
        let long = format!("{from}X: {}\r\n\r\n", "x".repeat(HEADER_BYTES_MAX));
        assert_eq!(from_domain_of(long), None);
        let many = format!("{from}{}\r\n", "X: x\r\n".repeat(FIELDS_MAX));
        assert_eq!(from_domain_of(many), None);
    }

    #[test]
    fn many_and_huge_from_fields_take_no_time() {
        let many = "From: a@example.com\r\n".repeat(10_000);
        assert_eq!(from_domain_of(format!("{many}\r\n")), None);
        let huge = "a@example.com, ".repeat(17_000);
        let huge = format!("From: {huge}a@example.com\r\n\r\n");
        assert_eq!(from_domain_of(huge).as_deref(), Some("example.com"));
        let nested = format!("From: {}a@example.com\r\n\r\n", "(".repeat(200_000));
        assert_eq!(from_domain_of(nested), None);
    }
}
