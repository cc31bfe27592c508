//! Mailboxes: which process works on which, how far it is, and what went wrong.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Error, Store};

/// What a mailbox is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxState {
    /// Connecting and logging in.
    Connecting,
    /// Taking mail in.
    Working,
    /// Waiting for mail.
    Waiting,
    /// Something is wrong; it is tried again.
    Failed,
    /// Its process was stopped.
    Stopped,
}

impl MailboxState {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Working => "working",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// How far a mailbox is dealt with that is only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxPosition {
    /// UIDVALIDITY (RFC 9051) that `next_uid` belongs to.
    pub uid_validity: u32,
    /// Every mail with a smaller UID is dealt with.
    pub next_uid: u32,
}

/// A mailbox as it was last heard of.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of the table mailboxes, where they are described"
)]
pub struct Mailbox {
    pub name: String,
    pub state: String,
    pub state_at: OffsetDateTime,
    /// Whether a process holds it now; if none does, the state is history.
    pub is_held: bool,
    pub holder: Option<String>,
    pub lease_until: Option<OffsetDateTime>,
    pub backlog: Option<i64>,
    pub last_connected_at: Option<OffsetDateTime>,
    pub last_poll_at: Option<OffsetDateTime>,
    pub last_delivery_at: Option<OffsetDateTime>,
    pub last_error_code: Option<String>,
    pub last_error: Option<String>,
    pub last_error_at: Option<OffsetDateTime>,
}

impl Store {
    /// Takes a mailbox for a process, or renews its lease. `false` when another process holds it.
    ///
    /// The clock is the database's: those of the processes may differ.
    pub async fn lease_mailbox(
        &self,
        name: &str,
        holder_id: Uuid,
        holder: &str,
        lease: Duration,
    ) -> Result<bool, Error> {
        let done = sqlx::query!(
            r#"
            insert into mailboxes (name, state, holder_id, holder, lease_until)
            values ($1, 'connecting', $2, $3, now() + $4)
            on conflict (name) do update
            set
                holder_id = excluded.holder_id,
                holder = excluded.holder,
                lease_until = excluded.lease_until
            where mailboxes.holder_id is null
                or mailboxes.holder_id = $2
                or mailboxes.lease_until < now()
            "#,
            name,
            holder_id,
            holder,
            PgInterval {
                months: 0,
                days: 0,
                microseconds: lease.as_micros() as i64
            }
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a mailbox back, so that another process can take it over at once.
    pub async fn release_mailbox(&self, name: &str, holder_id: Uuid) -> Result<(), Error> {
        sqlx::query!(
            r#"
            update mailboxes
            set state = 'stopped', state_at = now(), holder_id = null, holder = null, lease_until = null
            where name = $1
                and holder_id = $2
            "#,
            name,
            holder_id
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Says what a mailbox is doing. Other holders than the present one are not heard.
    pub async fn set_mailbox_state(
        &self,
        name: &str,
        holder_id: Uuid,
        state: MailboxState,
    ) -> Result<(), Error> {
        sqlx::query!(
            r#"
            update mailboxes
            set
                state = $3,
                state_at = case when state = $3 then state_at else now() end,
                last_connected_at = case when state = 'connecting' and $3 in ('working', 'waiting') then now() else last_connected_at end
            where name = $1
                and holder_id = $2
            "#,
            name,
            holder_id,
            state.as_str()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Says that a mailbox was looked into, how many mails were taken since, and how many wait.
    pub async fn set_mailbox_progress(
        &self,
        name: &str,
        holder_id: Uuid,
        taken: u64,
        backlog: u64,
    ) -> Result<(), Error> {
        sqlx::query!(
            r#"
            update mailboxes
            set
                last_poll_at = now(),
                last_delivery_at = case when $3 > 0 then now() else last_delivery_at end,
                backlog = $4
            where name = $1
                and holder_id = $2
            "#,
            name,
            holder_id,
            taken as i64,
            backlog as i64
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Says what went wrong with a mailbox and what to do about it.
    pub async fn set_mailbox_error(
        &self,
        name: &str,
        holder_id: Uuid,
        state: MailboxState,
        code: &str,
        error: &str,
    ) -> Result<(), Error> {
        sqlx::query!(
            r#"
            update mailboxes
            set
                state = $3,
                state_at = case when state = $3 then state_at else now() end,
                last_error_code = $4,
                last_error = $5,
                last_error_at = now()
            where name = $1
                and holder_id = $2
            "#,
            name,
            holder_id,
            state.as_str(),
            code,
            error
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How far a mailbox that is only read is dealt with.
    pub async fn mailbox_position(&self, name: &str) -> Result<Option<MailboxPosition>, Error> {
        let row = sqlx::query!(
            "select uid_validity, next_uid from mailboxes where name = $1",
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        let as_number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        Ok(row.and_then(|row| {
            Some(MailboxPosition {
                uid_validity: as_number(row.uid_validity)?,
                next_uid: as_number(row.next_uid)?,
            })
        }))
    }

    /// Remembers how far a mailbox that is only read is dealt with.
    pub async fn set_mailbox_position(
        &self,
        name: &str,
        holder_id: Uuid,
        position: MailboxPosition,
    ) -> Result<(), Error> {
        sqlx::query!(
            r#"
            update mailboxes
            set uid_validity = $3, next_uid = $4
            where name = $1
                and holder_id = $2
            "#,
            name,
            holder_id,
            i64::from(position.uid_validity),
            i64::from(position.next_uid)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The newest refresh token of a mailbox, sealed by whoever keeps it here.
    pub async fn refresh_token(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let row = sqlx::query_scalar!(
            "select sealed_refresh_token from mailboxes where name = $1",
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.flatten())
    }

    /// Keeps the newest refresh token of a mailbox, which need not have been worked on yet.
    pub async fn keep_refresh_token(&self, name: &str, sealed: &[u8]) -> Result<(), Error> {
        sqlx::query!(
            r#"
            insert into mailboxes (name, state, sealed_refresh_token)
            values ($1, 'stopped', $2)
            on conflict (name) do update
            set sealed_refresh_token = excluded.sealed_refresh_token
            "#,
            name,
            sealed
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// All mailboxes, by name.
    pub async fn mailboxes(&self) -> Result<Vec<Mailbox>, Error> {
        Ok(sqlx::query_as!(
            Mailbox,
            r#"
            select
                name, state, state_at, coalesce(lease_until >= now(), false) as "is_held!", holder, lease_until, backlog,
                last_connected_at, last_poll_at, last_delivery_at, last_error_code, last_error, last_error_at
            from mailboxes
            order by name
            "#
        )
        .fetch_all(&self.reading)
        .await?)
    }
}
