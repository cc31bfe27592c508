//! The ledger of deliveries, as it is read.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt as _};
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Authenticity, DomainList, Error, Outcome, Store,
    delivery::OutcomeRow,
    ledger::{authenticity, outcome},
    query::page::{Page, text_bytes},
};

/// A row of the ledger.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// In order of receipt.
    pub delivery_id: Uuid,
    /// When it was handed over.
    pub received_at: OffsetDateTime,
    /// Its size as delivered; `None` to whoever does not see all of it.
    pub size_bytes: Option<i64>,
    /// `imap:<mailbox>`, `lmtp`, `http` or `file`; without the mailbox to whoever does not see all of it.
    pub origin: String,
    /// The most serious outcome of its documents.
    pub outcome: Outcome,
    /// File name or the like.
    pub name: Option<String>,
    /// SHA-256 of its bytes; `None` for a mail too large to be fetched.
    pub sha256: Option<Vec<u8>>,
    /// The outcome of each document.
    pub documents: Vec<OutcomeRow>,
    /// Whether those are all: not while what follows a large report is still being read.
    pub is_complete: bool,
    /// Whether its bytes are kept, so that it can be downloaded and tried again.
    pub raw_kept: bool,
    /// Who sent it, where it is a mail that was checked.
    pub authenticity: Option<Authenticity>,
}

impl DeliveryRow {
    /// What it takes in a page.
    fn bytes(&self) -> usize {
        let documents = self.documents.iter().map(OutcomeRow::size_bytes);
        text_bytes(&self.name) + documents.sum::<usize>()
    }

    /// What somebody sees of it who sees these domains only: `None` if none of its documents is of one of them.
    ///
    /// What is said of the delivery as a whole is left out if that holds more, or may yet, as are its bytes.
    pub fn seen_within(mut self, domains: &DomainList) -> Option<Self> {
        let document_count = self.documents.len();
        self.documents.retain(|document| {
            let domain = document.domain.as_deref();
            domain.is_some_and(|domain| domains.holds(domain))
        });
        if self.documents.is_empty() {
            return None;
        }
        if self.documents.len() < document_count || !self.is_complete {
            self.outcome = Outcome::of_all(&self.documents);
            self.size_bytes = None;
            if let Some(end) = self.origin.find(':') {
                self.origin.truncate(end);
            }
            self.name = None;
            self.sha256 = None;
            self.raw_kept = false;
            self.authenticity = None;
        }
        Some(self)
    }
}

/// Which deliveries to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Only those with this outcome.
    pub outcome: Option<Outcome>,
    /// Only those that came this way: `imap:<mailbox>`, `lmtp`, `http` or `file`.
    pub origin: Option<String>,
    /// Only mail whose sender was, or was not, shown to be who it says.
    pub mail_dmarc_pass: Option<bool>,
    /// Only those whose bytes are, or are not, kept for whoever asks.
    pub raw_kept: Option<bool>,
    /// Only those received before this one.
    pub before: Option<Uuid>,
    /// Only those with a document of one of these domains, and of them only these documents.
    pub domains: Option<DomainList>,
}

impl Store {
    /// Lists deliveries, newest first.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: i64,
    ) -> Result<Page<DeliveryRow>, Error> {
        if filter.raw_kept == Some(true) {
            return self.kept_deliveries(filter, limit).await;
        }
        if let Some(domains) = &filter.domains {
            return self.deliveries_within(domains, filter, limit).await;
        }
        let rows = sqlx::query_as!(
            LedgerRow,
            r#"
            select
                d.delivery_id, d.received_at, d.size_bytes, d.origin, d.outcome, d.name, d.sha256,
                d.mail_from_domain, d.mail_dkim_domains, d.mail_dmarc_pass,
                d.documents as "documents: Json<Vec<OutcomeRow>>", d.is_complete,
                exists (select from quarantine q where q.delivery_id = d.delivery_id) as "raw_kept!"
            from deliveries d
            where ($1::text is null or d.outcome = $1)
                and ($2::uuid is null or d.delivery_id < $2)
                and ($3::boolean is null or d.mail_dmarc_pass = $3)
                and ($4::text is null or d.origin = $4)
                and ($6::boolean is null or not exists (select from quarantine q where q.delivery_id = d.delivery_id))
            order by d.delivery_id desc
            limit $5
            "#,
            filter.outcome.map(Outcome::as_str),
            filter.before,
            filter.mail_dmarc_pass,
            filter.origin,
            limit,
            filter.raw_kept
        )
        .fetch(&self.reading);
        page_of(rows, limit, Some).await
    }

    /// The same of those whose bytes are kept. They are few, and found by what is kept: nearly all deliveries have nothing.
    ///
    /// Whoever sees some domains only gets no bytes of a delivery that holds more, or may yet.
    async fn kept_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: i64,
    ) -> Result<Page<DeliveryRow>, Error> {
        let rows = sqlx::query_as!(
            LedgerRow,
            r#"
            select
                d.delivery_id, d.received_at, d.size_bytes, d.origin, d.outcome, d.name, d.sha256,
                d.mail_from_domain, d.mail_dkim_domains, d.mail_dmarc_pass,
                d.documents as "documents: Json<Vec<OutcomeRow>>", d.is_complete,
                true as "raw_kept!"
            from quarantine q
            join deliveries d on d.delivery_id = q.delivery_id
            where ($1::text is null or d.outcome = $1)
                and ($2::uuid is null or q.delivery_id < $2)
                and ($3::boolean is null or d.mail_dmarc_pass = $3)
                and ($4::text is null or d.origin = $4)
                and (
                    $6::text[] is null
                    or (
                        d.is_complete
                        and not exists (
                            select
                            from jsonb_array_elements(d.documents) as document
                            where not exists (
                                select
                                from unnest($6) as name
                                where right('.' || (document->>'domain'), length(name) + 1) = '.' || name
                            )
                        )
                    )
                )
            order by q.delivery_id desc
            limit $5
            "#,
            filter.outcome.map(Outcome::as_str),
            filter.before,
            filter.mail_dmarc_pass,
            filter.origin,
            limit,
            filter.domains.as_ref().map(DomainList::names) as Option<&[String]>
        )
        .fetch(&self.reading);
        page_of(rows, limit, |row| match &filter.domains {
            Some(domains) => row.seen_within(domains),
            None => Some(row),
        })
        .await
    }

    /// The same for somebody who sees these domains only. A delivery that holds more is found by what is seen of it.
    async fn deliveries_within(
        &self,
        domains: &DomainList,
        filter: &DeliveryFilter,
        limit: i64,
    ) -> Result<Page<DeliveryRow>, Error> {
        let rows = sqlx::query_as!(
            LedgerRow,
            r#"
            select
                d.delivery_id, d.received_at, d.size_bytes, d.origin, d.outcome, d.name, d.sha256,
                d.mail_from_domain, d.mail_dkim_domains, d.mail_dmarc_pass,
                d.documents as "documents: Json<Vec<OutcomeRow>>", d.is_complete,
                exists (select from quarantine q where q.delivery_id = d.delivery_id) as "raw_kept!"
            from deliveries d
            cross join lateral (
                select
                    max(case document->>'outcome'
                        when 'rejected' then 4 when 'conflict' then 3 when 'stored' then 2 when 'duplicate' then 1 else 0
                    end) as weight,
                    d.is_complete and count(*) = jsonb_array_length(d.documents) as is_whole
                from jsonb_array_elements(d.documents) as document
                where exists (
                    select
                    from unnest($1::text[]) as name
                    where right('.' || (document->>'domain'), length(name) + 1) = '.' || name
                )
            ) as seen
            where seen.weight is not null
                and ($2::integer is null or seen.weight = $2)
                and ($3::uuid is null or d.delivery_id < $3)
                and ($4::boolean is null or (seen.is_whole and d.mail_dmarc_pass = $4))
                and ($5::text is null or case when seen.is_whole then d.origin else split_part(d.origin, ':', 1) end = $5)
                and (
                    $7::boolean is null
                    or not seen.is_whole
                    or not exists (select from quarantine q where q.delivery_id = d.delivery_id)
                )
            order by d.delivery_id desc
            limit $6
            "#,
            domains.names(),
            filter.outcome.map(|outcome| i32::from(outcome.weight())),
            filter.before,
            filter.mail_dmarc_pass,
            filter.origin,
            limit,
            filter.raw_kept
        )
        .fetch(&self.reading);
        page_of(rows, limit, |row| row.seen_within(domains)).await
    }

    /// One delivery.
    pub async fn delivery(&self, delivery_id: Uuid) -> Result<Option<DeliveryRow>, Error> {
        sqlx::query_as!(
            LedgerRow,
            r#"
            select
                d.delivery_id, d.received_at, d.size_bytes, d.origin, d.outcome, d.name, d.sha256,
                d.mail_from_domain, d.mail_dkim_domains, d.mail_dmarc_pass,
                d.documents as "documents: Json<Vec<OutcomeRow>>", d.is_complete,
                exists (select from quarantine q where q.delivery_id = d.delivery_id) as "raw_kept!"
            from deliveries d
            where d.delivery_id = $1
            "#,
            delivery_id
        )
        .fetch_optional(&self.reading)
        .await?
        .map(DeliveryRow::try_from)
        .transpose()
    }
}

/// The deliveries of a page, as far as they are seen.
async fn page_of(
    rows: impl Stream<Item = Result<LedgerRow, sqlx::Error>>,
    limit: i64,
    see: impl Fn(DeliveryRow) -> Option<DeliveryRow>,
) -> Result<Page<DeliveryRow>, Error> {
    let mut rows = pin!(rows);
    let mut page = Page::new(limit);
    while let Some(row) = rows.try_next().await? {
        let Some(row) = see(DeliveryRow::try_from(row)?) else {
            continue;
        };
        let bytes = row.bytes();
        if !page.add(row, bytes) {
            break;
        }
    }
    Ok(page)
}

/// A row of the ledger as it is read.
struct LedgerRow {
    delivery_id: Uuid,
    received_at: OffsetDateTime,
    size_bytes: i64,
    origin: String,
    outcome: String,
    name: Option<String>,
    sha256: Option<Vec<u8>>,
    documents: Json<Vec<OutcomeRow>>,
    is_complete: bool,
    raw_kept: bool,
    mail_from_domain: Option<String>,
    mail_dkim_domains: Option<Vec<String>>,
    mail_dmarc_pass: Option<bool>,
}

impl TryFrom<LedgerRow> for DeliveryRow {
    type Error = Error;

    fn try_from(row: LedgerRow) -> Result<Self, Error> {
        Ok(Self {
            delivery_id: row.delivery_id,
            received_at: row.received_at,
            size_bytes: Some(row.size_bytes),
            origin: row.origin,
            outcome: outcome(&row.outcome)?,
            name: row.name,
            sha256: row.sha256,
            documents: row.documents.0,
            is_complete: row.is_complete,
            raw_kept: row.raw_kept,
            authenticity: authenticity(
                row.mail_from_domain,
                row.mail_dkim_domains,
                row.mail_dmarc_pass,
            ),
        })
    }
}
