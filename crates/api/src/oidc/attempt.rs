//! What a browser takes with it to the provider and back.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use store::{SecretText, derive, is_equal, random_secret};
use time::OffsetDateTime;

use crate::Error;

/// How long somebody may take to sign in at the provider.
pub(crate) const ATTEMPT_SECS: i64 = 10 * 60;

/// The longest address that somebody is brought back to.
const RETURN_TO_BYTES_MAX: usize = 2_000;

/// A sign-in that is under way. All that is known of it is in a cookie of the browser that began it: 256 random bits, when it
/// ends, and where to go afterwards.
///
/// What goes to the provider (`state`, `nonce` and the challenge of PKCE) follows from the whole of the cookie, so that
/// whoever does not know it can make none that fits an answer of the provider, and nobody can change a part of it.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What the cookie holds.
    cookie: SecretText,
    /// The page to show in the end.
    pub(crate) return_to: String,
}

impl Attempt {
    /// One that begins now.
    pub(crate) fn begin(return_to: Option<String>, now: OffsetDateTime) -> Result<Self, Error> {
        let return_to = return_to.unwrap_or_else(|| "/".into());
        if !is_page(&return_to) {
            let detail = "return_to must be the path of a page here, such as /reports";
            return Err(Error::BadQuery(detail.into()));
        }
        let ends_at = now.unix_timestamp() + ATTEMPT_SECS;
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(&return_to);
        let secret = random_secret()?;
        let cookie = format!("{}.{ends_at}.{encoded}", secret.reveal());
        Ok(Self {
            cookie: SecretText::new(cookie),
            return_to,
        })
    }

    /// The one in a cookie, if the provider's answer is to it and it has not ended.
    pub(crate) fn answered(cookie: &str, state: &str, now: OffsetDateTime) -> Option<Self> {
        let expected = derive(STATE, cookie);
        if !is_equal(expected.reveal().as_bytes(), state.as_bytes()) {
            return None;
        }
        let mut parts = cookie.split('.').skip(1);
        let ends_at: i64 = parts.next()?.parse().ok()?;
        let return_to = BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let return_to = String::from_utf8(return_to).ok()?;
        let lasts = (1..=ATTEMPT_SECS).contains(&ends_at.saturating_sub(now.unix_timestamp()));
        (lasts && is_page(&return_to)).then(|| Self {
            cookie: SecretText::new(cookie.to_owned()),
            return_to,
        })
    }

    /// What the cookie holds.
    pub(crate) fn cookie(&self) -> &str {
        self.cookie.reveal()
    }

    /// By which the answer is recognised.
    pub(super) fn state(&self) -> String {
        self.derived(STATE)
    }

    /// By which the ID token is recognised.
    pub(super) fn nonce(&self) -> String {
        self.derived("oidc nonce")
    }

    /// By which the provider recognises us (RFC 7636).
    pub(super) fn verifier(&self) -> String {
        self.derived("oidc verifier")
    }

    fn derived(&self, purpose: &str) -> String {
        derive(purpose, self.cookie()).reveal().to_owned()
    }
}

const STATE: &str = "oidc state";

/// Whether something is the path of a page here: nothing that a browser could take for an address elsewhere.
fn is_page(path: &str) -> bool {
    path.len() <= RETURN_TO_BYTES_MAX
        && path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with("/api/")
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);

    fn after(secs: i64) -> OffsetDateTime {
        NOW + time::Duration::seconds(secs)
    }

    #[test]
    fn an_answer_fits_the_attempt_that_it_is_to() {
        let attempt = Attempt::begin(Some("/reports?domain=a.example".into()), NOW).unwrap();
        let (cookie, state) = (attempt.cookie().to_owned(), attempt.state());

        let answered = Attempt::answered(&cookie, &state, after(599)).unwrap();
        assert_eq!(answered.return_to, "/reports?domain=a.example");
        assert_eq!(answered.nonce(), attempt.nonce());
        assert_ne!(attempt.nonce(), attempt.verifier());

        let other = Attempt::begin(None, NOW).unwrap();
        assert!(Attempt::answered(&cookie, &other.state(), NOW).is_none());
        assert!(Attempt::answered(other.cookie(), &state, NOW).is_none());
        assert!(Attempt::answered(&cookie, &state, after(600)).is_none());
        let (secret, rest) = cookie.split_once('.').unwrap();
        let (_, return_to) = rest.split_once('.').unwrap();
        let longer = format!("{secret}.{}.{return_to}", after(900).unix_timestamp());
        assert!(Attempt::answered(&longer, &state, NOW).is_none());
        for forged in [longer.as_str(), "", "a.b.c"] {
            let state = derive(STATE, forged);
            assert!(Attempt::answered(forged, state.reveal(), NOW).is_none());
        }
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        for path in ["/", "/domains/a.example?from=2026-01-01", "/reports#top"] {
            assert!(Attempt::begin(Some(path.into()), NOW).is_ok(), "{path}");
        }
        let long = format!("/{}", "a".repeat(RETURN_TO_BYTES_MAX));
        for path in [
            "",
            "reports",
            "//evil.example",
            "/\\evil.example",
            "/a\\b",
            "https://evil.example",
            "/api/v1/session/oidc",
            "/a b",
            "/a\r\nset-cookie: x",
            "/\u{e9}",
            &long,
        ] {
            let refused = Attempt::begin(Some(path.into()), NOW);
            assert!(matches!(refused, Err(Error::BadQuery(_))), "{path}");
        }
    }
}
