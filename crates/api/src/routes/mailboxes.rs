//! Mailboxes that mail is taken from.

use axum::{Json, extract};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{Error, State, error::Problem};

/// Mailboxes, by name.
#[derive(Serialize, ToSchema)]
pub(super) struct MailboxList {
    items: Vec<Mailbox>,
    /// Always null: all of them are on one page.
    #[schema(example = json!(null))]
    next: Option<String>,
}

/// A mailbox as it was last heard of.
#[derive(Serialize, ToSchema)]
pub(super) struct Mailbox {
    /// Its name in the configuration.
    #[schema(example = "dmarc")]
    name: String,
    state: MailboxState,
    /// Since when it is so. Of an unattended mailbox: since when it was what it was before.
    #[serde(with = "time::serde::rfc3339")]
    state_at: OffsetDateTime,
    /// Mails that waited when it was last looked at; null before it was.
    #[schema(example = 0)]
    backlog: Option<i64>,
    /// When its server last let ruad in.
    #[serde(with = "time::serde::rfc3339::option")]
    last_connected_at: Option<OffsetDateTime>,
    /// When it was last looked at.
    #[serde(with = "time::serde::rfc3339::option")]
    last_poll_at: Option<OffsetDateTime>,
    /// When mail was last taken from it.
    #[serde(with = "time::serde::rfc3339::option")]
    last_delivery_at: Option<OffsetDateTime>,
    /// What went wrong last, be it over; null if nothing ever did.
    last_error: Option<LastError>,
    /// The process that works on it: host and process id.
    #[schema(example = "mx1:4711")]
    holder: Option<String>,
    /// When another process may take it over, unless the holder renews before.
    #[serde(with = "time::serde::rfc3339::option")]
    lease_until: Option<OffsetDateTime>,
}

/// What is done about a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MailboxState {
    /// ruad is connecting and logging in.
    Connecting,
    /// Mail is being taken.
    Working,
    /// There is nothing to take at the moment.
    Waiting,
    /// Something is wrong, see `last_error`; it is tried again.
    Failed,
    /// The process that worked on it was stopped.
    Stopped,
    /// The process that worked on it went away without a word, and no other took over.
    Unattended,
}

/// Something that went wrong with a mailbox.
#[derive(Serialize, ToSchema)]
pub(super) struct LastError {
    /// Stable reason.
    #[schema(example = "credentials")]
    code: String,
    /// What happened, and what to do about it.
    #[schema(
        example = "the server refuses the credentials of dmarc@example.org; correct user and password"
    )]
    detail: String,
    #[serde(with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
}

impl MailboxState {
    fn of(mailbox: &store::Mailbox) -> Result<Self, store::Error> {
        Ok(match (mailbox.state.as_str(), mailbox.is_held) {
            ("stopped", _) => Self::Stopped,
            (_, false) => Self::Unattended,
            ("connecting", true) => Self::Connecting,
            ("working", true) => Self::Working,
            ("waiting", true) => Self::Waiting,
            ("failed", true) => Self::Failed,
            (other, true) => {
                return Err(store::Error::Corrupt {
                    table: "mailboxes",
                    column: "state",
                    detail: format!("{other:?}"),
                });
            }
        })
    }
}

impl TryFrom<store::Mailbox> for Mailbox {
    type Error = store::Error;

    fn try_from(mailbox: store::Mailbox) -> Result<Self, store::Error> {
        Ok(Self {
            state: MailboxState::of(&mailbox)?,
            last_error: mailbox.last_error_code.map(|code| LastError {
                code,
                detail: mailbox.last_error.unwrap_or_default(),
                at: mailbox.last_error_at,
            }),
            name: mailbox.name,
            state_at: mailbox.state_at,
            backlog: mailbox.backlog,
            last_connected_at: mailbox.last_connected_at,
            last_poll_at: mailbox.last_poll_at,
            last_delivery_at: mailbox.last_delivery_at,
            holder: mailbox.holder,
            lease_until: mailbox.lease_until,
        })
    }
}

/// All mailboxes
///
/// Every mailbox that was ever worked on, by whichever ruad process on this database, with what it does and what went wrong
/// last.
#[utoipa::path(
    get, path = "/api/v1/mailboxes", operation_id = "list_mailboxes", tag = "Mailboxes",
    responses((status = 200, description = "Mailboxes", body = MailboxList), Problem)
)]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
) -> Result<Json<MailboxList>, Error> {
    let mailboxes = state.store().mailboxes().await?;
    let items = mailboxes.into_iter().map(Mailbox::try_from);
    Ok(Json(MailboxList {
        items: items.collect::<Result<_, _>>()?,
        next: None,
    }))
}
