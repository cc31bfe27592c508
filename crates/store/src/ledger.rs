//! The ledger of deliveries, and the raw bytes of those of which something was not stored.

use std::{borrow::Cow, collections::HashMap, io, os::unix::fs::FileExt as _};

use bytes::Bytes;
use report::Body;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Action, Actor, Authenticity, Change, Delivery, Error, Outcome, Store,
    audit::record_change,
    copy,
    delivery::OutcomeRow,
    unnest::{column, json, text_literal},
};

/// Larger deliveries are not kept: 25 MiB, the limit of a message and of an upload. Whoever imports a larger file has it.
pub const KEEP_RAW_BYTES_MAX: u64 = 25 * 1024 * 1024;

/// A delivery whose bytes are kept, ready to be tried again.
#[derive(Clone, Debug)]
pub struct RawDelivery {
    /// The id it was first given.
    pub delivery_id: Uuid,
    /// `imap:<mailbox>`, `lmtp`, `http` or `file`.
    pub origin: String,
    /// File name or the like.
    pub name: Option<String>,
    /// When it was handed over.
    pub received_at: OffsetDateTime,
    /// Its size as delivered.
    pub size_bytes: u64,
    /// Who sent it, where it is a mail that was checked.
    pub authenticity: Option<Authenticity>,
}

/// How far a delivery is dealt with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Up to a large report that is stored on its own; more may follow.
    Partial,
    /// To its end.
    Complete,
}

/// Writes deliveries into the ledger, over what an earlier try left there, and keeps the bytes that must be kept.
pub(crate) async fn record_deliveries<'a>(
    connection: &mut PgConnection,
    deliveries: impl Iterator<Item = (&'a Delivery, &'a Vec<OutcomeRow>)>,
    progress: Progress,
) -> Result<(), Error> {
    let mut rows: Vec<_> = deliveries.collect();
    // Two processes that have the same mails in hand must not wait for each other.
    rows.sort_by_key(|(delivery, _)| delivery.delivery_id);
    insert_deliveries(connection, &rows, progress).await?;
    let (small, large): (Vec<_>, Vec<_>) = rows
        .iter()
        .filter(|(delivery, documents)| {
            let is_at_hand = delivery.sha256.is_some() && delivery.size_bytes <= KEEP_RAW_BYTES_MAX;
            is_at_hand && documents.iter().any(OutcomeRow::keeps_raw)
        })
        .map(|(delivery, _)| *delivery)
        .partition(|delivery| delivery.size_bytes <= SMALL_BYTES);
    for together in small.chunks(SMALL_TOGETHER) {
        keep_small(connection, together).await?;
    }
    for delivery in large {
        keep_raw(connection, delivery).await?;
    }
    Ok(())
}

/// A delivery and the outcomes of its documents.
type Handled<'a> = (&'a Delivery, &'a Vec<OutcomeRow>);

async fn insert_deliveries(
    connection: &mut PgConnection,
    rows: &[Handled<'_>],
    progress: Progress,
) -> Result<(), Error> {
    fn mail<'a>((delivery, _): &Handled<'a>) -> Option<&'a Authenticity> {
        delivery.authenticity.as_ref()
    }
    sqlx::query!(
        r#"
        insert into deliveries (
            delivery_id, received_at, size_bytes, origin, outcome, name, sha256, documents, is_complete,
            mail_from_domain, mail_dkim_domains, mail_dmarc_pass
        )
        select
            delivery_id, received_at, size_bytes, origin, outcome, name, sha256, documents::jsonb, $9,
            mail_from_domain, mail_dkim_domains::text[], mail_dmarc_pass
        from unnest(
            $1::uuid[], $2::timestamptz[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[],
            $10::text[], $11::text[], $12::boolean[]
        ) as new (
            delivery_id, received_at, size_bytes, origin, outcome, name, sha256, documents,
            mail_from_domain, mail_dkim_domains, mail_dmarc_pass
        )
        on conflict (delivery_id) do update
        set
            outcome = excluded.outcome,
            documents = excluded.documents,
            is_complete = excluded.is_complete,
            mail_from_domain = excluded.mail_from_domain,
            mail_dkim_domains = excluded.mail_dkim_domains,
            mail_dmarc_pass = excluded.mail_dmarc_pass
        "#,
        &column(rows, |(delivery, _)| delivery.delivery_id),
        &column(rows, |(delivery, _)| delivery.received_at),
        &column(rows, |(delivery, _)| delivery.size_bytes as i64),
        &column(rows, |(delivery, _)| delivery.origin.as_str()) as _,
        &column(rows, |(_, documents)| Outcome::of_all(documents).as_str()) as _,
        &column(rows, |(delivery, _)| delivery.name.as_deref()) as _,
        &column(rows, |(delivery, _)| delivery.sha256.map(Vec::from)) as _,
        &column(rows, |(_, documents)| json(documents)),
        progress == Progress::Complete,
        &column(rows, |row| mail(row).and_then(|mail| mail.from_domain.as_deref())) as _,
        &column(rows, |row| mail(row).map(|mail| text_literal(&mail.dkim_domains))) as _,
        &column(rows, |row| mail(row).and_then(|mail| mail.dmarc_pass)) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The bytes of deliveries that are no larger are kept with one statement for so many of them.
const SMALL_BYTES: u64 = 16 * 1024;
const SMALL_TOGETHER: usize = 64;

/// Keeps the bytes of small deliveries, over what an earlier try kept.
async fn keep_small(connection: &mut PgConnection, deliveries: &[&Delivery]) -> Result<(), Error> {
    let (mut ids, mut bodies) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        match read_piece(&delivery.body, 0, delivery.size_bytes) {
            Ok(body) => {
                ids.push(delivery.delivery_id);
                bodies.push(body);
            }
            Err(error) => check_gone(delivery, error)?,
        }
    }
    sqlx::query!(
        r#"
        insert into quarantine (delivery_id, raw)
        select delivery_id, raw
        from unnest($1::uuid[], $2::bytea[]) as new (delivery_id, raw)
        on conflict (delivery_id) do update
        set
            kept_at = excluded.kept_at,
            raw = excluded.raw
        "#,
        &ids,
        &column(&bodies, |body| body.as_ref()) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Bytes read and sent at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Keeps the bytes of a larger delivery. They go to the database piece by piece: many at a time, each as large as a delivery may
/// be, would be more than a process may use.
async fn keep_raw(connection: &mut PgConnection, delivery: &Delivery) -> Result<(), Error> {
    // What an earlier try kept: COPY knows no conflicts. The delivery's row is ours until the end of the transaction.
    sqlx::query!(
        "delete from quarantine where delivery_id = $1",
        delivery.delivery_id
    )
    .execute(&mut *connection)
    .await?;
    let mut savepoint = connection.begin().await?;
    match copy_raw(&mut savepoint, delivery).await {
        Ok(()) => Ok(savepoint.commit().await?),
        Err(CopyError::Body(error)) => {
            check_gone(delivery, error)?;
            Ok(savepoint.rollback().await?)
        }
        Err(CopyError::Database(error)) => Err(error.into()),
    }
}

/// The outcome of a delivery whose file was cut under us stands all the same; other errors are ours.
fn check_gone(delivery: &Delivery, error: io::Error) -> Result<(), Error> {
    if error.kind() != io::ErrorKind::UnexpectedEof {
        return Err(sqlx::Error::Io(error).into());
    }
    tracing::warn!(delivery.id = %delivery.delivery_id, "the bytes of a delivery are gone and cannot be kept");
    Ok(())
}

/// Why bytes could not be copied.
enum CopyError {
    Body(io::Error),
    Database(sqlx::Error),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

async fn copy_raw(connection: &mut PgConnection, delivery: &Delivery) -> Result<(), CopyError> {
    let mut copy = connection
        .copy_in_raw("copy quarantine (delivery_id, raw) from stdin (format binary)")
        .await?;
    copy.send(begin_row(delivery)).await?;
    let mut at = 0;
    while at < delivery.size_bytes {
        let piece = match read_piece(&delivery.body, at, delivery.size_bytes) {
            Ok(piece) => piece,
            Err(error) => {
                copy.abort("the bytes are gone").await?;
                return Err(CopyError::Body(error));
            }
        };
        at += piece.len() as u64;
        copy.send(piece.as_ref()).await?;
    }
    copy.send(copy::TRAILER.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}

/// A row with two fields, up to the length of the second one.
fn begin_row(delivery: &Delivery) -> Vec<u8> {
    let mut bytes = copy::HEADER.to_vec();
    bytes.extend_from_slice(&2_i16.to_be_bytes());
    bytes.extend_from_slice(&16_i32.to_be_bytes());
    bytes.extend_from_slice(delivery.delivery_id.as_bytes());
    // At most KEEP_RAW_BYTES_MAX.
    bytes.extend_from_slice(&(delivery.size_bytes as i32).to_be_bytes());
    bytes
}

/// The next bytes of a body of so many bytes.
fn read_piece(body: &Body, at: u64, size_bytes: u64) -> io::Result<Cow<'_, [u8]>> {
    let length = PIECE_BYTES.min((size_bytes - at) as usize);
    match body {
        Body::Memory(bytes) => bytes
            .get(at as usize..at as usize + length)
            .map(Cow::Borrowed)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        Body::File(file) => {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, at)?;
            Ok(Cow::Owned(piece))
        }
    }
}

impl Store {
    /// A delivery whose bytes are kept; [`Store::raw_piece`] reads them.
    pub async fn raw(&self, delivery_id: Uuid) -> Result<Option<RawDelivery>, Error> {
        let row = sqlx::query!(
            r#"
            select
                d.delivery_id, d.received_at, d.origin, d.name, octet_length(q.raw) as "size_bytes!",
                d.mail_from_domain, d.mail_dkim_domains, d.mail_dmarc_pass
            from deliveries d
            join quarantine q on q.delivery_id = d.delivery_id
            where d.delivery_id = $1
            "#,
            delivery_id
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(row.map(|row| RawDelivery {
            delivery_id: row.delivery_id,
            origin: row.origin,
            name: row.name,
            received_at: row.received_at,
            size_bytes: row.size_bytes as u64,
            authenticity: authenticity(
                row.mail_from_domain,
                row.mail_dkim_domains,
                row.mail_dmarc_pass,
            ),
        }))
    }

    /// Some of the kept bytes of a delivery, from there on; none at their end, `None` if they are not kept any more.
    pub async fn raw_piece(
        &self,
        delivery_id: Uuid,
        offset_bytes: u64,
    ) -> Result<Option<Bytes>, Error> {
        let piece = sqlx::query_scalar!(
            r#"
            select substring(raw from $2 for $3) as "piece!"
            from quarantine
            where delivery_id = $1
            "#,
            delivery_id,
            i32::try_from(offset_bytes).map_or(i32::MAX, |offset| offset.saturating_add(1)),
            PIECE_BYTES as i32
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(piece.map(Bytes::from))
    }

    /// Throws the bytes of a delivery away; its row in the ledger stays. `false` if none were kept.
    pub async fn discard(&self, delivery_id: Uuid) -> Result<bool, Error> {
        let mut connection = self.pool.acquire().await?;
        discard(&mut connection, delivery_id).await
    }

    /// The same because somebody wanted it.
    pub async fn discard_for(&self, delivery_id: Uuid, actor: &Actor) -> Result<bool, Error> {
        let mut transaction = self.pool.begin().await?;
        let is_discarded = discard(&mut transaction, delivery_id).await?;
        if is_discarded {
            let change = Change::new(Action::DeliveryDiscarded).of(delivery_id);
            record_change(&mut transaction, actor, &change).await?;
        }
        transaction.commit().await?;
        Ok(is_discarded)
    }

    /// Those of the deliveries that are dealt with, and their outcomes.
    pub async fn settled(&self, delivery_ids: &[Uuid]) -> Result<HashMap<Uuid, Outcome>, Error> {
        let rows = sqlx::query!(
            r#"
            select delivery_id, outcome
            from deliveries
            where delivery_id = any($1)
                and is_complete
            "#,
            delivery_ids
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((row.delivery_id, outcome(&row.outcome)?)))
            .collect()
    }

    /// For each of these deliveries, how many have come the same way with the same bytes and an id of the same time,
    /// itself included: as often as the same mail was delivered.
    pub async fn twin_counts(&self, delivery_ids: &[Uuid]) -> Result<HashMap<Uuid, usize>, Error> {
        // Whatever follows the time in a version 7 UUID.
        const REST: u128 = (1 << 80) - 1;
        let bound = |change: fn(u128) -> u128| -> Vec<Uuid> {
            let ids = delivery_ids.iter();
            ids.map(|id| Uuid::from_u128(change(id.as_u128())))
                .collect()
        };
        let rows = sqlx::query!(
            r#"
            select d.delivery_id, count(*) as "count!"
            from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as asked (delivery_id, first_id, last_id)
            join deliveries d
                on d.delivery_id = asked.delivery_id
            join deliveries twin
                on twin.delivery_id between asked.first_id and asked.last_id
                and twin.origin = d.origin
                and twin.size_bytes = d.size_bytes
                and twin.sha256 is not distinct from d.sha256
            group by d.delivery_id
            "#,
            delivery_ids,
            &bound(|id| id & !REST),
            &bound(|id| id | REST)
        )
        .fetch_all(&self.pool)
        .await?;
        let count = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(rows
            .into_iter()
            .map(|row| (row.delivery_id, count(row.count)))
            .collect())
    }
}

async fn discard(connection: &mut PgConnection, delivery_id: Uuid) -> Result<bool, Error> {
    let done = sqlx::query!("delete from quarantine where delivery_id = $1", delivery_id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

pub(crate) fn outcome(word: &str) -> Result<Outcome, Error> {
    Outcome::from_word(word).ok_or_else(|| Error::Corrupt {
        table: "deliveries",
        column: "outcome",
        detail: format!("{word:?}"),
    })
}

/// Mail that was checked has a list of domains, be it empty.
pub(crate) fn authenticity(
    from_domain: Option<String>,
    dkim_domains: Option<Vec<String>>,
    dmarc_pass: Option<bool>,
) -> Option<Authenticity> {
    Some(Authenticity {
        from_domain,
        dkim_domains: dkim_domains?,
        dmarc_pass,
    })
}
