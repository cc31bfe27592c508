//! Grafana's dashboards: what every panel shows is what the API says, read as a member of `ruad_reader`.
//!
//! No Grafana runs here: the statements are taken out of the dashboards, their macros and variables expanded as Grafana's
//! PostgreSQL datasource does (`macros`), and what they return is compared with the API (`figures`).

mod dashboards;
mod figures;
mod macros;
mod reader;
mod readers;

use std::collections::BTreeMap;

use dashboards::{Dashboard, dashboards};
use figures::Figures;
use macros::{Expansion, Variable};
use reader::{Reader, Rows};

use crate::{
    generated::imported,
    harness::{Database, Service},
};

/// A mailbox in each state that an operator must tell apart.
const MAILBOXES: &str = "insert into mailboxes (name, state, holder, lease_until, backlog, last_error_code, last_error, last_error_at) values \
    ('broken', 'failed', 'mx1:1', now() + interval '1 hour', null, 'credentials', 'the server refuses them', now()), \
    ('lost', 'waiting', 'mx1:2', now() - interval '1 hour', 7, null, null, null), \
    ('old', 'stopped', null, null, 0, null, null, null)";

/// A filled service, and somebody who reads its views.
async fn filled() -> (Service, Reader) {
    let (_, database) = imported().await;
    database.execute(MAILBOXES).await;
    let service = Service::start_with(database, |_| {}).await;
    let reader = Reader::join(&service.database).await;
    (service, reader)
}

/// Runs every panel of a dashboard and compares what it returns.
async fn assert_figures(
    dashboard: &Dashboard,
    variables: BTreeMap<&'static str, Variable>,
    reader: &Reader,
    expected: impl Fn(&str) -> Option<Rows>,
) {
    let expansion = Expansion::of_all_days(variables);
    for panel in &dashboard.panels {
        let place = format!("{}: {}", dashboard.uid, panel.title);
        let sql = expansion.expand(&panel.sql).unwrap_or_else(|error| {
            panic!("{place}: {error}");
        });
        let rows = reader.rows(&sql).await;
        let expected = expected(&panel.title)
            .unwrap_or_else(|| panic!("{place}: nothing is said of what it must show"));
        assert_eq!(rows.sorted(), expected.sorted(), "{place}\n{sql}");
    }
}

fn dashboard(uid: &str) -> Dashboard {
    let found = dashboards()
        .into_iter()
        .find(|dashboard| dashboard.uid == uid);
    found.unwrap_or_else(|| panic!("there is no dashboard {uid}"))
}

fn some(value: &str) -> Variable {
    Variable::Text(value.into())
}

/// What Grafana puts in for "All": the `allValue` of the variable, as it is.
fn all_domains() -> Variable {
    Variable::Raw("'*'".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_overview_shows_what_the_api_says() {
    let (service, reader) = filled().await;
    let figures = Figures::fetch(&service).await;
    let two = figures.domains().into_iter().take(2).collect::<Vec<_>>();

    let choices = [
        (all_domains(), figures.domains()),
        (Variable::Several(two.clone()), two),
    ];
    for (chosen, domains) in choices {
        let variables = BTreeMap::from([("domain", chosen), ("interval", some("day"))]);
        assert_figures(&dashboard("ruad-overview"), variables, &reader, |title| {
            figures.of_overview(title, &domains)
        })
        .await;
    }
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_domain_shows_what_the_api_says() {
    let (service, reader) = filled().await;
    let figures = Figures::fetch(&service).await;

    for domain in figures.domains() {
        let variables = BTreeMap::from([("domain", some(&domain)), ("interval", some("day"))]);
        assert_figures(&dashboard("ruad-domain"), variables, &reader, |title| {
            figures.of_domain(title, &domain)
        })
        .await;
    }
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_source_shows_what_the_api_says() {
    let (service, reader) = filled().await;
    let figures = Figures::fetch(&service).await;

    for source_ip in figures.source_ips().into_iter().step_by(8) {
        let source = figures::Source::fetch(&service, &source_ip).await;
        let variables = BTreeMap::from([
            ("domain", all_domains()),
            ("source_ip", some(&source_ip)),
            ("interval", some("day")),
        ]);
        assert_figures(&dashboard("ruad-source"), variables, &reader, |title| {
            source.of(title, &figures)
        })
        .await;
    }
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_operations_show_what_the_api_says() {
    let (service, reader) = filled().await;
    let figures = Figures::fetch(&service).await;

    assert_figures(
        &dashboard("ruad-operations"),
        BTreeMap::new(),
        &reader,
        |title| figures.of_operations(title),
    )
    .await;
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_weeks_and_months_hold_what_their_days_hold() {
    let (service, reader) = filled().await;
    let overview = dashboard("ruad-overview");
    let panel = overview.panel("Messages by DMARC result");
    let mut totals = Vec::new();
    for interval in ["day", "week", "month"] {
        let variables = BTreeMap::from([("domain", all_domains()), ("interval", some(interval))]);
        let sql = Expansion::of_all_days(variables)
            .expand(&panel.sql)
            .unwrap();
        totals.push(reader.rows(&sql).await.column_sum(1));
    }
    assert!(totals[0] > 0.0 && totals.iter().all(|total| *total == totals[0]));
    reader.leave(&service.database).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_panels_of_an_empty_installation_run() {
    let database = Database::fresh().await;
    let reader = Reader::join(&database).await;
    for dashboard in dashboards() {
        let variables = BTreeMap::from([
            ("domain", all_domains()),
            ("source_ip", some("")),
            ("interval", some("month")),
        ]);
        let expansion = Expansion::of_all_days(variables);
        for statement in dashboard.statements() {
            reader.rows(&expansion.expand(statement).unwrap()).await;
        }
    }
    reader.leave(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_lists_the_domains_to_choose_from() {
    let (service, reader) = filled().await;
    let figures = Figures::fetch(&service).await;
    for uid in ["ruad-overview", "ruad-domain", "ruad-source"] {
        let dashboard = dashboard(uid);
        let rows = reader.rows(&dashboard.domain_query).await;
        assert_eq!(
            rows,
            Rows::of(figures.domains().iter().map(|domain| [domain.as_str()]))
        );
    }
    reader.leave(&service.database).await;
    service.stop().await;
}
