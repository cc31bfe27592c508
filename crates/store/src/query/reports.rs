//! Reports, one by one.

use futures_util::TryStreamExt as _;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{
    Error, Store, Visible,
    query::page::{Page, json_bytes, text_bytes},
};

/// A stored report without its records.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the columns of the table reports, where they are described; warnings are JSON"
)]
pub struct ReportRow {
    pub report_uid: Uuid,
    pub domain: String,
    pub domain_as_reported: Option<String>,
    pub org_name: String,
    pub email: Option<String>,
    pub extra_contact_info: Option<String>,
    pub report_id: String,
    pub begin_at: OffsetDateTime,
    pub end_at: OffsetDateTime,
    pub day: Date,
    pub day_count: i32,
    pub p: Option<String>,
    pub sp: Option<String>,
    pub np: Option<String>,
    pub adkim: Option<String>,
    pub aspf: Option<String>,
    pub pct: Option<i16>,
    pub fo: Option<String>,
    pub testing: Option<bool>,
    pub discovery_method: Option<String>,
    pub version: Option<String>,
    pub xml_namespace: Option<String>,
    pub generator: Option<String>,
    pub errors: Vec<String>,
    pub warnings: String,
    pub content_sha256: Vec<u8>,
    pub record_count: i64,
    pub skipped_count: i64,
    pub message_count: i64,
    pub dmarc_pass_count: i64,
    pub received_at: OffsetDateTime,
    pub delivery_id: Uuid,
    pub mail_from_domain: Option<String>,
    pub mail_dkim_domains: Option<Vec<String>>,
    pub mail_dmarc_pass: Option<bool>,
}

/// Which reports to list: those of the latest days first.
#[derive(Clone, Debug, Default)]
pub struct ReportFilter {
    /// Only of these policy domains.
    pub visible: Visible,
    /// Only of this policy domain.
    pub domain_id: Option<i64>,
    /// Only of this reporter.
    pub org_name: Option<String>,
    /// Only those whose mail was, or was not, shown to come from where it says.
    pub mail_dmarc_pass: Option<bool>,
    /// Only from this day on.
    pub from: Option<Date>,
    /// Only up to this day.
    pub to: Option<Date>,
    /// Only what comes after this place: the day and id of the last one seen.
    pub after: Option<(Date, Uuid)>,
}

impl ReportRow {
    /// What it takes in a page: its texts.
    fn bytes(&self) -> usize {
        let texts = [
            &self.email,
            &self.extra_contact_info,
            &self.domain_as_reported,
            &self.fo,
            &self.version,
            &self.xml_namespace,
            &self.generator,
        ];
        let texts = texts.into_iter().map(text_bytes);
        let errors = self.errors.iter().map(String::len);
        let always = self.domain.len() + self.org_name.len() + self.report_id.len();
        always + texts.chain(errors).sum::<usize>() + json_bytes(&self.warnings)
    }
}

impl Store {
    /// Lists reports, those of the latest days first.
    pub async fn reports(
        &self,
        filter: &ReportFilter,
        limit: i64,
    ) -> Result<Page<ReportRow>, Error> {
        let mut rows = sqlx::query_as!(
            ReportRow,
            r#"
            select
                p.report_uid, d.name as domain, p.domain_as_reported, p.org_name, p.email, p.extra_contact_info, p.report_id,
                p.begin_at, p.end_at, p.day, p.day_count, p.p, p.sp, p.np, p.adkim, p.aspf, p.pct, p.fo, p.testing,
                p.discovery_method, p.version, p.xml_namespace, p.generator, p.errors, p.warnings::text as "warnings!", p.content_sha256,
                p.record_count, p.skipped_count, p.message_count, p.dmarc_pass_count, p.received_at, p.delivery_id,
                p.mail_from_domain, p.mail_dkim_domains, p.mail_dmarc_pass
            from reports p
            join domains d on d.domain_id = p.domain_id
            where ($1::bigint is null or p.domain_id = $1)
                and ($2::text is null or p.org_name = $2)
                and ($3::date is null or p.day >= $3)
                and ($4::date is null or p.day <= $4)
                and ($5::date is null or (p.day, p.report_uid) < ($5, $6))
                and ($7::boolean is null or p.mail_dmarc_pass = $7)
                and ($9::bigint[] is null or p.domain_id = any($9))
            order by p.day desc, p.report_uid desc
            limit $8
            "#,
            filter.domain_id,
            filter.org_name,
            filter.from,
            filter.to,
            filter.after.map(|(day, _)| day),
            filter.after.map(|(_, report_uid)| report_uid),
            filter.mail_dmarc_pass,
            limit,
            filter.visible.domain_ids()
        )
        .fetch(&self.reading);
        let mut page = Page::new(limit);
        while let Some(row) = rows.try_next().await? {
            let bytes = row.bytes();
            if !page.add(row, bytes) {
                break;
            }
        }
        Ok(page)
    }

    /// One report.
    pub async fn report(&self, report_uid: Uuid) -> Result<Option<ReportRow>, Error> {
        Ok(sqlx::query_as!(
            ReportRow,
            r#"
            select
                p.report_uid, d.name as domain, p.domain_as_reported, p.org_name, p.email, p.extra_contact_info, p.report_id,
                p.begin_at, p.end_at, p.day, p.day_count, p.p, p.sp, p.np, p.adkim, p.aspf, p.pct, p.fo, p.testing,
                p.discovery_method, p.version, p.xml_namespace, p.generator, p.errors, p.warnings::text as "warnings!", p.content_sha256,
                p.record_count, p.skipped_count, p.message_count, p.dmarc_pass_count, p.received_at, p.delivery_id,
                p.mail_from_domain, p.mail_dkim_domains, p.mail_dmarc_pass
            from reports p
            join domains d on d.domain_id = p.domain_id
            where p.report_uid = $1
            "#,
            report_uid
        )
        .fetch_optional(&self.reading)
        .await?)
    }
}
