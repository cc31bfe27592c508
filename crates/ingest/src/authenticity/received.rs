//! Received fields (RFC 5321 section 4.4), as far as they tell where a mail came into one's own servers.

use super::results_field::Cursor;

/// Whether a field was written where a mail went from one program to the next within a host.
///
/// Mail from another host comes by SMTP, and who takes it writes down from whom. LMTP is not for the way between sites
/// (RFC 2033 section 5). What cannot be read is none: a sender chooses some of its words.
pub(super) fn is_handover(value: &[u8]) -> bool {
    clauses(value).is_some_and(|clauses| {
        let values = |name: &'static str| {
            let clauses = clauses.iter();
            clauses.filter_map(move |(key, value)| (key == name).then_some(value.as_str()))
        };
        let mut with = values("with").peekable();
        values("from").next().is_none() || (with.peek().is_some() && with.all(is_lmtp))
    })
}

/// `LMTP`, `LMTPS` and others of RFC 3848, `UTF8LMTP` and others of RFC 6531.
fn is_lmtp(protocol: &str) -> bool {
    let protocol = protocol.to_ascii_lowercase();
    let protocol = protocol.strip_prefix("utf8").unwrap_or(&protocol);
    matches!(protocol, "lmtp" | "lmtpa" | "lmtps" | "lmtpsa")
}

/// The clauses before the date, each a word in lower case and the one behind it.
fn clauses(value: &[u8]) -> Option<Vec<(String, String)>> {
    let mut cursor = Cursor(value);
    let mut clauses = Vec::new();
    loop {
        cursor.skip_space()?;
        let name = cursor.word(b";")?.to_ascii_lowercase();
        if name.is_empty() {
            return Some(clauses);
        }
        cursor.skip_space()?;
        clauses.push((name, cursor.word(b";")?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_goes_from_program_to_program_without_a_sender_or_by_lmtp() {
        for value in [
            " by 2002:a05:6a10:1:b0:1 with SMTP id a1csp1; Mon, 2 Nov 2026 03:04:05 -0800 (PST)",
            " from mx.example.com by mx.example.com with LMTP id a1 (envelope-from <a@example.net>) for <b@example.com>; x",
            "\r\n\tfrom a ([10.0.0.1])\r\n\tby b (Cyrus 3) with LMTPA;\r\n\tMon",
            " by mx.example.com (Postfix, from userid 110) id A1; Mon",
            " (qmail 123 invoked by uid 89); 2 Nov 2026 03:04:05 -0000",
            " from a by b with UTF8LMTPS id c; Mon",
        ] {
            assert!(is_handover(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn mail_from_another_host_has_its_name() {
        for value in [
            " from a.example (a.example [192.0.2.1]) by mx.example.com (Postfix) with ESMTPS id A1 for <b@c>; Mon",
            " from [192.0.2.1] (helo=a) by mx.example.com with esmtps (TLS1.3) tls AES (Exim 4.98) id 1-2-3; Mon",
            " from unknown (HELO a) (192.0.2.1) by 0 with SMTP; 2 Nov 2026 03:04:05 -0000",
            " from a (192.0.2.1) by b (192.0.2.2) with Microsoft SMTP Server (version=TLS1_3) id 15.20; Mon",
            " from a by b; Mon",
        ] {
            assert!(!is_handover(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn a_sender_cannot_make_it_a_handover_by_the_name_it_gives() {
        for name in [
            "with",
            "a()by()b()with()LMTP()",
            "a;",
            "a(",
            "\"",
            "a\\",
            ";",
            "()",
        ] {
            let value = format!(
                " from {name} (a.example [192.0.2.1]) by mx.example.com (Postfix) with ESMTP id A1; Mon"
            );
            assert!(!is_handover(value.as_bytes()), "{value}");
        }
    }
}
