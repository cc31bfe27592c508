//! The grammar of an Authentication-Results field (RFC 8601 section 2.2).
//!
//! Parts of it are the sender's words, such as addresses: what is in quotes or in comments is never taken for a result,
//! and a field with an open quote or comment is not believed at all.

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Who wrote it.
    pub(super) authserv_id: String,
    /// In order.
    results: Vec<MethodResult>,
}

/// What one method came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MethodResult {
    /// In lower case.
    method: String,
    /// In lower case.
    pub(super) result: String,
    /// `ptype.property` in lower case, and its value.
    properties: Vec<(String, String)>,
}

impl MethodResult {
    /// The first value of a property.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let mut properties = self.properties.iter();
        properties.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

impl Field {
    /// Who wrote a field, be the rest of it as it may. `None` if it does not say.
    pub(super) fn author(value: &[u8]) -> Option<String> {
        let mut cursor = Cursor(value);
        cursor.skip_space()?;
        let authserv_id = cursor.word(b";=")?;
        // A comment that is open at the end is behind the name.
        let is_result = cursor.skip_space().is_some() && cursor.peek() == Some(b'=');
        // Exchange Online leaves the authserv-id out and begins with a result.
        (!authserv_id.is_empty() && !is_result).then_some(authserv_id)
    }

    /// Reads the text after the colon. `None` if it is not of this grammar, or does not say who wrote it.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(value);
        cursor.skip_space()?;
        let authserv_id = Self::author(value)?;
        cursor.word(b";=")?;
        cursor.skip_space()?;
        // The version, 1 wherever it is given.
        cursor.word(b";=")?;
        let mut results = Vec::new();
        cursor.skip_space()?;
        while cursor.take(b';') {
            results.extend(cursor.result()?);
            cursor.skip_space()?;
        }
        cursor.0.is_empty().then_some(Self {
            authserv_id,
            results,
        })
    }

    /// The results of one method.
    pub(super) fn of_method(&self, method: &str) -> impl Iterator<Item = &MethodResult> {
        self.results
            .iter()
            .filter(move |result| result.method == method)
    }
}

/// What is left to be read. `None` means that a quote or comment is open at the end.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.next();
        }
        is_next
    }

    /// One result up to the next `;`. `Some(None)` for `none`, for nothing, and for what is no result.
    fn result(&mut self) -> Option<Option<MethodResult>> {
        self.skip_space()?;
        let method = self.word(b"=;/")?.to_ascii_lowercase();
        self.skip_space()?;
        if self.take(b'/') {
            self.skip_space()?;
            self.word(b"=;")?;
            self.skip_space()?;
        }
        let is_result = self.take(b'=');
        self.skip_space()?;
        let result = self.word(b";")?.to_ascii_lowercase();
        let properties = self.properties()?;
        Some((is_result && !method.is_empty()).then_some(MethodResult {
            method,
            result,
            properties,
        }))
    }

    /// `reason=...` and `ptype.property=...`; words of another form are passed over.
    fn properties(&mut self) -> Option<Vec<(String, String)>> {
        let mut properties = Vec::new();
        loop {
            self.skip_space()?;
            if matches!(self.peek(), None | Some(b';')) {
                return Some(properties);
            }
            let name = self.word(b"=;")?.to_ascii_lowercase();
            self.skip_space()?;
            if self.take(b'=') {
                self.skip_space()?;
                properties.push((name, self.word(b";")?));
            }
        }
    }

    /// Text up to white space, a comment, or one of the bytes given; without its quotes.
    pub(super) fn word(&mut self, ends: &[u8]) -> Option<String> {
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            if byte.is_ascii_whitespace() || byte == b'(' || ends.contains(&byte) {
                break;
            }
            self.next();
            if byte == b'"' {
                self.quoted(&mut word)?;
            } else {
                word.push(byte);
            }
        }
        Some(String::from_utf8_lossy(&word).into_owned())
    }

    fn quoted(&mut self, word: &mut Vec<u8>) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => word.push(self.next()?),
                byte => word.push(byte),
            }
        }
    }

    /// White space and comments, which may be nested.
    pub(super) fn skip_space(&mut self) -> Option<()> {
        loop {
            match self.peek() {
                Some(b'(') => self.skip_comment()?,
                Some(byte) if byte.is_ascii_whitespace() => _ = self.next(),
                Some(_) | None => return Some(()),
            }
        }
    }

    fn skip_comment(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                b'(' => depth += 1,
                b')' if depth == 1 => return Some(()),
                b')' => depth -= 1,
                b'\\' => _ = self.next()?,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of a field as `method=result`, each with its properties.
    fn results(value: &str) -> Option<(String, Vec<String>)> {
        let field = Field::parse(value.as_bytes())?;
        let text = |result: &MethodResult| {
            let mut text = format!("{}={}", result.method, result.result);
            for (name, value) in &result.properties {
                text = format!("{text} {name}={value}");
            }
            text
        };
        Some((
            field.authserv_id.clone(),
            field.results.iter().map(text).collect(),
        ))
    }

    fn check(value: &str, authserv_id: &str, expected: &[&str]) {
        let expected = expected.iter().map(ToString::to_string).collect();
        assert_eq!(
            results(value),
            Some((authserv_id.into(), expected)),
            "{value}"
        );
    }

    #[test]
    fn gmail() {
        check(
            " mx.google.com;\r\n       dkim=pass header.i=@google.com header.s=20230601 header.b=AbC/Ef1=;\r\n       \
             spf=pass (google.com: domain of a@google.com designates 209.85.220.69 as permitted sender) \
             smtp.mailfrom=a@google.com;\r\n       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=google.com\r\n",
            "mx.google.com",
            &[
                "dkim=pass header.i=@google.com header.s=20230601 header.b=AbC/Ef1=",
                "spf=pass smtp.mailfrom=a@google.com",
                "dmarc=pass header.from=google.com",
            ],
        );
    }

    #[test]
    fn microsoft_leaves_the_authserv_id_out() {
        let value = " spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=contoso.com; dkim=pass (signature was \
                     verified)\r\n header.d=contoso.com;dmarc=pass action=none\r\n header.from=contoso.com;\
                     compauth=pass reason=100\r\n";
        assert_eq!(results(value), None);
        check(
            &format!("mx.microsoft.com 1;{value}"),
            "mx.microsoft.com",
            &[
                "spf=pass smtp.mailfrom=contoso.com",
                "dkim=pass header.d=contoso.com",
                "dmarc=pass action=none header.from=contoso.com",
                "compauth=pass reason=100",
            ],
        );
    }

    #[test]
    fn fastmail() {
        check(
            " mx2.messagingengine.com;\r\n    arc=none (no signatures found);\r\n    dkim=pass (2048-bit rsa key \
             sha256) header.d=example.net\r\n    header.i=@example.net header.b=abcdefgh header.s=fm3 x-bits=2048;\r\n    \
             dmarc=pass policy.published-domain-policy=none\r\n    policy.applied-disposition=none \
             (p=none,d=none,d.eval=none) policy.policy-from=p\r\n    header.from=example.net;\r\n    iprev=pass \
             smtp.remote-ip=192.0.2.1 (mail.example.net)\r\n",
            "mx2.messagingengine.com",
            &[
                "arc=none",
                "dkim=pass header.d=example.net header.i=@example.net header.b=abcdefgh header.s=fm3 x-bits=2048",
                "dmarc=pass policy.published-domain-policy=none policy.applied-disposition=none policy.policy-from=p \
                 header.from=example.net",
                "iprev=pass smtp.remote-ip=192.0.2.1",
            ],
        );
    }

    #[test]
    fn opendkim_and_opendmarc() {
        check(
            " mail.example.com;\r\n\tdkim=pass (1024-bit key; unprotected) header.d=example.net header.i=@example.net \
             header.b=\"ab/12=\";\r\n\tdkim-atps=neutral\r\n",
            "mail.example.com",
            &[
                "dkim=pass header.d=example.net header.i=@example.net header.b=ab/12=",
                "dkim-atps=neutral",
            ],
        );
        check(
            " mail.example.com; dmarc=fail (p=none dis=none) header.from=example.net\r\n",
            "mail.example.com",
            &["dmarc=fail header.from=example.net"],
        );
    }

    #[test]
    fn rspamd() {
        check(
            " mail.example.com;\r\n\tdkim=pass header.d=example.net header.s=one header.b=\"a/b+c=\";\r\n\tspf=pass \
             (mail.example.com: domain of a@example.net designates 192.0.2.1 as permitted sender) \
             smtp.mailfrom=a@example.net;\r\n\tdmarc=pass (policy=reject) header.from=example.net\r\n",
            "mail.example.com",
            &[
                "dkim=pass header.d=example.net header.s=one header.b=a/b+c=",
                "spf=pass smtp.mailfrom=a@example.net",
                "dmarc=pass header.from=example.net",
            ],
        );
    }

    #[test]
    fn the_examples_of_the_standard() {
        check(" example.org 1; none\r\n", "example.org", &[]);
        check(
            " foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n \
             policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) \
             1362471462\r\n",
            "foo.example.net",
            // White space within the name of a property is nothing anybody writes: it is passed over.
            &["dkim=fail expired=1362471462"],
        );
        check(
            " \"example.com\"; auth=pass (cram-md5) reason=\"a \\\"good\\\"; one\" smtp.auth=a@example.com",
            "example.com",
            &["auth=pass reason=a \"good\"; one smtp.auth=a@example.com"],
        );
    }

    #[test]
    fn words_of_the_sender_are_no_results() {
        check(
            " mx.example; spf=none smtp.mailfrom=\"a; dmarc=pass\"@example.net; dmarc=fail",
            "mx.example",
            &[
                "spf=none smtp.mailfrom=a; dmarc=pass@example.net",
                "dmarc=fail",
            ],
        );
        check(
            " mx.example; spf=none (of \\) (; dmarc=pass);) x; dmarc=fail",
            "mx.example",
            &["spf=none", "dmarc=fail"],
        );
    }

    #[test]
    fn what_is_left_open_is_not_believed() {
        for value in [
            "",
            " ",
            ";",
            "; dmarc=pass",
            "dmarc=pass",
            "mx.example; dmarc=pass (",
            "mx.example; dmarc=pass \"",
            "mx.example; dmarc=pass \\\"",
            "mx.example dmarc=pass",
            "(mx.example; dmarc=pass",
        ] {
            let is_believed =
                results(value).is_some_and(|(_, results)| results.contains(&"dmarc=pass".into()));
            let is_complete = value == "mx.example; dmarc=pass \\\"";
            assert!(!is_believed || is_complete, "{value:?}");
        }
    }

    #[test]
    fn hostile_text_ends() {
        for piece in [
            "(", ")", "\"", ";", "=", "a=b;", "\\", "\0", "/", "\u{fffd}", "a.b=c ",
        ] {
            for start in ["", "mx.example;", "mx.example; dkim=pass "] {
                results(&format!("{start}{}", piece.repeat(100_000)));
            }
        }
    }
}
