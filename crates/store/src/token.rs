//! Tokens: who may do what.
//!
//! A token is the text `ruad_<token_id>_<secret>`: by its id it is found and spoken of, by its form secret scanners know it.
//! The database holds the hash of the secret only.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    Action, Actor, Change, DomainList, Error, Store,
    audit::record_change,
    secret::{SecretText, hash, is_equal, is_hex, is_secret, random_hex, random_secret},
};

const PREFIX: &str = "ruad_";

/// Tokens are many times fewer than these 64 bits have values.
const ID_BYTES: usize = 8;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 200;

/// A hundred years.
const EXPIRES_DAYS_MAX: u32 = 36_500;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All answers, but for tokens and the audit.
    Read,
    /// Uploads, and nothing else.
    Ingest,
    /// Everything.
    Admin,
}

impl Scope {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn from_word(table: &'static str, word: &str) -> Result<Self, Error> {
        [Self::Read, Self::Ingest, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or_else(|| Error::Corrupt {
                table,
                column: "scope",
                detail: format!("{word:?}"),
            })
    }
}

/// A token, without its secret.
#[derive(Clone, Debug)]
pub struct Token {
    /// The part that is no secret.
    pub token_id: String,
    /// What it is for, in the words of whoever made it.
    pub name: Option<String>,
    /// What it is good for.
    pub scope: Scope,
    /// The policy domains it is restricted to.
    pub domains: Option<DomainList>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// From when on it is refused.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<OffsetDateTime>,
    /// Since when it is refused.
    pub revoked_at: Option<OffsetDateTime>,
    /// Whether it is refused because it has expired, by the clock of the database.
    pub is_expired: bool,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    name: Option<String>,
    scope: Scope,
    domains: Option<DomainList>,
    expires_days: Option<u32>,
}

/// Why there is no such token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Its name is for people, in a table and on a terminal.
    #[error("name: at most {NAME_CHARS_MAX} characters, and no control characters")]
    Name,
    /// It would be refused at once, or nobody alive would see its end.
    #[error("expires_days: from 1 to {EXPIRES_DAYS_MAX}")]
    Expiry,
}

impl NewToken {
    /// One that lasts, and sees everything. An empty name is none.
    pub fn new(name: Option<String>, scope: Scope) -> Result<Self, BadToken> {
        let is_bad = |name: &String| {
            name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control)
        };
        if name.as_ref().is_some_and(is_bad) {
            return Err(BadToken::Name);
        }
        Ok(Self {
            name: name.filter(|name| !name.is_empty()),
            scope,
            domains: None,
            expires_days: None,
        })
    }

    /// The same, restricted to these policy domains.
    pub fn for_domains(self, domains: Option<DomainList>) -> Self {
        Self { domains, ..self }
    }

    /// The same, refused after so many days.
    pub fn expiring(self, expires_days: Option<u32>) -> Result<Self, BadToken> {
        if expires_days.is_some_and(|days| !(1..=EXPIRES_DAYS_MAX).contains(&days)) {
            return Err(BadToken::Expiry);
        }
        Ok(Self {
            expires_days,
            ..self
        })
    }
}

impl Store {
    /// Makes a token. Its text is not to be had again.
    pub async fn create_token(
        &self,
        new: &NewToken,
        actor: &Actor,
    ) -> Result<(Token, SecretText), Error> {
        let mut transaction = self.pool.begin().await?;
        let made = insert_token(&mut transaction, new, actor).await?;
        transaction.commit().await?;
        Ok(made)
    }

    /// Makes a token that may do everything if there has never been any.
    pub async fn create_first_token(&self) -> Result<Option<SecretText>, Error> {
        let mut transaction = self.pool.begin().await?;
        // Of several processes that start together one makes it.
        sqlx::query("lock table tokens in share row exclusive mode")
            .execute(&mut *transaction)
            .await?;
        let is_first =
            sqlx::query_scalar!(r#"select not exists (select from tokens) as "is_first!""#)
                .fetch_one(&mut *transaction)
                .await?;
        if !is_first {
            return Ok(None);
        }
        let new = NewToken {
            name: Some("first start".into()),
            scope: Scope::Admin,
            domains: None,
            expires_days: None,
        };
        let (_, text) = insert_token(&mut transaction, &new, &Actor::serve()).await?;
        transaction.commit().await?;
        Ok(Some(text))
    }

    /// All tokens, the newest first, with those that are refused.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let rows = sqlx::query_as!(
            TokenRow,
            r#"
            select
                token_id, secret_sha256, scope, name, domains, created_at, expires_at, last_used_at, revoked_at,
                coalesce(expires_at <= now(), false) as "is_expired!",
                false as "is_use_noted!"
            from tokens
            order by created_at desc, token_id
            "#
        )
        .fetch_all(&self.reading)
        .await?;
        rows.into_iter().map(Token::try_from).collect()
    }

    /// Has a token refused from now on, with the sessions that it began. `false` if there is none with this id.
    pub async fn revoke_token(&self, token_id: &str, actor: &Actor) -> Result<bool, Error> {
        // The database need not see, or choke on, what cannot be one.
        if !is_hex(token_id, ID_BYTES) {
            return Ok(false);
        }
        let mut transaction = self.pool.begin().await?;
        let was_revoked = sqlx::query_scalar!(
            r#"select revoked_at is not null as "was_revoked!" from tokens where token_id = $1 for update"#,
            token_id
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(was_revoked) = was_revoked else {
            return Ok(false);
        };
        if !was_revoked {
            sqlx::query!(
                "update tokens set revoked_at = now() where token_id = $1",
                token_id
            )
            .execute(&mut *transaction)
            .await?;
            sqlx::query!("delete from sessions where token_id = $1", token_id)
                .execute(&mut *transaction)
                .await?;
            let change = Change::new(Action::TokenRevoked).of(token_id);
            record_change(&mut transaction, actor, &change).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The token with this text, unless it is refused.
    pub async fn token(&self, text: &str) -> Result<Option<Token>, Error> {
        let Some((token_id, secret)) = parts(text) else {
            return Ok(None);
        };
        let row = sqlx::query_as!(
            TokenRow,
            r#"
            select
                token_id, secret_sha256, scope, name, domains, created_at, expires_at, last_used_at, revoked_at,
                false as "is_expired!",
                coalesce(last_used_at > now() - interval '1 minute', false) as "is_use_noted!"
            from tokens
            where token_id = $1
                and revoked_at is null
                and (expires_at is null or expires_at > now())
            "#,
            token_id
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if is_equal(&row.secret_sha256, &hash(secret)) => self.used(row).await,
            Some(_) | None => Ok(None),
        }
    }

    /// The token that began the session with this secret, unless the one has ended or the other is refused.
    ///
    /// It is looked up by its hash: whoever measures the time learns something of a hash, and nothing leads from there to
    /// the secret.
    pub(crate) async fn token_of_session(&self, secret: &str) -> Result<Option<Token>, Error> {
        let secret_sha256 = hash(secret);
        let row = sqlx::query_as!(
            TokenRow,
            r#"
            select
                t.token_id, t.secret_sha256, t.scope, t.name, t.domains, t.created_at, t.expires_at, t.last_used_at,
                t.revoked_at,
                false as "is_expired!",
                coalesce(t.last_used_at > now() - interval '1 minute', false) as "is_use_noted!"
            from sessions s
            join tokens t on t.token_id = s.token_id
            where s.secret_sha256 = $1
                and s.expires_at > now()
                and t.revoked_at is null
                and (t.expires_at is null or t.expires_at > now())
            "#,
            secret_sha256.as_slice()
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) => self.used(row).await,
            None => Ok(None),
        }
    }

    /// Notes that a token was used, once a minute: it must not cost a write each time.
    async fn used(&self, row: TokenRow) -> Result<Option<Token>, Error> {
        if !row.is_use_noted {
            sqlx::query!(
                r#"
                update tokens
                set last_used_at = now()
                where token_id = $1
                    and (last_used_at is null or last_used_at <= now() - interval '1 minute')
                "#,
                row.token_id
            )
            .execute(&self.pool)
            .await?;
        }
        Token::try_from(row).map(Some)
    }
}

async fn insert_token(
    connection: &mut PgConnection,
    new: &NewToken,
    actor: &Actor,
) -> Result<(Token, SecretText), Error> {
    let token_id = random_hex::<ID_BYTES>()?;
    let secret = random_secret()?;
    let secret_sha256 = hash(secret.reveal());
    let row = sqlx::query_as!(
        TokenRow,
        r#"
        insert into tokens (token_id, secret_sha256, scope, name, domains, expires_at)
        values ($1, $2, $3, $4, $5, now() + make_interval(days => $6))
        returning
            token_id, secret_sha256, scope, name, domains, created_at, expires_at, last_used_at, revoked_at,
            false as "is_expired!",
            false as "is_use_noted!"
        "#,
        token_id,
        secret_sha256.as_slice(),
        new.scope.as_str(),
        new.name,
        new.domains.as_ref().map(DomainList::names) as Option<&[String]>,
        new.expires_days
            .map(|days| i32::try_from(days).unwrap_or(i32::MAX))
    )
    .fetch_one(&mut *connection)
    .await?;
    let token = Token::try_from(row)?;
    let detail = serde_json::json!({
        "scope": token.scope.as_str(),
        "name": token.name,
        "domains": token.domains.as_ref().map(DomainList::names),
        "expires_days": new.expires_days,
    });
    let change = Change::new(Action::TokenCreated)
        .of(&token.token_id)
        .with(detail);
    record_change(connection, actor, &change).await?;
    let text = format!("{PREFIX}{token_id}_{}", secret.reveal());
    Ok((token, SecretText::new(text)))
}

/// The id and the secret of a token.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (token_id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (is_hex(token_id, ID_BYTES) && is_secret(secret)).then_some((token_id, secret))
}

/// The id in what may be a token: it may be spoken of where the token is refused.
pub fn token_id_in(text: &str) -> Option<&str> {
    parts(text).map(|(token_id, _)| token_id)
}

/// A row of the table.
struct TokenRow {
    token_id: String,
    secret_sha256: Vec<u8>,
    scope: String,
    name: Option<String>,
    domains: Option<Vec<String>>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    is_expired: bool,
    is_use_noted: bool,
}

impl TryFrom<TokenRow> for Token {
    type Error = Error;

    fn try_from(row: TokenRow) -> Result<Self, Error> {
        Ok(Self {
            token_id: row.token_id,
            name: row.name,
            scope: Scope::from_word("tokens", &row.scope)?,
            domains: DomainList::from_row("tokens", row.domains)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            is_expired: row.is_expired,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_makes_no_sense_is_not_made() {
        let named = |name: &str| NewToken::new(Some(name.to_owned()), Scope::Read);
        assert_eq!(named("").unwrap().name, None);
        let longest = "\u{e9}".repeat(NAME_CHARS_MAX);
        assert_eq!(named(&longest).unwrap().name, Some(longest));
        for bad in ["a\u{1b}[31mb", "a\nb", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert_eq!(named(bad).unwrap_err(), BadToken::Name, "{bad}");
        }
        let expiring = |days| named("a").unwrap().expiring(days).map(drop);
        assert_eq!(expiring(None), Ok(()));
        assert_eq!(expiring(Some(EXPIRES_DAYS_MAX)), Ok(()));
        assert_eq!(expiring(Some(0)), Err(BadToken::Expiry));
        assert_eq!(expiring(Some(EXPIRES_DAYS_MAX + 1)), Err(BadToken::Expiry));
    }

    #[test]
    fn only_what_looks_like_a_token_is_asked_for() {
        let (id, secret) = ("0123456789abcdef", "0f".repeat(32));
        let text = format!("ruad_{id}_{secret}");
        assert_eq!(parts(&text), Some((id, secret.as_str())));
        for other in [
            String::new(),
            "ruad_".into(),
            format!("{id}_{secret}"),
            format!("ruad_{id}_{}", secret.to_uppercase()),
            format!("ruad_{id}_{secret}0"),
            format!("ruad_{id}__{secret}"),
            format!("ruad_{}_{secret}", "é".repeat(8)),
        ] {
            assert_eq!(parts(&other), None, "{other}");
        }
    }
}
