//! What FETCH tells of a mail.

use async_imap::imap_proto::{AttributeValue, Response};
use time::{OffsetDateTime, macros::format_description};
use uuid::Uuid;

use crate::delivery_id::delivery_id;

/// A mail, before its body is fetched.
#[derive(Clone, Copy)]
pub(super) struct Mail {
    pub(super) uid: u32,
    pub(super) size_bytes: u64,
    pub(super) delivery_id: Uuid,
}

/// What makes a mail this one and no other, beside its own UID, date and size.
pub(super) struct Identity<'a> {
    pub(super) mailbox: &'a str,
    pub(super) folder: &'a str,
    pub(super) uid_validity: u32,
}

impl Identity<'_> {
    pub(super) fn mail(&self, answer: &Response<'_>) -> Option<Mail> {
        let Response::Fetch(_, attributes) = answer else {
            return None;
        };
        let uid = uid_of(answer)?;
        let (mut size, mut date) = (None, OffsetDateTime::UNIX_EPOCH);
        for attribute in attributes {
            match attribute {
                AttributeValue::Rfc822Size(bytes) => size = Some(*bytes),
                AttributeValue::InternalDate(text) => date = internal_date(text),
                _ => {}
            }
        }
        // Without it, this tells of something else, a flag that changed.
        let size = size?;
        let identity: [&[u8]; 5] = [
            self.mailbox.as_bytes(),
            self.folder.as_bytes(),
            &self.uid_validity.to_be_bytes(),
            &uid.to_be_bytes(),
            &size.to_be_bytes(),
        ];
        Some(Mail {
            uid,
            size_bytes: size.into(),
            delivery_id: delivery_id(date, &identity),
        })
    }
}

/// A date that cannot be read is the same each time all the same.
fn internal_date(text: &str) -> OffsetDateTime {
    let format = format_description!(
        "[day padding:none]-[month repr:short]-[year] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    OffsetDateTime::parse(text.trim(), format).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(super) fn uid_of(answer: &Response<'_>) -> Option<u32> {
    let Response::Fetch(_, attributes) = answer else {
        return None;
    };
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })
}

pub(super) fn body_of<'a>(answer: &'a Response<'_>) -> Option<&'a [u8]> {
    let Response::Fetch(_, attributes) = answer else {
        return None;
    };
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::BodySection {
            section: None,
            data: Some(data),
            ..
        } => Some(data.as_ref()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_of_servers_are_read() {
        for text in ["17-Jul-2024 02:44:25 -0700", " 7-Jul-2024 02:44:25 -0700"] {
            let read = internal_date(text);
            assert_eq!(
                read.time(),
                datetime!(2024-07-17 02:44:25 -7).time(),
                "{text}"
            );
        }
        assert_eq!(internal_date("yesterday"), OffsetDateTime::UNIX_EPOCH);
    }
}
