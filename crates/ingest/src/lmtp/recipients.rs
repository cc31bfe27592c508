//! Who takes mail.

use std::collections::HashSet;

/// The addresses that take mail.
#[derive(Debug)]
pub(super) struct Recipients(HashSet<String>);

impl Recipients {
    pub(super) fn new(addresses: &[String]) -> Self {
        let plain = |address: &String| address.trim().to_lowercase();
        Self(addresses.iter().map(plain).collect())
    }

    /// Whether an address takes mail: itself, or without what is behind a "+" (RFC 5233), whatever the case of its letters.
    pub(super) fn take(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        if self.0.contains(&address) {
            return true;
        }
        let Some((local_part, domain)) = address.rsplit_once('@') else {
            return false;
        };
        let Some((user, _)) = local_part.split_once('+') else {
            return false;
        };
        self.0.contains(&format!("{user}@{domain}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_details_do_not_matter() {
        let recipients = Recipients::new(&["DMARC@example.com".into(), "a+b@example.com".into()]);
        for taken in [
            "dmarc@example.com",
            "Dmarc@EXAMPLE.com",
            "dmarc+2026+x@example.com",
            "dmarc+@example.com",
            "a+b@example.com",
        ] {
            assert!(recipients.take(taken), "{taken}");
        }
        for other in [
            "dmarc@example.org",
            "xdmarc@example.com",
            "a@example.com",
            "a+c@example.com",
            "+dmarc@example.com",
            "dmarc",
            "",
        ] {
            assert!(!recipients.take(other), "{other}");
        }
    }
}
