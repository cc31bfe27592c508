//! The end of a message, and the dots in it (RFC 5321 section 4.5.2).

/// Finds the end of a message in pieces of any size and takes out the dots that were put in.
///
/// Only CRLF, a dot and CRLF end a message. Whoever also takes a bare LF for the end of a line can be made to see two messages
/// where the server before it saw one (SMTP smuggling). smtp-proto has this too, but for it CRLF, a dot, CR and CRLF are an
/// end as well, and a dot right behind the command is none.
#[derive(Debug, Default)]
pub(super) struct Unstuff(State);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Behind a CRLF; the one of the command counts.
    #[default]
    LineStart,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind such a dot and CR.
    DotCr,
    Cr,
    Text,
}

/// How far a piece was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// To its end, which is not the message's.
    All,
    /// To the end of the message, behind so many bytes.
    End(usize),
}

impl Unstuff {
    /// Reads a piece and adds what belongs to the message to `message`.
    pub(super) fn read(&mut self, piece: &[u8], message: &mut Vec<u8>) -> Read {
        let mut place = 0;
        while let Some(&byte) = piece.get(place) {
            if let State::Text = self.0 {
                let rest = &piece[place..];
                let text = rest.iter().position(|byte| *byte == b'\r');
                let text = text.unwrap_or(rest.len());
                if text > 0 {
                    message.extend_from_slice(&rest[..text]);
                    place += text;
                    continue;
                }
            }
            place += 1;
            self.0 = match (self.0, byte) {
                (State::LineStart, b'.') => {
                    self.0 = State::Dot;
                    continue;
                }
                (State::Dot, b'\r') => {
                    self.0 = State::DotCr;
                    continue;
                }
                (State::DotCr, b'\n') => return Read::End(place),
                (State::Cr, b'\n') => State::LineStart,
                (state, b'\r') => {
                    push_held(state, message);
                    State::Cr
                }
                (state, _) => {
                    push_held(state, message);
                    State::Text
                }
            };
            message.push(byte);
        }
        Read::All
    }
}

/// A CR that could have been part of the end is part of the message after all.
fn push_held(state: State, message: &mut Vec<u8>) {
    if let State::DotCr = state {
        message.push(b'\r');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message and what is behind it, read in pieces of one size.
    fn read(data: &[u8], piece_bytes: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut unstuff = Unstuff::default();
        let mut message = Vec::new();
        for (number, piece) in data.chunks(piece_bytes).enumerate() {
            if let Read::End(length) = unstuff.read(piece, &mut message) {
                return Some((message, data[number * piece_bytes + length..].to_vec()));
            }
        }
        None
    }

    fn check(data: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(message, rest)| (message.into(), rest.into()));
        for piece_bytes in 1..=data.len() {
            assert_eq!(read(data.as_bytes(), piece_bytes), expected, "{data:?}");
        }
    }

    #[test]
    fn the_end_is_found_and_the_dots_are_taken_out() {
        check(".\r\nQUIT\r\n", Some(("", "QUIT\r\n")));
        check("a\r\n.\r\n", Some(("a\r\n", "")));
        check(
            "..\r\n..a\r\n.b\r\na.\r\n.\r\nx",
            Some((".\r\n.a\r\nb\r\na.\r\n", "x")),
        );
        check("\r\n\r\n.\r\n", Some(("\r\n\r\n", "")));
    }

    #[test]
    fn nothing_else_is_an_end() {
        for data in [
            "a\n.\n",
            "a\n.\r\n",
            "a\r.\r",
            "a\r.\r\n",
            "a\r\n.\n",
            "a\r\n.\r",
            "a\r\n.\r\r\n",
            "a\r\n. \r\n",
            "a\r\n..\r\n",
            "a\r\n\0.\r\n",
        ] {
            check(data, None);
        }
    }

    #[test]
    fn what_looks_like_an_end_stays_in_the_message() {
        check(
            "a\n.\nb\r\n.\nc\r.\r\nd\r\n.\r\re\r\n.\r\n",
            Some(("a\n.\nb\r\n\nc\r.\r\nd\r\n\r\re\r\n", "")),
        );
        check("\r\n.\r\r\n.\r\n", Some(("\r\n\r\r\n", "")));
    }
}
