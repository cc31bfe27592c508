//! Sessions: browsers that are signed in.

use std::net::IpAddr;

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    Action, Actor, Change, DomainList, Error, Scope, Store, Token,
    audit::record_change,
    secret::{SecretText, derive, hash, is_secret, random_secret},
};

/// How long a session lasts, in SQL below and in the cookie.
pub const SESSION_SECS: u32 = 12 * 60 * 60;

/// Sessions of one token or identity at a time: whoever signs in again and again does not fill the table.
const SESSIONS_MAX: i64 = 100;

/// What stands before the subject of an identity, where a token has its id.
const IDENTITY_PREFIX: &str = "oidc:";

/// Somebody whom an OpenID provider vouches for, with what it was granted when it signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the provider calls it for ever (`sub`).
    pub subject: String,
    /// Its name, as the provider told it.
    pub name: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// The policy domains it is restricted to.
    pub domains: Option<DomainList>,
}

impl Identity {
    /// How somebody with this subject is spoken of where a token is spoken of by its id, which never looks like this.
    pub fn holder_of(subject: &str) -> String {
        format!("{IDENTITY_PREFIX}{subject}")
    }
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub enum Holder {
    /// Whoever has this token.
    Token(Token),
    /// Somebody whom a provider vouched for.
    Identity(Identity),
}

impl Holder {
    /// How the audit names it.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Token(token) => Actor::token(token),
            Self::Identity(identity) => Actor::identity(identity),
        }
    }

    /// What the audit says of what it may do.
    fn grant(&self) -> Value {
        let (scope, domains) = match self {
            Self::Token(token) => (token.scope, &token.domains),
            Self::Identity(identity) => (identity.scope, &identity.domains),
        };
        json!({
            "scope": scope.as_str(),
            "domains": domains.as_ref().map(DomainList::names),
        })
    }
}

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

/// A session in a list.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The id of its token, or `oidc:` and the subject of its identity.
    pub holder: String,
    /// The name of the one or the other.
    pub name: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// The policy domains it is restricted to.
    pub domains: Option<DomainList>,
    /// When somebody signed in.
    pub created_at: OffsetDateTime,
    /// When it ends by itself.
    pub expires_at: OffsetDateTime,
}

impl Store {
    /// Begins a session for somebody at this address, in place of the one that the browser had before, if it shows the secret
    /// of one. Sessions that have ended are cleared away, and the oldest of the same holder where there are too many.
    pub async fn begin_session(
        &self,
        holder: &Holder,
        before: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Session, Error> {
        let secret = random_secret()?;
        let before = before.map(hash);
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "delete from sessions where expires_at <= now() or secret_sha256 = $1",
            before.as_ref().map(<[u8; 32]>::as_slice)
        )
        .execute(&mut *transaction)
        .await?;
        insert_session(&mut transaction, &secret, holder).await?;
        let (token_id, subject) = match holder {
            Holder::Token(token) => (Some(&*token.token_id), None),
            Holder::Identity(identity) => (None, Some(&*identity.subject)),
        };
        sqlx::query!(
            r#"
            delete from sessions
            where secret_sha256 in (
                select secret_sha256
                from sessions
                where token_id = $1
                    or (token_id is null and subject = $2)
                order by created_at desc, expires_at desc
                offset $3
            )
            "#,
            token_id,
            subject,
            SESSIONS_MAX
        )
        .execute(&mut *transaction)
        .await?;
        let actor = holder.actor().at(address);
        let change = Change::new(Action::SignedIn)
            .of(actor.as_str())
            .with(holder.grant());
        record_change(&mut transaction, &actor, &change).await?;
        transaction.commit().await?;
        Ok(Session::new(secret))
    }

    /// The session with this secret and whose it is, unless it has ended.
    pub async fn session(&self, secret: &str) -> Result<Option<(Session, Holder)>, Error> {
        if !is_secret(secret) {
            return Ok(None);
        }
        let holder = match self.token_of_session(secret).await? {
            Some(token) => Some(Holder::Token(token)),
            None => self
                .identity_of_session(secret)
                .await?
                .map(Holder::Identity),
        };
        let session = || Session::new(SecretText::new(secret.to_owned()));
        Ok(holder.map(|holder| (session(), holder)))
    }

    async fn identity_of_session(&self, secret: &str) -> Result<Option<Identity>, Error> {
        let secret_sha256 = hash(secret);
        let row = sqlx::query!(
            r#"
            select subject as "subject!", name, scope as "scope!", domains
            from sessions
            where secret_sha256 = $1
                and expires_at > now()
                and token_id is null
            "#,
            secret_sha256.as_slice()
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Identity {
            subject: row.subject,
            name: row.name,
            scope: Scope::from_word("sessions", &row.scope)?,
            domains: DomainList::from_row("sessions", row.domains)?,
        }))
    }

    /// Ends a session because whoever has it wants that.
    pub async fn end_session(&self, session: &Session, actor: &Actor) -> Result<(), Error> {
        let secret_sha256 = hash(session.secret());
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "delete from sessions where secret_sha256 = $1",
            secret_sha256.as_slice()
        )
        .execute(&mut *transaction)
        .await?;
        record_change(&mut transaction, actor, &Change::new(Action::SignedOut)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// All sessions that last, the newest first.
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, Error> {
        let rows = sqlx::query!(
            r#"
            select
                coalesce(s.token_id, $1 || s.subject) as "holder!",
                coalesce(t.name, s.name) as name,
                coalesce(t.scope, s.scope) as "scope!",
                coalesce(t.domains, s.domains) as domains,
                s.created_at,
                s.expires_at
            from sessions s
            left join tokens t on t.token_id = s.token_id
            where s.expires_at > now()
                and t.revoked_at is null
                and (t.expires_at is null or t.expires_at > now())
            order by s.created_at desc, s.secret_sha256
            "#,
            IDENTITY_PREFIX
        )
        .fetch_all(&self.reading)
        .await?;
        let rows = rows.into_iter().map(|row| {
            Ok(SessionRow {
                holder: row.holder,
                name: row.name,
                scope: Scope::from_word("sessions", &row.scope)?,
                domains: DomainList::from_row("sessions", row.domains)?,
                created_at: row.created_at,
                expires_at: row.expires_at,
            })
        });
        rows.collect()
    }

    /// Ends all sessions of a token or an identity, as lists name it. Returns how many that were.
    pub async fn revoke_sessions(&self, holder: &str, actor: &Actor) -> Result<u64, Error> {
        let mut transaction = self.pool.begin().await?;
        let ended = sqlx::query!(
            "delete from sessions where coalesce(token_id, $1 || subject) = $2",
            IDENTITY_PREFIX,
            holder
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if ended > 0 {
            let detail = json!({ "session_count": ended });
            let change = Change::new(Action::SessionsRevoked).of(holder).with(detail);
            record_change(&mut transaction, actor, &change).await?;
        }
        transaction.commit().await?;
        Ok(ended)
    }
}

async fn insert_session(
    connection: &mut PgConnection,
    secret: &SecretText,
    holder: &Holder,
) -> Result<(), Error> {
    let (token, identity) = match holder {
        Holder::Token(token) => (Some(token), None),
        Holder::Identity(identity) => (None, Some(identity)),
    };
    let domains = identity.and_then(|identity| identity.domains.as_ref());
    let secret_sha256 = hash(secret.reveal());
    sqlx::query!(
        r#"
        insert into sessions (secret_sha256, token_id, subject, name, scope, domains, expires_at)
        values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
        "#,
        secret_sha256.as_slice(),
        token.map(|token| &*token.token_id),
        identity.map(|identity| &*identity.subject),
        identity.and_then(|identity| identity.name.as_deref()),
        identity.map(|identity| identity.scope.as_str()),
        domains.map(DomainList::names) as Option<&[String]>,
        f64::from(SESSION_SECS)
    )
    .execute(connection)
    .await?;
    Ok(())
}
