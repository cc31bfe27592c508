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

/// A one in each of the eight bytes of a word, the first of which is the lowest.
const LANES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = LANES << 7;

/// Marks, by their top bits, the bytes of a word that are at least `least`. Bytes that are no ASCII may or may not be
/// marked.
#[inline]
const fn at_least(least: u8, word: u64) -> u64 {
    (word | TOPS) - LANES * least as u64
}

/// The number of the first byte that is marked, or not zero.
#[inline]
const fn first_of(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
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

/// The length of plain text without blanks, capital letters and most punctuation: of what most elements hold. Measured
/// eight bytes at a time, it may end early where `bytes` end.
#[inline]
pub(super) fn simple_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some(chunk) = bytes[length..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let is_upper = at_least(b'^', word) & !at_least(0x7f, word);
        let is_lower = at_least(b'\'', word) & !at_least(b'<', word);
        let others = (word | !(is_upper | is_lower)) & TOPS;
        if others != 0 {
            return length + first_of(others);
        }
        length += 8;
    }
    length
}

pub(super) fn text_length(bytes: &[u8]) -> usize {
    length_of(TEXT, bytes)
}

/// Most blanks are a line break and an indentation, which is measured eight bytes at a time.
#[inline]
pub(super) fn blank_length(bytes: &[u8]) -> usize {
    const SPACES: u64 = LANES * b' ' as u64;
    let mut length = 0;
    while let Some(&byte) = bytes.get(length)
        && is_blank(byte)
    {
        length += 1;
        while let Some(chunk) = bytes[length..].first_chunk() {
            let others = u64::from_le_bytes(*chunk) ^ SPACES;
            if others != 0 {
                length += first_of(others);
                break;
            }
            length += 8;
        }
    }
    length
}

#[inline]
pub(super) fn name_length(bytes: &[u8]) -> usize {
    length_of(NAME, bytes)
}

#[inline]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With every byte at every place of a word and of the next one.
    fn check_all(length: fn(&[u8]) -> usize, fill: u8, belongs: fn(u8) -> bool) {
        for place in 0..16 {
            for byte in 0..=u8::MAX {
                let mut bytes = [fill; 24];
                bytes[place] = byte;
                let expected = if belongs(byte) { 24 } else { place };
                assert_eq!(length(&bytes), expected, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn simple_text() {
        check_all(
            simple_length,
            b'a',
            |byte| matches!(byte, b'\''..b'<' | b'^'..=b'~'),
        );
    }

    #[test]
    fn blanks() {
        check_all(blank_length, b' ', is_blank);
        assert_eq!(blank_length(b"\r\n\t\t  <"), 6);
        assert_eq!(blank_length(b" "), 1);
        assert_eq!(blank_length(b""), 0);
    }
}
