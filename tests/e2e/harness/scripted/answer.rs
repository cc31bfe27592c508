//! What the server says to a command.

use std::ops::Range;

/// The bytes of an answer, and where its first literal is.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    literal: Option<Range<usize>>,
}

impl Answer {
    /// Just the tagged line.
    pub(super) fn of(tag: &str, text: &str) -> Self {
        let mut answer = Self::default();
        answer.end(tag, text);
        answer
    }

    pub(super) fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\r\n");
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn literal(&mut self, content: &[u8]) {
        self.line(&format!("{{{}}}", content.len()));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(content);
        self.literal.get_or_insert(start..self.bytes.len());
    }

    pub(super) fn end(&mut self, tag: &str, text: &str) {
        self.line(&format!("{tag} {text}"));
    }

    /// Everything up to the middle of the first literal.
    pub(super) fn half(&self) -> &[u8] {
        let literal = self.literal.clone();
        let literal = literal.expect("the fault is for a command with a literal in its answer");
        &self.bytes[..literal.start + literal.len() / 2]
    }
}
