//! Mail, whichever way it comes: checked for where it comes from, then taken in.

use report::Body;
use tokio::task::spawn_blocking;

use crate::{
    Accepted, Delivery, Error, Intake, accept,
    authenticity::{Check, Verdict, Verifier},
    body::start,
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
    match verifier.verify(check, &delivery.body).await? {
        Verdict::Take(authenticity) => {
            let delivery = Delivery {
                authenticity,
                ..delivery
            };
            accept(intake, delivery).await
        }
        Verdict::Refuse(authenticity) => {
            let delivery = Delivery {
                authenticity: Some(authenticity),
                ..delivery
            };
            refuse(intake, delivery, Refusal::NotAuthentic).await
        }
        Verdict::Later => Err(Error::Unverified),
    }
}

/// What a person knows a mail by: its subject, which names the policy domain and the reporter, or else its Message-ID.
///
/// A file that cannot be read has no name: whoever takes the mail in finds out what is wrong with it.
pub(crate) async fn name_of(body: &Body) -> Option<String> {
    match body {
        Body::Memory(bytes) => name_in(bytes),
        Body::File(_) => {
            let body = body.clone();
            let name = move || name_in(&start(&body, HEADER_BYTES_MAX).ok()?);
            spawn_blocking(name).await.ok().flatten()
        }
    }
}

/// The same of a mail in memory.
pub(crate) fn name_in(mail: &[u8]) -> Option<String> {
    let header = String::from_utf8_lossy(&mail[..mail.len().min(HEADER_BYTES_MAX)]);
    field(&header, "subject").or_else(|| field(&header, "message-id"))
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
    use super::*;

    fn name(mail: &str) -> Option<String> {
        name_in(mail.as_bytes())
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
        let name = name(&mail).unwrap();
        assert_eq!(name.chars().count(), NAME_CHARS_MAX);
    }

    #[tokio::test]
    async fn a_mail_in_a_file_is_known_by_the_same_name() {
        use std::io::Write as _;
        let mail = b"Subject: Report\r\n\r\n";
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(mail).unwrap();
        for body in [Body::File(file.into()), Body::Memory(mail.to_vec().into())] {
            assert_eq!(name_of(&body).await.as_deref(), Some("Report"));
        }
    }
}
