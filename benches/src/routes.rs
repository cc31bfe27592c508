//! What the API is asked: each route with paths that are asked one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    fill::{DAYS, Filled},
    postgres::Server,
    results::thousands,
};

const RANGE_DAYS: usize = 30;
const LONG_RANGE_DAYS: usize = 120;
/// Records of a middle domain.
const MIDDLE_RECORDS: u64 = 75_000;
/// So many domains of a size are asked about in turns.
const DOMAINS: usize = 10;
/// Ids of reports and deliveries that are asked for in turns.
const IDS: usize = 400;

/// Numbers of hosts as in `benches/sql/month.sql`.
const BIG_HOSTS: u64 = 16_777_216;
const OWN_HOSTS: u64 = 4_096;
const SHARED_HOSTS: u64 = 20;

/// One question in many forms.
pub(crate) struct Route {
    pub(crate) name: String,
    /// The target for its 99th percentile, in ms, and when it must hold.
    pub(crate) target: &'static str,
    /// Asked in this order, then from the first again.
    pub(crate) paths: Vec<String>,
}

/// Targets.
const SOURCES: &str = "10";
const BIG_SOURCES: &str = "250";
const BIG_SOURCES_AGAIN: &str = "5";
const SUMMARY: &str = "50, import beside";
const FIRST_VIEW: &str = "1,000";

/// What the first page of the web page asks for (`crates/api/assets/pages/overview.js`).
const OVERVIEW: &str = "/api/v1/domains?limit=200&series=true";

/// All routes; where no range is given, it is the default one, and where answers may be kept, each path is another.
pub(crate) fn routes(server: &Server, filled: &Filled) -> Result<Vec<Route>> {
    let mut routes = domain_routes(filled);
    routes.extend(source_routes(filled));
    routes.extend(address_routes(filled));
    routes.extend(report_routes(server, filled)?);
    routes.extend(delivery_routes(server, filled)?);
    Ok(routes)
}

fn route(name: impl Into<String>, target: &'static str, paths: Vec<String>) -> Route {
    Route {
        name: name.into(),
        target,
        paths,
    }
}

fn domain_routes(filled: &Filled) -> Vec<Route> {
    let middle = ranks(filled, MIDDLE_RECORDS);
    let summary = |domains: &[String], range_days| ranges(filled, domains, "summary?", range_days);
    let again = vec!["/api/v1/domains/big.example/summary".into()];
    let list = windows(RANGE_DAYS)
        .map(|window| format!("/api/v1/domains?{}", days(filled, window)))
        .collect();
    let overview = windows(RANGE_DAYS)
        .map(|window| format!("{OVERVIEW}&{}", days(filled, window)))
        .collect();
    vec![
        route(
            "domains, the same page again",
            "",
            vec!["/api/v1/domains".into()],
        ),
        route("domains, first page, 30 other days each time", "", list),
        route(
            "domains as the web page asks for them",
            FIRST_VIEW,
            vec![OVERVIEW.into()],
        ),
        route(
            "domains as the web page asks for them, 30 other days each time",
            FIRST_VIEW,
            overview,
        ),
        route(
            "summary, 30 days, small domain",
            "",
            summary(&small(), RANGE_DAYS),
        ),
        route(
            "summary, 30 days, middle domain",
            SUMMARY,
            summary(&middle, RANGE_DAYS),
        ),
        route(
            "summary, 371 to 400 days, middle domain",
            SUMMARY,
            long(filled, &middle, "summary?"),
        ),
        route(
            "summary, 30 days, big domain, first call",
            "",
            summary(&big(), RANGE_DAYS),
        ),
        route("summary, 30 days, big domain, repeated", "", again),
    ]
}

fn source_routes(filled: &Filled) -> Vec<Route> {
    let sources =
        |domains: &[String], range_days| ranges(filled, domains, "sources?limit=50&", range_days);
    let middle = ranks(filled, MIDDLE_RECORDS);
    let busy_records = MIDDLE_RECORDS * (DAYS / RANGE_DAYS) as u64;
    let busy = ranks(filled, busy_records);
    let busy_name = format!(
        "sources, top 50, 30 days, domain with {} records in them",
        thousands(
            (filled.records_of(filled.rank_near(busy_records)) * RANGE_DAYS as u64) as f64
                / DAYS as f64
        )
    );
    let middle_records = filled.records_of(filled.rank_near(MIDDLE_RECORDS));
    let middle_name = format!(
        "sources, top 50, 30 days, middle domain ({} records)",
        thousands(middle_records as f64)
    );
    let big_name = format!(
        "sources, top 50, 30 days, big domain ({} records), first call",
        thousands(filled.big_records as f64)
    );
    let again = vec!["/api/v1/domains/big.example/sources?limit=50".into()];
    vec![
        route(
            "sources, top 50, 30 days, small domain",
            SOURCES,
            sources(&small(), RANGE_DAYS),
        ),
        route(middle_name, SOURCES, sources(&middle, RANGE_DAYS)),
        route(busy_name, SOURCES, sources(&busy, RANGE_DAYS)),
        route(
            "sources, top 50, 371 to 400 days, middle domain",
            "",
            long(filled, &middle, "sources?limit=50&"),
        ),
        route(big_name, BIG_SOURCES, sources(&big(), RANGE_DAYS)),
        route(
            "sources, top 50, 30 days, big domain, repeated",
            BIG_SOURCES_AGAIN,
            again,
        ),
        route(
            "sources, top 50, 120 days, big domain, first call",
            "",
            sources(&big(), LONG_RANGE_DAYS),
        ),
    ]
}

fn address_routes(filled: &Filled) -> Vec<Route> {
    let paths = |hosts: &mut dyn Iterator<Item = u64>| -> Vec<String> {
        hosts
            .map(|host| format!("/api/v1/sources/{}", address(host)))
            .collect()
    };
    let rank = filled.rank_near(MIDDLE_RECORDS);
    let mut rare = (0..IDS as u64).map(|number| BIG_HOSTS + number * 25 + 1);
    let mut own = (0..50).map(|number| OWN_HOSTS * (rank + 1) + number);
    let mut shared = 0..SHARED_HOSTS;
    vec![
        route("source, seen once", SUMMARY, paths(&mut rare)),
        route("source, host of a middle domain", SUMMARY, paths(&mut own)),
        route("source, in 1,000 domains", SUMMARY, paths(&mut shared)),
    ]
}

fn report_routes(server: &Server, filled: &Filled) -> Result<Vec<Route>> {
    let statement = format!(
        "select report_uid from reports where day in ('{}', '{}') limit {IDS}",
        filled.days[50],
        filled.days[DAYS - 50]
    );
    let ids = server.query(&filled.database, &statement)?;
    let report = |more: &str| -> Vec<String> {
        ids.lines()
            .map(|id| format!("/api/v1/reports/{id}{more}"))
            .collect()
    };
    let middle = ranks(filled, MIDDLE_RECORDS);
    let of_domain = |number: usize, more: &str| {
        let domain = &middle[number % middle.len()];
        format!("/api/v1/reports?domain={domain}{more}")
    };
    let in_range = windows(RANGE_DAYS)
        .enumerate()
        .map(|(number, window)| of_domain(number, &format!("&{}", days(filled, window))))
        .collect();
    let of_reporter = (0..IDS)
        .map(|number| {
            of_domain(
                number,
                &format!("&org_name=reporter-{}.example", number % 30),
            )
        })
        .collect();
    Ok(vec![
        route("reports, newest", "", vec!["/api/v1/reports".into()]),
        route("reports, middle domain, 30 days", "", in_range),
        route("reports, middle domain, one reporter", "", of_reporter),
        route("report", "", report("")),
        route("records of a report", "", report("/records")),
    ])
}

fn delivery_routes(server: &Server, filled: &Filled) -> Result<Vec<Route>> {
    let statement = format!(
        "select delivery_id from deliveries where delivery_id > (select delivery_id from reports where day = '{}' limit 1) \
         order by delivery_id limit {IDS}",
        filled.days[DAYS / 2]
    );
    let ids = server.query(&filled.database, &statement)?;
    let delivery = |id: &str| format!("/api/v1/deliveries/{id}");
    let list = |filter: &str| vec![format!("/api/v1/deliveries{filter}")];
    Ok(vec![
        route("deliveries, newest", "", list("")),
        route("deliveries, rejected", "", list("?outcome=rejected")),
        route("deliveries, duplicate", "", list("?outcome=duplicate")),
        route("deliveries, by HTTP", "", list("?origin=http")),
        route("delivery", "", ids.lines().map(delivery).collect()),
    ])
}

/// Domains of about so many records.
fn ranks(filled: &Filled, records: u64) -> Vec<String> {
    let first = filled.rank_near(records);
    (first..first + DOMAINS as u64).map(name).collect()
}

fn small() -> Vec<String> {
    (901..=1000).map(name).collect()
}

fn big() -> Vec<String> {
    vec!["big.example".into()]
}

fn name(rank: u64) -> String {
    format!("company-{rank}.example")
}

/// Each path asks for other days or another domain.
fn ranges(filled: &Filled, domains: &[String], what: &str, range_days: usize) -> Vec<String> {
    windows(range_days)
        .flat_map(|window| {
            let days = days(filled, window);
            domains
                .iter()
                .map(move |domain| format!("/api/v1/domains/{domain}/{what}{days}"))
        })
        .collect()
}

/// The same for nearly all days.
fn long(filled: &Filled, domains: &[String], what: &str) -> Vec<String> {
    (0..30)
        .flat_map(|first| {
            let days = days(filled, (first, DAYS - 1));
            domains
                .iter()
                .map(move |domain| format!("/api/v1/domains/{domain}/{what}{days}"))
        })
        .collect()
}

/// So many days in a row: the last ones first.
fn windows(range_days: usize) -> impl Iterator<Item = (usize, usize)> {
    (range_days - 1..DAYS)
        .rev()
        .map(move |last| (last + 1 - range_days, last))
}

fn days(filled: &Filled, (first, last): (usize, usize)) -> String {
    format!("from={}&to={}", filled.days[first], filled.days[last])
}

/// The address of a host, as in `benches/sql/month.sql`.
fn address(host: u64) -> IpAddr {
    let number = (host * 2_654_435_761) as u32;
    if host & 7 == 0 {
        let network = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
        Ipv6Addr::from(network + u128::from(number)).into()
    } else {
        Ipv4Addr::from(number).into()
    }
}
