//! Sessions: browsers that are signed in.

use crate::{
    Error, Store, Token,
    secret::{SecretText, derive, hash, is_secret, random_secret},
};

/// How long a session lasts, in SQL below and in the cookie.
pub const SESSION_SECS: u32 = 12 * 60 * 60;

/// A session whose secret came with a request.
#[derive(Clone, Debug)]
pub struct Session {
    /// What whoever changes something must know besides the cookie. It follows from the secret, so that only somebody who
    /// was told it, or holds the cookie, has it; it is stored nowhere.
    pub csrf_token: SecretText,
    secret: SecretText,
}

impl Session {
    fn new(secret: SecretText) -> Self {
        Self {
            csrf_token: derive("csrf", secret.reveal()),
            secret,
        }
    }

    /// What the cookie holds.
    pub fn secret(&self) -> &str {
        self.secret.reveal()
    }

    /// Whether somebody knows the CSRF token.
    pub fn admits(&self, csrf_token: &str) -> bool {
        crate::secret::is_equal(self.csrf_token.reveal().as_bytes(), csrf_token.as_bytes())
    }
}

impl Store {
    /// Begins a session of a token. Those that have ended are cleared away.
    pub async fn begin_session(&self, token: &Token) -> Result<Session, Error> {
        let secret = random_secret()?;
        sqlx::query!("delete from sessions where expires_at <= now()")
            .execute(&self.pool)
            .await?;
        let secret_sha256 = hash(secret.reveal());
        sqlx::query!(
            r#"
            insert into sessions (secret_sha256, token_id, expires_at)
            values ($1, $2, now() + make_interval(secs => $3))
            "#,
            secret_sha256.as_slice(),
            token.token_id,
            f64::from(SESSION_SECS)
        )
        .execute(&self.pool)
        .await?;
        Ok(Session::new(secret))
    }

    /// The session with this secret and its token, unless it has ended.
    pub async fn session(&self, secret: &str) -> Result<Option<(Session, Token)>, Error> {
        if !is_secret(secret) {
            return Ok(None);
        }
        let token = self.token_of_session(secret).await?;
        let session = || Session::new(SecretText::new(secret.to_owned()));
        Ok(token.map(|token| (session(), token)))
    }

    /// Ends a session.
    pub async fn end_session(&self, session: &Session) -> Result<(), Error> {
        let secret_sha256 = hash(session.secret());
        sqlx::query!(
            "delete from sessions where secret_sha256 = $1",
            secret_sha256.as_slice()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
