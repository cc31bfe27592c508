//! A row of `reports` on its way in.

use report::{
    Alignment, DiscoveryMethod, Header, Policy, PolicyPublished, ReportMetadata, Summary,
};
use sqlx::PgConnection;
use time::Date;
use uuid::Uuid;

use crate::{
    Authenticity, Delivery, Error,
    identity::{at, day_count, day_of, report_uid},
    unnest::{column, json, text_literal},
};

/// The report that a record belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportKey {
    pub(crate) domain_id: i64,
    pub(crate) report_uid: Uuid,
    pub(crate) day: Date,
}

/// A row of `reports` on its way in.
#[derive(Debug)]
pub(crate) struct NewReportRow<'a> {
    pub(crate) domain_id: i64,
    pub(crate) report_uid: Uuid,
    pub(crate) day: Date,
    pub(crate) day_count: i32,
    delivery: &'a Delivery,
    header: &'a Header,
    /// What is known only after the last record.
    totals: Option<&'a Summary>,
}

impl<'a> NewReportRow<'a> {
    /// The row of a report that was read to its end.
    pub(crate) fn complete(delivery: &'a Delivery, domain_id: i64, summary: &'a Summary) -> Self {
        Self {
            day_count: day_count(&summary.header, summary.record_count),
            totals: Some(summary),
            ..Self::begun(delivery, domain_id, &summary.header)
        }
    }

    /// The row of a report of which only the header was read: its totals are still to come.
    pub(crate) fn begun(delivery: &'a Delivery, domain_id: i64, header: &'a Header) -> Self {
        Self {
            domain_id,
            report_uid: report_uid(header),
            day: day_of(header),
            day_count: 1,
            delivery,
            header,
            totals: None,
        }
    }

    pub(crate) fn key(&self) -> ReportKey {
        ReportKey {
            domain_id: self.domain_id,
            report_uid: self.report_uid,
            day: self.day,
        }
    }

    fn metadata(&self) -> &'a ReportMetadata {
        &self.header.report_metadata
    }

    fn policy(&self) -> &'a PolicyPublished {
        &self.header.policy_published
    }

    fn mail(&self) -> Option<&'a Authenticity> {
        self.delivery.authenticity.as_ref()
    }

    /// One of the totals, 0 while it is not known.
    fn total(&self, total: impl Fn(&Summary) -> u64) -> i64 {
        self.totals.map_or(0, |summary| {
            i64::try_from(total(summary)).unwrap_or(i64::MAX)
        })
    }

    fn content_sha256(&self) -> Vec<u8> {
        self.totals
            .map_or_else(Vec::new, |summary| summary.content_sha256.to_vec())
    }

    fn warnings(&self) -> String {
        let warnings = self.totals.map_or(&[][..], |summary| &summary.warnings);
        json(warnings)
    }
}

/// Inserts those of the reports that are not stored yet and returns their ids.
///
/// Rows are inserted in the order given, each waiting for another transaction that is storing the same report: callers
/// that sort by `(domain_id, report_uid)` cannot deadlock.
pub(crate) async fn insert_reports(
    connection: &mut PgConnection,
    rows: &[NewReportRow<'_>],
) -> Result<Vec<Uuid>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        insert into reports (
            domain_id, report_uid, delivery_id, received_at, org_name, report_id, begin_at, end_at, day, day_count,
            record_count, skipped_count, message_count, dmarc_pass_count, content_sha256, domain_as_reported,
            p, sp, np, adkim, aspf, pct, fo, testing, discovery_method, version, xml_namespace,
            email, extra_contact_info, generator, errors, warnings,
            mail_from_domain, mail_dkim_domains, mail_dmarc_pass
        )
        select
            domain_id, report_uid, delivery_id, received_at, org_name, report_id, begin_at, end_at, day, day_count,
            record_count, skipped_count, message_count, dmarc_pass_count, content_sha256, domain_as_reported,
            p, sp, np, adkim, aspf, pct, fo, testing, discovery_method, version, xml_namespace,
            email, extra_contact_info, generator, errors::text[], warnings::jsonb,
            mail_from_domain, mail_dkim_domains::text[], mail_dmarc_pass
        from unnest(
            $1::bigint[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::date[], $10::integer[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
            $15::bytea[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::smallint[],
            $23::text[], $24::boolean[], $25::text[], $26::text[], $27::text[], $28::text[], $29::text[], $30::text[],
            $31::text[], $32::text[], $33::text[], $34::text[], $35::boolean[]
        ) as new (
            domain_id, report_uid, delivery_id, received_at, org_name, report_id, begin_at,
            end_at, day, day_count, record_count, skipped_count, message_count, dmarc_pass_count,
            content_sha256, domain_as_reported, p, sp, np, adkim, aspf, pct,
            fo, testing, discovery_method, version, xml_namespace, email, extra_contact_info, generator,
            errors, warnings, mail_from_domain, mail_dkim_domains, mail_dmarc_pass
        )
        on conflict (domain_id, report_uid, day) do nothing
        returning report_uid
        "#,
        &column(rows, |row| row.domain_id),
        &column(rows, |row| row.report_uid),
        &column(rows, |row| row.delivery.delivery_id),
        &column(rows, |row| row.delivery.received_at),
        &column(rows, |row| row.metadata().org_name.as_str()) as _,
        &column(rows, |row| row.metadata().report_id.as_str()) as _,
        &column(rows, |row| at(row.metadata().date_range.begin)),
        &column(rows, |row| at(row.metadata().date_range.end)),
        &column(rows, |row| row.day),
        &column(rows, |row| row.day_count),
        &column(rows, |row| row.total(|totals| totals.record_count)),
        &column(rows, |row| row.total(|totals| totals.skipped_count)),
        &column(rows, |row| row.total(|totals| totals.message_count)),
        &column(rows, |row| row.total(|totals| totals.dmarc_pass_count)),
        &column(rows, NewReportRow::content_sha256),
        &column(rows, |row| row.policy().domain_as_reported.as_deref()) as _,
        &column(rows, |row| row.policy().p.map(Policy::as_str)) as _,
        &column(rows, |row| row.policy().sp.map(Policy::as_str)) as _,
        &column(rows, |row| row.policy().np.map(Policy::as_str)) as _,
        &column(rows, |row| row.policy().adkim.map(Alignment::as_str)) as _,
        &column(rows, |row| row.policy().aspf.map(Alignment::as_str)) as _,
        &column(rows, |row| row.policy().pct.map(i16::from)) as _,
        &column(rows, |row| row.policy().fo.as_deref()) as _,
        &column(rows, |row| row.policy().testing) as _,
        &column(rows, |row| row.policy().discovery_method.map(DiscoveryMethod::as_str)) as _,
        &column(rows, |row| row.header.version.as_deref()) as _,
        &column(rows, |row| row.header.xml_namespace.as_deref()) as _,
        &column(rows, |row| row.metadata().email.as_deref()) as _,
        &column(rows, |row| row.metadata().extra_contact_info.as_deref()) as _,
        &column(rows, |row| row.metadata().generator.as_deref()) as _,
        &column(rows, |row| text_literal(&row.metadata().error)),
        &column(rows, NewReportRow::warnings),
        &column(rows, |row| row.mail().and_then(|mail| mail.from_domain.as_deref())) as _,
        &column(rows, |row| row.mail().map(|mail| text_literal(&mail.dkim_domains))) as _,
        &column(rows, |row| row.mail().and_then(|mail| mail.dmarc_pass)) as _
    )
    .fetch_all(connection)
    .await?)
}

/// Sets what is known of a report only after its last record.
pub(crate) async fn complete_report(
    connection: &mut PgConnection,
    row: &NewReportRow<'_>,
) -> Result<(), Error> {
    let updated = sqlx::query!(
        r#"
        update reports
        set
            day_count = $4,
            record_count = $5,
            skipped_count = $6,
            message_count = $7,
            dmarc_pass_count = $8,
            content_sha256 = $9,
            version = $10,
            warnings = $11::text::jsonb
        where domain_id = $1
            and report_uid = $2
            and day = $3
        "#,
        row.domain_id,
        row.report_uid,
        row.day,
        row.day_count,
        row.total(|totals| totals.record_count),
        row.total(|totals| totals.skipped_count),
        row.total(|totals| totals.message_count),
        row.total(|totals| totals.dmarc_pass_count),
        row.content_sha256(),
        row.header.version.as_deref(),
        row.warnings()
    )
    .execute(connection)
    .await?;
    if updated.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Deleted)
    }
}

/// What is stored under an identity: enough to tell a duplicate from a conflict.
#[derive(Debug)]
pub(crate) struct StoredReport {
    pub(crate) report_uid: Uuid,
    pub(crate) delivery_id: Uuid,
    pub(crate) content_sha256: Vec<u8>,
}

/// Reads what is stored under these identities.
pub(crate) async fn stored_reports(
    connection: &mut PgConnection,
    domain_ids: &[i64],
    report_uids: &[Uuid],
) -> Result<Vec<StoredReport>, Error> {
    Ok(sqlx::query_as!(
        StoredReport,
        r#"
        select report_uid, delivery_id, content_sha256
        from reports
        where domain_id = any($1)
            and report_uid = any($2)
        "#,
        domain_ids,
        report_uids
    )
    .fetch_all(connection)
    .await?)
}
