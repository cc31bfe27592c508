//! Mailboxes in one file: messages behind "From " lines (RFC 4155), quoted as mboxrd.

use std::io::{self, BufRead, Read as _};

/// Longest line looked at as a whole; the rest of a longer one is taken over as it is.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Whether a line is the separator before a message: `From `, a sender, and a date with a time and a year.
///
/// A sentence in a message that happens to begin with "From " has no time and year; most programs quote it anyway.
pub(crate) fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else {
        return false;
    };
    let mut words = rest
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        .skip(1);
    let is_time = |word: &[u8]| {
        (word.len() == 5 || word.len() == 8)
            && word.iter().enumerate().all(|(place, byte)| {
                if place % 3 == 2 {
                    *byte == b':'
                } else {
                    byte.is_ascii_digit()
                }
            })
    };
    let is_year = |word: &[u8]| word.len() == 4 && word.iter().all(u8::is_ascii_digit);
    words.any(is_time) && words.any(is_year)
}

/// The messages of an mbox, one at a time.
#[derive(Debug)]
pub(crate) struct Messages<R> {
    reader: R,
    message_bytes_max: u64,
    /// The reader stands behind a separator.
    inside: bool,
    line: Vec<u8>,
}

impl<R: BufRead> Messages<R> {
    /// Of a longer message only one byte more than `message_bytes_max` is kept, which is enough to see that it is too
    /// large.
    pub(crate) fn new(reader: R, message_bytes_max: u64) -> Self {
        Self {
            reader,
            message_bytes_max,
            inside: false,
            line: Vec::new(),
        }
    }

    /// Reads the next line, or the next piece of a very long one. Returns `false` at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let read = (&mut self.reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut self.line)?;
        Ok(read > 0)
    }

    fn read_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.inside && !self.read_line()? {
            return Ok(None);
        }
        self.inside = false;
        let mut message = Vec::new();
        let mut line_start = true;
        let mut after_blank = true;
        while self.read_line()? {
            if line_start && after_blank && is_separator(self.line.trim_ascii_end()) {
                self.inside = true;
                break;
            }
            let quoted = line_start && is_quoted_from(&self.line);
            let line = if quoted {
                &self.line[1..]
            } else {
                &self.line[..]
            };
            let room = (self.message_bytes_max + 1).saturating_sub(message.len() as u64);
            message.extend_from_slice(&line[..line.len().min(room as usize)]);
            after_blank = line_start && self.line.trim_ascii_end().is_empty();
            line_start = self.line.ends_with(b"\n");
        }
        // The blank line in front of a separator belongs to the mailbox, not to the message.
        if message.ends_with(b"\n\n") {
            message.pop();
        }
        Ok(Some(message))
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_message().transpose()
    }
}

/// `>From `, `>>From ` and so on: one `>` was added when the message was put into the mailbox.
fn is_quoted_from(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start();
    let unquoted = rest
        .iter()
        .position(|byte| *byte != b'>')
        .unwrap_or(rest.len());
    rest.len() == line.len() && unquoted > 0 && rest[unquoted..].starts_with(b"From ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(mbox: &str) -> Vec<String> {
        Messages::new(mbox.as_bytes(), 1000)
            .map(|message| String::from_utf8(message.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn messages_are_split_and_unquoted() {
        let mbox = "From a@example.com Tue Jun 30 00:00:00 2026\nSubject: 1\n\n>From here\n>>From there\n\n\
                    From b@example.com Tue Jun 30 00:00 2026\nSubject: 2\n\nbody\n";
        assert_eq!(
            messages(mbox),
            [
                "Subject: 1\n\nFrom here\n>From there\n",
                "Subject: 2\n\nbody\n"
            ]
        );
    }

    #[test]
    fn a_sentence_is_no_separator() {
        let mbox = "From a@example.com Tue Jun 30 00:00:00 2026\nSubject: 1\n\nFrom here on see 2026.\n\nFrom then on\n";
        assert_eq!(messages(mbox).len(), 1);
        assert!(!is_separator(b"From: a@example.com 00:00:00 2026"));
        assert!(!is_separator(b"From a@example.com"));
    }

    #[test]
    fn a_separator_needs_a_blank_line_in_front() {
        let mbox = "From a@example.com Tue Jun 30 00:00:00 2026\nSubject: 1\n\ntext\n\
                    From b@example.com Tue Jun 30 00:00:00 2026\ntext\n";
        assert_eq!(messages(mbox).len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_and_the_next_one_found() {
        let long = "x".repeat(200_000);
        let mbox = format!(
            "From a@example.com Tue Jun 30 00:00:00 2026\nSubject: 1\n\n{long}\n\n\
             From b@example.com Tue Jun 30 00:00:00 2026\nSubject: 2\n\n"
        );
        let messages = messages(&mbox);
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].len(), 1001);
        assert_eq!(messages[1], "Subject: 2\n");
    }

    #[test]
    fn an_empty_file_has_no_message() {
        assert!(messages("").is_empty());
    }
}
