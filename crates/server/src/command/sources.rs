//! `ruad sources`: who sends mail in the name of a domain.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use store::{Range, SourceFilter, SourceKey, SourceRow, SourceSort, Store};
use time::Duration;

use crate::{
    Config,
    cli::{Format, Sort, SourcesArgs},
    clock,
    database::Database,
    exit::{Exit, Misuse},
    output::{self, per_cent},
};

/// Sources asked of the database at a time.
const PAGE: i64 = 1_000;

/// Prints the sources of a domain.
pub(crate) async fn sources(config: &Config, args: SourcesArgs) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let domain = args.domain.trim_end_matches('.').to_lowercase();
    let found = find(&database.store, &domain, &args).await;
    database.close().await;
    let (range, sources) = found?;
    match args.format {
        Format::Text => print_text(&domain, range, &sources)?,
        Format::Json => print_json(range, &sources)?,
        Format::Csv => print_csv(&sources)?,
    }
    Ok(Exit::Done)
}

async fn find(store: &Store, domain: &str, args: &SourcesArgs) -> Result<(Range, Vec<SourceRow>)> {
    let Some(domain_id) = store.domain_id(domain).await? else {
        bail!("no report names the domain {domain}");
    };
    let today = clock::now().date();
    let to = match args.to {
        Some(to) => to,
        None => store
            .last_day(Some(domain_id), today + Duration::DAY)
            .await?
            .unwrap_or(today),
    };
    let from = args.from.unwrap_or(Range::up_to(to).from);
    if from > to {
        return Err(anyhow!("the range from {from} to {to} has no day")).context(Misuse("--from"));
    }
    let range = Range { from, to };
    let mut filter = SourceFilter {
        sort: match args.sort {
            Sort::Messages => SourceSort::Messages,
            Sort::Failures => SourceSort::Failures,
        },
        ..SourceFilter::default()
    };
    let mut sources: Vec<SourceRow> = Vec::new();
    let limit = i64::from(args.limit);
    while (sources.len() as i64) < limit {
        let page = PAGE.min(limit - sources.len() as i64);
        let rows = store.sources(domain_id, range, &filter, page).await?;
        let Some(last) = rows.last() else { break };
        filter.after = Some(SourceKey {
            count: match filter.sort {
                SourceSort::Messages => last.totals.message_count,
                SourceSort::Failures => last.totals.dmarc_fail_count(),
            },
            source_ip: last.source_ip,
        });
        let complete = (rows.len() as i64) < page;
        sources.extend(rows);
        if complete {
            break;
        }
    }
    Ok((range, sources))
}

fn print_text(domain: &str, range: Range, sources: &[SourceRow]) -> Result<()> {
    let mut out = output::buffered();
    writeln!(
        out,
        "{} from {} to {}",
        output::plain(domain),
        range.from,
        range.to
    )?;
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|source| {
            let totals = &source.totals;
            let acted = &totals.disposition;
            vec![
                source.source_ip.to_string(),
                totals.message_count.to_string(),
                per_cent(totals.dmarc_pass_count, totals.message_count),
                totals.dmarc_fail_count().to_string(),
                totals.dkim_aligned_count.to_string(),
                totals.spf_aligned_count.to_string(),
                (acted.none + acted.pass).to_string(),
                acted.quarantine.to_string(),
                acted.reject.to_string(),
                source.report_count.to_string(),
                source.first_day.to_string(),
                source.last_day.to_string(),
            ]
        })
        .collect();
    output::print_table(
        &mut out,
        &[
            "source",
            "messages",
            "DMARC pass",
            "fail",
            "DKIM aligned",
            "SPF aligned",
            "delivered",
            "quarantined",
            "rejected",
            "reports",
            "first day",
            "last day",
        ],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        &rows,
    )?;
    Ok(out.flush()?)
}

fn print_json(range: Range, sources: &[SourceRow]) -> Result<()> {
    let items: Vec<_> = sources
        .iter()
        .map(|source| {
            let totals = &source.totals;
            json!({
                "source_ip": source.source_ip,
                "message_count": totals.message_count,
                "dmarc_pass_count": totals.dmarc_pass_count,
                "dmarc_fail_count": totals.dmarc_fail_count(),
                "dkim_aligned_count": totals.dkim_aligned_count,
                "spf_aligned_count": totals.spf_aligned_count,
                "disposition": {
                    "none": totals.disposition.none,
                    "pass": totals.disposition.pass,
                    "quarantine": totals.disposition.quarantine,
                    "reject": totals.disposition.reject,
                    "unknown": totals.disposition.unknown,
                },
                "report_count": source.report_count,
                "first_day": source.first_day.to_string(),
                "last_day": source.last_day.to_string(),
                "source": null,
            })
        })
        .collect();
    let answer = json!({
        "from": range.from.to_string(),
        "to": range.to.to_string(),
        "items": items,
    });
    output::print(&format!("{answer}\n"))
}

fn print_csv(sources: &[SourceRow]) -> Result<()> {
    let mut out = csv::Writer::from_writer(output::buffered());
    out.write_record([
        "source_ip",
        "message_count",
        "dmarc_pass_count",
        "dmarc_fail_count",
        "dkim_aligned_count",
        "spf_aligned_count",
        "disposition_none",
        "disposition_pass",
        "disposition_quarantine",
        "disposition_reject",
        "disposition_unknown",
        "report_count",
        "first_day",
        "last_day",
    ])?;
    for source in sources {
        let totals = &source.totals;
        let mut row = vec![source.source_ip.to_string()];
        row.extend(
            [
                totals.message_count,
                totals.dmarc_pass_count,
                totals.dmarc_fail_count(),
                totals.dkim_aligned_count,
                totals.spf_aligned_count,
                totals.disposition.none,
                totals.disposition.pass,
                totals.disposition.quarantine,
                totals.disposition.reject,
                totals.disposition.unknown,
                source.report_count,
            ]
            .map(|count| count.to_string()),
        );
        row.extend([source.first_day.to_string(), source.last_day.to_string()]);
        out.write_record(row)?;
    }
    Ok(out.flush()?)
}
