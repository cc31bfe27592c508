//! A row of `reports` on its way in.

use report::{Header, Summary, Warning};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{
    Delivery, Error,
    identity::{at, day_count, day_of, report_uid},
    json::iso_day,
};

/// The report that a record belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportKey {
    pub(crate) domain_id: i64,
    pub(crate) report_uid: Uuid,
    pub(crate) day: Date,
}

/// A row of `reports` as JSON, which PostgreSQL turns into columns by their names.
#[derive(Debug, Serialize)]
pub(crate) struct NewReportRow<'a> {
    pub(crate) domain_id: i64,
    pub(crate) report_uid: Uuid,
    delivery_id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    received_at: OffsetDateTime,
    org_name: &'a str,
    report_id: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    begin_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    end_at: OffsetDateTime,
    #[serde(serialize_with = "iso_day")]
    pub(crate) day: Date,
    pub(crate) day_count: i32,
    record_count: u64,
    skipped_count: u64,
    message_count: u64,
    dmarc_pass_count: u64,
    content_sha256: String,
    domain_as_reported: Option<&'a str>,
    p: Option<report::Policy>,
    sp: Option<report::Policy>,
    np: Option<report::Policy>,
    adkim: Option<report::Alignment>,
    aspf: Option<report::Alignment>,
    pct: Option<u8>,
    fo: Option<&'a str>,
    testing: Option<bool>,
    discovery_method: Option<report::DiscoveryMethod>,
    version: Option<&'a str>,
    xml_namespace: Option<&'a str>,
    email: Option<&'a str>,
    extra_contact_info: Option<&'a str>,
    generator: Option<&'a str>,
    errors: &'a [String],
    warnings: &'a [Warning],
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_from_domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_dkim_domains: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail_dmarc_pass: Option<bool>,
}

impl<'a> NewReportRow<'a> {
    pub(crate) fn key(&self) -> ReportKey {
        ReportKey {
            domain_id: self.domain_id,
            report_uid: self.report_uid,
            day: self.day,
        }
    }

    /// The row of a report that was read to its end.
    pub(crate) fn complete(delivery: &'a Delivery, domain_id: i64, summary: &'a Summary) -> Self {
        Self {
            day_count: day_count(&summary.header, summary.record_count),
            record_count: summary.record_count,
            skipped_count: summary.skipped_count,
            message_count: summary.message_count,
            dmarc_pass_count: summary.dmarc_pass_count,
            content_sha256: hex_bytea(&summary.content_sha256),
            warnings: &summary.warnings,
            ..Self::begun(delivery, domain_id, &summary.header)
        }
    }

    /// The row of a report of which only the header was read: its totals are still to come.
    pub(crate) fn begun(delivery: &'a Delivery, domain_id: i64, header: &'a Header) -> Self {
        let metadata = &header.report_metadata;
        let policy = &header.policy_published;
        let mail = delivery.authenticity.as_ref();
        Self {
            domain_id,
            report_uid: report_uid(header),
            delivery_id: delivery.delivery_id,
            received_at: delivery.received_at,
            org_name: &metadata.org_name,
            report_id: &metadata.report_id,
            begin_at: at(metadata.date_range.begin),
            end_at: at(metadata.date_range.end),
            day: day_of(header),
            day_count: 1,
            record_count: 0,
            skipped_count: 0,
            message_count: 0,
            dmarc_pass_count: 0,
            content_sha256: hex_bytea(&[]),
            domain_as_reported: policy.domain_as_reported.as_deref(),
            p: policy.p,
            sp: policy.sp,
            np: policy.np,
            adkim: policy.adkim,
            aspf: policy.aspf,
            pct: policy.pct,
            fo: policy.fo.as_deref(),
            testing: policy.testing,
            discovery_method: policy.discovery_method,
            version: header.version.as_deref(),
            xml_namespace: header.xml_namespace.as_deref(),
            email: metadata.email.as_deref(),
            extra_contact_info: metadata.extra_contact_info.as_deref(),
            generator: metadata.generator.as_deref(),
            errors: &metadata.error,
            warnings: &[],
            mail_from_domain: mail.and_then(|mail| mail.from_domain.as_deref()),
            mail_dkim_domains: mail.map(|mail| mail.dkim_domains.as_slice()),
            mail_dmarc_pass: mail.and_then(|mail| mail.dmarc_pass),
        }
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
            email, extra_contact_info, generator, errors, warnings,
            mail_from_domain, mail_dkim_domains, mail_dmarc_pass
        from jsonb_populate_recordset(null::reports, $1)
        on conflict (domain_id, report_uid, day) do nothing
        returning report_uid
        "#,
        Json(rows) as _
    )
    .fetch_all(connection)
    .await?)
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

pub(crate) fn hex_bytea(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
    }
    text
}
