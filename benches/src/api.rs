//! The API on databases of different sizes, with and without an import beside, and what such a database costs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    Setting,
    beside::Supply,
    fill::{Filled, fill, lacking_bytes, migrate},
    import::{DATABASE, check, own_seconds, ruad_import},
    latency::{self, End, percentile},
    postgres::Server,
    results::{Section, median, ratio, thousands},
    routes::{Route, routes},
    serve::Service,
};

const WARM_UP: usize = 20;
const CLIENTS: [usize; 2] = [1, 4];
/// A route that takes longer is called less often than the others, which its cell says.
const ROUTE_TIME_MAX: Duration = Duration::from_secs(60);
/// Smaller tables are read as a whole by any plan that is any good.
const LARGE_TABLE_PAGES: u32 = 64;

pub(crate) fn measure(
    setting: &Setting,
    server: &mut Server,
    add: &mut impl FnMut(Section),
) -> Result<()> {
    let mut supply = Supply::make(setting)?;
    let mut space = Vec::new();
    let mut ingest = None;
    let databases = &setting.sizes.databases;
    for &records in databases {
        let lacking = lacking_bytes(setting, records)?;
        if lacking > 0 {
            add(skipped(records, lacking));
            continue;
        }
        let filled = fill(setting, server, records)?;
        space.extend(space_rows(server, &filled)?);
        add(answers(setting, server, &filled, &mut supply)?);
        if Some(&records) == databases.last() {
            ingest = Some(ingest_rates(setting, server, &filled, &mut supply)?);
        }
        server.query(
            "postgres",
            &format!("drop database {} with (force)", filled.database),
        )?;
    }
    add(Section {
        title: "Bytes on disk".into(),
        text: "Filled as if by ruad, merged, 25 records a report and a delivery for each; indexes, TOAST and free space \
               included. Sums of sources that repeat share more of a day the larger a domain is."
            .into(),
        head: ["records", "table", "MB", "of it indexes", "bytes a record", "target"]
            .map(Into::into)
            .into(),
        rows: space,
    });
    ingest.into_iter().for_each(add);
    Ok(())
}

fn skipped(records: u64, lacking: u64) -> Section {
    Section {
        title: format!("API on {} records", thousands(records as f64)),
        text: "Not measured: the disk is too small.".into(),
        head: vec!["GB that are lacking".into()],
        rows: vec![vec![thousands(lacking as f64 / 1e9)]],
    }
}

/// Every route, asked by one and by four clients, in peace and beside an import.
fn answers(
    setting: &Setting,
    server: &Server,
    filled: &Filled,
    supply: &mut Supply,
) -> Result<Section> {
    let routes = routes(server, filled)?;
    let mut rows: Vec<Vec<String>> = routes
        .iter()
        .map(|route| vec![route.name.clone(), route.target.into()])
        .collect();
    let mut add_column = |column: Vec<String>| {
        for (row, cell) in rows.iter_mut().zip(column) {
            row.push(cell);
        }
    };
    let mut peak_mib = f64::NAN;
    let scans = scans(server, filled)?;
    for clients in CLIENTS {
        add_column(ask(
            setting,
            server,
            filled,
            &routes,
            clients,
            &mut peak_mib,
        )?);
    }
    let scanned = scanned(&scans, &self::scans(server, filled)?);
    let mut beside = Vec::new();
    for clients in CLIENTS {
        let work = || ask(setting, server, filled, &routes, clients, &mut peak_mib);
        let (column, rate) = supply.import_beside(setting, server, &filled.database, work)?;
        add_column(column);
        beside.push(thousands(rate));
    }
    Ok(Section {
        title: format!("API on {} records", thousands(filled.record_count as f64)),
        text: format!(
            "ms, median / 99th percentile of {} calls after {WARM_UP} to warm up; ruad is started anew for each column. \
             {} reports in 1,001 domains over 400 days, filled in {:.0} s. Large tables that the calls in peace read \
             sequentially: {scanned}. The imports beside had {} records/s. Peak of `ruad serve`: {peak_mib:.0} MiB.",
            setting.sizes.calls,
            thousands(filled.report_count as f64),
            filled.seconds,
            beside.join(" and "),
        ),
        head: [
            "route",
            "target p99",
            "1 client",
            "4 clients",
            "1 client, import beside",
            "4 clients, import beside",
        ]
        .map(Into::into)
        .into(),
        rows,
    })
}

fn ask(
    setting: &Setting,
    server: &Server,
    filled: &Filled,
    routes: &[Route],
    clients: usize,
    peak_mib: &mut f64,
) -> Result<Vec<String>> {
    eprintln!("asking {} with {clients} clients", filled.database);
    let service = Service::start(setting, &server.url(&filled.database))?;
    let mut column = Vec::with_capacity(routes.len());
    for route in routes {
        let ask = |first: usize, count: usize| {
            let end = End {
                count,
                after: ROUTE_TIME_MAX,
            };
            latency::measure(service.address, clients, end, |client, number| {
                let path = &route.paths[(first + number) % route.paths.len()];
                let answer = client.get(path)?;
                ensure!(
                    answer.status == 200,
                    "{path}: {}: {}",
                    answer.status,
                    String::from_utf8_lossy(answer.body)
                );
                Ok(())
            })
        };
        ask(0, WARM_UP)?;
        let millis = ask(WARM_UP, setting.sizes.calls)?.millis;
        let (median, high) = (percentile(&millis, 50), percentile(&millis, 99));
        let mut cell = format!("{median:.1} / {high:.1}");
        if millis.len() < setting.sizes.calls {
            cell.push_str(&format!(" ({} calls)", millis.len()));
        }
        column.push(cell);
    }
    *peak_mib = peak_mib.max(service.peak_mib().unwrap_or(f64::NAN));
    Ok(column)
}

/// How often each large table was read sequentially so far.
fn scans(server: &Server, filled: &Filled) -> Result<BTreeMap<String, u64>> {
    let statement = format!(
        "select coalesce(p.relname, c.relname), sum(s.seq_scan) \
         from pg_stat_user_tables s \
         join pg_class c on c.oid = s.relid \
         left join pg_inherits i on i.inhrelid = c.oid \
         left join pg_class p on p.oid = i.inhparent \
         where c.relpages > {LARGE_TABLE_PAGES} \
         group by 1"
    );
    let text = server.query(&filled.database, &statement)?;
    text.lines()
        .map(|line| {
            let (table, count) = line.split_once('|').context("a table and a count")?;
            Ok((table.into(), count.parse()?))
        })
        .collect()
}

fn scanned(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let tables: Vec<String> = after
        .iter()
        .filter_map(|(table, count)| {
            let more = count - before.get(table).copied().unwrap_or(0).min(*count);
            (more > 0).then(|| format!("{table} ({more} times)"))
        })
        .collect();
    if tables.is_empty() {
        "none".into()
    } else {
        tables.join(", ")
    }
}

/// What the tables take on disk.
fn space_rows(server: &Server, filled: &Filled) -> Result<Vec<Vec<String>>> {
    let text = server.query(
        &filled.database,
        "select coalesce(p.relname, c.relname), sum(pg_total_relation_size(c.oid)), sum(pg_indexes_size(c.oid)) \
         from pg_class c \
         left join pg_inherits i on i.inhrelid = c.oid \
         left join pg_class p on p.oid = i.inhparent \
         where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace \
         group by 1 \
         order by 2 desc",
    )?;
    let mut tables: Vec<(String, f64, f64)> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').collect();
        let [table, bytes, index_bytes] = cells[..] else {
            anyhow::bail!("a table and two sizes: {line}");
        };
        tables.push((table.into(), bytes.parse()?, index_bytes.parse()?));
    }
    let records = filled.record_count as f64;
    let row = |table: &str, bytes: f64, index_bytes: f64, target: &str| {
        vec![
            thousands(records),
            table.to_owned(),
            format!("{:.0}", bytes / 1e6),
            format!("{:.0}", index_bytes / 1e6),
            format!("{:.1}", bytes / records),
            target.into(),
        ]
    };
    let all = tables
        .iter()
        .fold((0.0, 0.0), |sum, table| (sum.0 + table.1, sum.1 + table.2));
    let mut rows = vec![row("all", all.0, all.1, "120")];
    rows.extend(
        tables
            .iter()
            .filter(|(_, bytes, _)| bytes / records >= 0.05)
            .map(|(table, bytes, index_bytes)| row(table, *bytes, *index_bytes, "")),
    );
    Ok(rows)
}

/// Imports into the full database and into an empty one, in turns.
fn ingest_rates(
    setting: &Setting,
    server: &Server,
    filled: &Filled,
    supply: &mut Supply,
) -> Result<Section> {
    let (mut full_rates, mut empty_rates, mut ratios) = (vec![], vec![], vec![]);
    for run in 0..setting.runs {
        let set = supply.next()?;
        let mut rates = [0.0; 2];
        for turn in 0..2 {
            let is_full = (run + turn) % 2 == 0;
            let database = if is_full { &filled.database } else { DATABASE };
            if is_full {
                server.rest()?;
            } else {
                server.fresh_database(database)?;
                migrate(setting, server, database)?;
            }
            let (_, summary) = ruad_import(setting, server, database, &set.path)?;
            check(&summary, &set, "stored")?;
            rates[usize::from(is_full)] = set.record_count as f64 / own_seconds(&summary)?;
        }
        let [empty, full] = rates;
        empty_rates.push(empty);
        full_rates.push(full);
        ratios.push(full / empty);
    }
    let row = |what: String, rates: &[f64], ratio: String, target: &str| {
        vec![what, thousands(median(rates)), ratio, target.into()]
    };
    let full = format!("{} records stored", thousands(filled.record_count as f64));
    Ok(Section {
        title: "Import into a full database".into(),
        text: format!(
            "{} gzip'd reports each time, by the clock of `ruad import`, the schema made before; the ratio is the median of those of \
             {} runs.",
            thousands(setting.sizes.mails as f64),
            setting.runs
        ),
        head: ["database", "records/s", "ratio", "target"]
            .map(Into::into)
            .into(),
        rows: vec![
            row("empty".into(), &empty_rates, ratio(1.0), ""),
            row(full, &full_rates, ratio(median(&ratios)), "0.85"),
        ],
    })
}
