//! What single bytes may be in XML 1.0, and the scans over runs of them.

/// Text that needs no second look: ASCII, no markup, no reference, no bracket that may end CDATA.
const PLAIN: u8 = 1;
const BLANK: u8 = 2;
/// May continue a name. All of what is not ASCII is taken for letters.
const NAME: u8 = 4;
/// May begin a name.
const NAME_START: u8 = 8;
/// May not stand anywhere in a document.
const FORBIDDEN: u8 = 16;
/// Text of any kind, as far as single bytes can tell.
const TEXT: u8 = 32;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'\t' | b'\n' | b'\r' | b' ' => TEXT | PLAIN | BLANK,
            0..b' ' => FORBIDDEN,
            b'<' | b'&' | b']' => 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => TEXT | PLAIN | NAME | NAME_START,
            b'0'..=b'9' | b'-' | b'.' => TEXT | PLAIN | NAME,
            0x80.. => TEXT | NAME | NAME_START,
            _ => TEXT | PLAIN,
        };
        byte += 1;
    }
    classes
}

#[inline]
fn length_of(class: u8, bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| CLASSES[usize::from(byte)] & class == 0)
        .unwrap_or(bytes.len())
}

#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    length_of(PLAIN, bytes)
}

pub(super) fn text_length(bytes: &[u8]) -> usize {
    length_of(TEXT, bytes)
}

#[inline]
pub(super) fn blank_length(bytes: &[u8]) -> usize {
    length_of(BLANK, bytes)
}

#[inline]
pub(super) fn name_length(bytes: &[u8]) -> usize {
    length_of(NAME, bytes)
}

pub(super) fn is_blank(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & BLANK != 0
}

pub(super) fn begins_name(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & NAME_START != 0
}

pub(super) fn is_forbidden(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & FORBIDDEN != 0
}

/// Bytes from an `&` that are enough to see any reference that is accepted.
pub(super) const REFERENCE_BYTES_MAX: usize = 32;

/// Resolves a reference that `bytes` begin with: its character and its length. Only the five predefined entities
/// exist, since a document type declaration is never read.
pub(super) fn reference(bytes: &[u8]) -> Option<(char, usize)> {
    let bytes = &bytes[..bytes.len().min(REFERENCE_BYTES_MAX)];
    let end = memchr::memchr(b';', bytes)?;
    let char = match bytes.get(1..end)? {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x', digits @ ..] => char_of(digits, 16)?,
        [b'#', digits @ ..] => char_of(digits, 10)?,
        _ => return None,
    };
    Some((char, end + 1))
}

/// XML 1.0 section 2.2: not every code point is a character.
fn char_of(digits: &[u8], radix: u32) -> Option<char> {
    if !digits.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let number = u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?;
    match char::from_u32(number)? {
        '\t' | '\n' | '\r' => char::from_u32(number),
        '\0'..' ' | '\u{fffe}' | '\u{ffff}' => None,
        char => Some(char),
    }
}
