//! Names of domains, and which of them belong together.

/// A domain as it is compared, stored and looked up: A-labels (RFC 5890), lower case, no dot at the end. `None` for
/// what cannot be looked up.
pub(super) fn plain(domain: &str) -> Option<String> {
    let domain = domain.trim_ascii();
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    // A name of 253 bytes has no more characters than that; converting a longer one would be work for nothing.
    if domain.len() > 253 * 4 {
        return None;
    }
    let domain = idna::domain_to_ascii(domain).ok()?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    (domain.len() <= 253 && domain.split('.').all(is_label)).then_some(domain)
}

/// The domain of an address: what follows its last `@`.
pub(super) fn of_address(address: &str) -> Option<String> {
    plain(address.rsplit_once('@')?.1)
}

/// The organizational domain (RFC 7489 section 3.2), by the public suffix list. A public suffix is its own.
///
/// RFC 9989 section 4.10 finds it by looking for DMARC records up the tree instead. The list gives the same answer for
/// the domains of real senders, also for those without any DMARC record, and costs no lookups a mail could ask for.
pub(super) fn organizational(domain: &str) -> &str {
    psl::domain_str(domain).unwrap_or(domain)
}

/// Whether two domains are aligned in relaxed mode (RFC 7489 section 3.1.1).
pub(super) fn are_aligned(one: &str, other: &str) -> bool {
    organizational(one) == organizational(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_compared_in_one_form() {
        for (given, expected) in [
            ("Example.COM", Some("example.com")),
            ("example.com.", Some("example.com")),
            (" example.com\t", Some("example.com")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("a_b.example", Some("a_b.example")),
            ("", None),
            (".", None),
            ("a..example", None),
            ("a b.example", None),
            ("a\0.example", None),
            ("[192.0.2.1]", None),
        ] {
            assert_eq!(plain(given).as_deref(), expected, "{given:?}");
        }
        assert_eq!(plain(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(plain(&"a.".repeat(1_000_000)), None);
    }

    #[test]
    fn an_organizational_domain_is_one_label_more_than_a_public_suffix() {
        for (domain, expected) in [
            ("mail.example.com", "example.com"),
            ("example.co.uk", "example.co.uk"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("someone.github.io", "someone.github.io"),
            ("co.uk", "co.uk"),
            ("localhost", "localhost"),
            (
                "mail.xn--85x722f.xn--55qx5d.cn",
                "xn--85x722f.xn--55qx5d.cn",
            ),
        ] {
            assert_eq!(organizational(domain), expected);
        }
    }

    #[test]
    fn a_public_suffix_is_aligned_with_nothing_below_it() {
        assert!(are_aligned("mail.example.com", "example.com"));
        assert!(are_aligned("a.example.com", "b.example.com"));
        assert!(!are_aligned("example.co.uk", "co.uk"));
        assert!(!are_aligned("one.github.io", "two.github.io"));
        assert!(!are_aligned("example.com", "badexample.com"));
    }
}
