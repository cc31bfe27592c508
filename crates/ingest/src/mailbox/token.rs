//! Access tokens (RFC 6749), renewed before they expire.

use std::time::Duration;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Auth, Config,
    fault::{Fault, one_line},
    tls::Trust,
};

/// Lifetime of tokens whose answer does not tell.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// No less than this is believed of any token: sessions end with their tokens.
const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// No longer than this is believed of any token.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A token endpoint has little to say.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Where the access tokens of one mailbox come from.
#[derive(Default)]
pub(crate) struct TokenSource {
    current: Option<Token>,
    /// A refresh token newer than the configured one: many servers give a new one with each access token.
    newer: Option<String>,
    /// The same, sealed, until somebody has put it where it survives us.
    pub(crate) to_keep: Option<Vec<u8>>,
}

struct Token {
    text: String,
    /// When a new one is asked for: well before it expires.
    renew_at: Instant,
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// RFC 6749 section 5.2.
#[derive(Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

impl TokenSource {
    /// Takes the refresh token that was kept last, if it goes with the configured one.
    pub(crate) fn heed(&mut self, mailbox: &Config, kept: Option<Vec<u8>>) {
        if self.to_keep.is_some() {
            // Ours is newer.
            return;
        }
        let kept = kept.and_then(|sealed| unseal(mailbox.refresh_token.reveal(), sealed));
        if kept.is_some() {
            self.newer = kept;
        }
    }

    /// Whether a token is at hand that will hold for a while.
    pub(crate) fn has_usable(&self) -> bool {
        self.renew_at().is_some_and(|at| at > Instant::now())
    }

    /// When the session had better be renewed with another token.
    pub(crate) fn renew_at(&self) -> Option<Instant> {
        self.current.as_ref().map(|token| token.renew_at)
    }

    /// Drops the token at hand.
    pub(crate) fn forget(&mut self) {
        self.current = None;
    }

    /// A token to log in with.
    pub(crate) async fn token(&mut self, mailbox: &Config) -> Result<String, Fault> {
        if !self.has_usable() {
            let granted = self.ask(mailbox).await?;
            if let Some(newer) = granted.refresh_token
                && mailbox.auth == Auth::RefreshToken
                && Some(&newer) != self.newer.as_ref()
            {
                self.to_keep = seal(mailbox.refresh_token.reveal(), &newer);
                self.newer = Some(newer);
            }
            let lifetime = granted
                .expires_in
                .map_or(DEFAULT_LIFETIME, Duration::from_secs);
            self.current = Some(Token {
                text: granted.access_token,
                renew_at: Instant::now() + lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX) * 4 / 5,
            });
        }
        let current = self.current.as_ref();
        Ok(current.map(|token| token.text.clone()).unwrap_or_default())
    }

    async fn ask(&mut self, mailbox: &Config) -> Result<Granted, Fault> {
        match mailbox.auth {
            Auth::RefreshToken => {
                if let Some(newer) = &self.newer {
                    match request(mailbox, Some(newer)).await {
                        // The configured one may be newer still: somebody gave consent anew.
                        Err(Fault::TokenRefused(_)) => {}
                        answer => return answer,
                    }
                }
                request(mailbox, Some(mailbox.refresh_token.reveal())).await
            }
            Auth::ClientCredentials | Auth::Password => request(mailbox, None).await,
        }
    }
}

/// One POST to the token endpoint, with a refresh token or with the client's own credentials.
async fn request(mailbox: &Config, refresh_token: Option<&str>) -> Result<Granted, Fault> {
    let mut form = vec![("client_id", mailbox.client_id.as_str())];
    match refresh_token {
        Some(token) => form.extend([("grant_type", "refresh_token"), ("refresh_token", token)]),
        None => form.push(("grant_type", "client_credentials")),
    }
    if !mailbox.client_secret.is_empty() {
        form.push(("client_secret", mailbox.client_secret.reveal()));
    }
    if !mailbox.scope.is_empty() {
        form.push(("scope", &mailbox.scope));
    }
    let trust = Trust::for_tokens(mailbox)?;
    let mut client = reqwest::Client::builder();
    if mailbox.token_url.starts_with("http://") {
        // This machine itself: a proxy is another one.
        client = client.no_proxy();
    }
    let client = client
        .tls_backend_preconfigured(trust.config)
        // Secrets go where they were meant to go.
        .redirect(reqwest::redirect::Policy::none())
        .timeout(mailbox.timeout())
        .build()
        .map_err(unavailable)?;
    let mut answer = client
        .post(&mailbox.token_url)
        .header("accept", "application/json")
        .form(&form)
        .send()
        .await
        .map_err(unavailable)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Fault::TokenUnavailable("its answer is too long".into()));
        }
    }
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|_| Fault::TokenUnavailable("its answer has no access_token".into()));
    }
    Err(match serde_json::from_slice::<Refused>(&body) {
        Ok(refused) if status.is_client_error() && refused.error != "temporarily_unavailable" => {
            let description = refused.error_description.unwrap_or_default();
            Fault::TokenRefused(one_line(&format!("{} {description}", refused.error)))
        }
        _ => Fault::TokenUnavailable(format!("it answers {status}")),
    })
}

/// The URL, which an error would show, may hold more than it should.
fn unavailable(error: reqwest::Error) -> Fault {
    use std::error::Error as _;
    let error = error.without_url();
    let cause = error.source().map(|cause| format!(": {cause}"));
    Fault::TokenUnavailable(one_line(&format!("{error}{}", cause.unwrap_or_default())))
}

fn key(configured: &str) -> Option<LessSafeKey> {
    let pseudorandom = Salt::new(HKDF_SHA256, b"ruad refresh token").extract(configured.as_bytes());
    let material = pseudorandom.expand(&[], &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(material)))
}

/// Encrypts a refresh token under the configured one, so that the database alone gives nobody access to the mailbox.
fn seal(configured: &str, newer: &str) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut sealed = newer.as_bytes().to_vec();
    key(configured)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut sealed,
        )
        .ok()?;
    Some([nonce.as_slice(), &sealed].concat())
}

/// `None` when it was sealed under another token: the configured one was replaced, and counts.
fn unseal(configured: &str, mut sealed: Vec<u8>) -> Option<String> {
    let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let text = key(configured)?
        .open_in_place(nonce, Aad::empty(), text)
        .ok()?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_token_needs_the_configured_one() {
        let sealed = seal("configured", "newer").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"newer"));
        assert_eq!(unseal("configured", sealed.clone()).unwrap(), "newer");
        assert_eq!(unseal("another", sealed.clone()), None);
        assert_eq!(unseal("configured", sealed[..NONCE_LEN].to_vec()), None);
        assert_eq!(unseal("configured", vec![1]), None);
    }
}
