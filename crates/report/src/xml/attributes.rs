//! The attributes of a start tag.

use super::scan::{begins_name, blank_length, is_forbidden, name_length, reference};

/// Checks the attributes in `bytes`, which stand between the name and the end of a tag, and hands each to `visit`.
/// An error says what is wrong and where in `bytes`.
pub(super) fn attributes<'a>(
    bytes: &'a [u8],
    attributes_max: usize,
    mut visit: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<(), (Fault, usize)> {
    let mut names: Vec<&[u8]> = Vec::new();
    let mut place = 0;
    loop {
        let blank = blank_length(&bytes[place..]);
        place += blank;
        let Some(&first) = bytes.get(place) else {
            return Ok(());
        };
        if blank == 0 || !begins_name(first) {
            return Err((
                Fault::Malformed("a blank or the end of the tag is expected"),
                place,
            ));
        }
        if names.len() == attributes_max {
            return Err((Fault::TooMany, place));
        }
        let name = &bytes[place..place + name_length(&bytes[place..])];
        if names.contains(&name) {
            return Err((Fault::Malformed("an attribute is repeated"), place));
        }
        names.push(name);
        place += name.len();
        place += blank_length(&bytes[place..]);
        if bytes.get(place) != Some(&b'=') {
            return Err((Fault::Malformed("an attribute has no value"), place));
        }
        place += 1;
        place += blank_length(&bytes[place..]);
        let Some(&quote @ (b'"' | b'\'')) = bytes.get(place) else {
            return Err((Fault::Malformed("an attribute value is not quoted"), place));
        };
        place += 1;
        let Some(length) = memchr::memchr(quote, &bytes[place..]) else {
            return Err((Fault::Malformed("an attribute value does not end"), place));
        };
        let value = &bytes[place..place + length];
        check_value(value).map_err(|(what, at)| (Fault::Malformed(what), place + at))?;
        visit(name, value);
        place += length + 1;
    }
}

/// What may be wrong with attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(&'static str),
    TooMany,
}

fn check_value(value: &[u8]) -> Result<(), (&'static str, usize)> {
    for (place, &byte) in value.iter().enumerate() {
        if byte == b'<' {
            return Err(("'<' in an attribute value", place));
        }
        if is_forbidden(byte) {
            return Err(("a control character in an attribute value", place));
        }
        if byte == b'&' && reference(&value[place..]).is_none() {
            return Err(("'&' that begins no known entity", place));
        }
    }
    Ok(())
}
