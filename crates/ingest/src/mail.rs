//! Mail, whichever way it comes: checked for where it comes from, then taken in.

use std::{io, os::unix::fs::FileExt as _};

use report::Body;
use store::Authenticity;

use crate::{
    Accepted, Delivery, Error, Intake, accept,
    authenticity::{Check, Verifier},
    refuse::{Refusal, refuse},
};

/// Of a longer header only this much is looked at.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Characters of a name in the ledger.
const NAME_CHARS_MAX: usize = 200;

/// Finds out where a mail comes from and takes it in, or rejects it where that is asked for and it cannot show it.
pub(crate) async fn accept_mail(
    intake: &Intake,
    verifier: &Verifier,
    check: &Check,
    delivery: Delivery,
) -> Result<Accepted, Error> {
    let delivery = Delivery {
        authenticity: verify(verifier, check, &delivery.body).await,
        ..delivery
    };
    if check.require_authentic {
        let checked = delivery.authenticity.as_ref();
        match checked.and_then(|authenticity| authenticity.dmarc_pass) {
            Some(true) => {}
            Some(false) => return refuse(intake, delivery, Refusal::NotAuthentic).await,
            None => return Err(Error::Unverified),
        }
    }
    accept(intake, delivery).await
}

/// Rejects a mail for what is known of it without looking into it.
pub(crate) async fn refuse_mail(
    intake: &Intake,
    delivery: Delivery,
    refusal: Refusal,
) -> Result<Accepted, Error> {
    refuse(intake, delivery, refusal).await
}

/// What the mail shows of where it comes from; `None` if it is not checked.
async fn verify(_verifier: &Verifier, _check: &Check, _body: &Body) -> Option<Authenticity> {
    None
}

/// What a person knows a mail by: its subject, which names the policy domain and the reporter, or else its Message-ID.
pub(crate) fn name_of(body: &Body) -> Option<String> {
    let mut start = vec![0; HEADER_BYTES_MAX];
    let start = match body {
        Body::Memory(bytes) => &bytes[..bytes.len().min(HEADER_BYTES_MAX)],
        Body::File(file) => {
            let length = read_start(|place, offset| file.read_at(place, offset), &mut start);
            &start[..length]
        }
    };
    let header = String::from_utf8_lossy(start);
    field(&header, "subject").or_else(|| field(&header, "message-id"))
}

/// As much as can be read: the name is a help, and whoever takes the mail in finds out what is wrong with the file.
fn read_start(read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>, start: &mut [u8]) -> usize {
    let mut length = 0;
    while length < start.len() {
        match read_at(&mut start[length..], length as u64) {
            Ok(0) | Err(_) => break,
            Ok(more) => length += more,
        }
    }
    length
}

/// A field of a header, unfolded (RFC 5322 section 2.2.3).
fn field(header: &str, name: &str) -> Option<String> {
    let mut lines = header
        .lines()
        .take_while(|line| !line.is_empty())
        .skip_while(|line| {
            !line
                .split_once(':')
                .is_some_and(|(field, _)| field.trim_end().eq_ignore_ascii_case(name))
        });
    let (_, first) = lines.next()?.split_once(':')?;
    let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
    let words = std::iter::once(first)
        .chain(folded)
        .flat_map(str::split_whitespace);
    let text = words.collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(NAME_CHARS_MAX).collect();
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn name(mail: &'static str) -> Option<String> {
        name_of(&Body::Memory(Bytes::from_static(mail.as_bytes())))
    }

    #[test]
    fn a_mail_is_known_by_its_subject_or_else_by_its_message_id() {
        assert_eq!(
            name(
                "From: a@b\r\nSUBJECT: Report Domain: example.com\r\n\tSubmitter: b\r\n  Report-ID: <1>\r\nTo: c\r\n\r\n"
            ),
            Some("Report Domain: example.com Submitter: b Report-ID: <1>".into())
        );
        assert_eq!(
            name("Message-ID: <1@b>\nSubject:\n\n"),
            Some("<1@b>".into())
        );
        assert_eq!(name("From: a@b\r\n\r\nSubject: in the body\r\n"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_long_name_is_cut() {
        let mail = format!("Subject: {}\r\n\r\n", "ä".repeat(5000));
        let name = name_of(&Body::Memory(mail.into())).unwrap();
        assert_eq!(name.chars().count(), NAME_CHARS_MAX);
    }
}
