//! A mail as it lies in a folder.

use std::collections::BTreeSet;

/// What tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) uid: u32,
    /// With its angle brackets; empty if the mail has none.
    pub(crate) message_id: String,
    pub(crate) subject: String,
    /// Flags (`\Seen`) and keywords (`$RuadRejected`), but not `\Recent`, which says nothing of use.
    pub(crate) flags: BTreeSet<String>,
}

impl Mail {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

/// Flags and keywords between spaces.
pub(super) fn flags_in(text: &str) -> BTreeSet<String> {
    text.split_ascii_whitespace()
        .filter(|flag| *flag != "\\Recent")
        .map(str::to_owned)
        .collect()
}
