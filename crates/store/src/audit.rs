//! Who changed what.

use std::net::IpAddr;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{Error, Identity, Store, Token};

/// What was done, apart from taking in reports: that is in the ledger. An import has a row all the same, because somebody
/// ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A token was made.
    TokenCreated,
    /// A token is refused from now on.
    TokenRevoked,
    /// Somebody signed in, with a token or at an OpenID provider.
    SignedIn,
    /// Somebody wanted to sign in.
    SignInFailed,
    /// Somebody signed out.
    SignedOut,
    /// Sessions were ended by somebody else.
    SessionsRevoked,
    /// The bytes of a delivery were thrown away.
    DeliveryDiscarded,
    /// A delivery was taken in again.
    DeliveryRetried,
    /// The rollup was made anew.
    Rebuilt,
    /// The schema was brought up to date.
    Migrated,
    /// The tables were spread over a cluster.
    Distributed,
    /// Reports were taken in by the command line.
    Imported,
}

impl Action {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignedOut => "signed_out",
            Self::SessionsRevoked => "sessions_revoked",
            Self::DeliveryDiscarded => "delivery_discarded",
            Self::DeliveryRetried => "delivery_retried",
            Self::Rebuilt => "rebuilt",
            Self::Migrated => "migrated",
            Self::Distributed => "distributed",
            Self::Imported => "imported",
        }
    }
}

/// Who did it.
#[derive(Clone, Debug)]
pub struct Actor {
    /// What the column `actor` holds.
    kind: String,
    name: Option<String>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl Actor {
    fn of_kind(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: None,
            address: None,
        }
    }

    /// The command line.
    pub fn cli() -> Self {
        Self::of_kind("cli")
    }

    /// `ruad serve` itself.
    pub fn serve() -> Self {
        Self::of_kind("serve")
    }

    /// Anybody, where no token is asked for.
    pub fn open() -> Self {
        Self::of_kind("open")
    }

    /// Somebody who was not let in.
    pub fn nobody() -> Self {
        Self::of_kind("nobody")
    }

    /// Whoever has this token.
    pub fn token(token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            ..Self::of_kind(&token.token_id)
        }
    }

    /// Whoever an OpenID provider knows by this identity.
    pub fn identity(identity: &Identity) -> Self {
        Self {
            name: identity.name.clone(),
            ..Self::of_kind(&Identity::holder_of(&identity.subject))
        }
    }

    /// What stands in the audit for who it is.
    pub fn as_str(&self) -> &str {
        &self.kind
    }

    /// The same, from this address.
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }
}

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Change {
    action: Action,
    subject: Option<String>,
    detail: Option<Value>,
}

impl Change {
    /// Only what was done.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            subject: None,
            detail: None,
        }
    }

    /// The same, done to something with this id.
    pub fn of(self, subject: impl ToString) -> Self {
        Self {
            subject: Some(subject.to_string()),
            ..self
        }
    }

    /// The same with more about it.
    pub fn with(self, detail: Value) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }
}

/// A row of the audit.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of the table audit, where they are described"
)]
pub struct AuditRow {
    pub audit_id: i64,
    pub at: OffsetDateTime,
    pub actor: String,
    pub actor_name: Option<String>,
    pub action: String,
    pub subject: Option<String>,
    pub detail: Option<Value>,
    pub address: Option<String>,
}

impl Store {
    /// Records what was done where it is no part of a transaction that does it.
    pub async fn record_change(&self, actor: &Actor, change: &Change) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await?;
        record_change(&mut connection, actor, change).await
    }

    /// What was done, the newest first, before the row with this id.
    pub async fn audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<AuditRow>, Error> {
        Ok(sqlx::query_as!(
            AuditRow,
            r#"
            select audit_id, at, actor, actor_name, action, subject, detail, host(address) as address
            from audit
            where $1::bigint is null or audit_id < $1
            order by audit_id desc
            limit $2
            "#,
            before,
            limit
        )
        .fetch_all(&self.reading)
        .await?)
    }
}

/// Records a change, best in the transaction that makes it.
pub(crate) async fn record_change(
    connection: &mut PgConnection,
    actor: &Actor,
    change: &Change,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into audit (actor, actor_name, action, subject, detail, address)
        values ($1, $2, $3, $4, $5, $6::text::inet)
        "#,
        actor.kind,
        actor.name,
        change.action.as_str(),
        change.subject,
        change.detail,
        actor
            .address
            .map(|address| address.to_canonical().to_string())
    )
    .execute(connection)
    .await?;
    Ok(())
}
