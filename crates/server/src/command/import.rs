//! `ruad import`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use ingest::{Import, Imported, Intake, Notice};
use serde_json::{Value, json};
use store::{Action, Actor, Change, Outcome, OutcomeRow, Store};
use tokio::sync::watch;

use crate::{
    Config,
    cli::{ImportArgs, SummaryFormat},
    clock, compaction,
    database::Database,
    exit::Exit,
    output, serve,
};

/// Rejections and conflicts listed at the end; the others are in the ledger.
const LISTED_MAX: usize = 1_000;

/// Imports, shows how far it is, and prints a summary.
pub(crate) async fn import(config: &Config, args: ImportArgs) -> Result<Exit> {
    let stop_signal = serve::stop_signal()?;
    let database = Database::open_migrated(config).await?;
    let started = Instant::now();
    let (stop, stopped) = watch::channel(false);
    let progress = Progress::start();
    let interrupted = stop_signal.clone();
    let stopper = tokio::spawn(async move {
        interrupted.cancelled().await;
        // Nobody waits for it any more once the import is over.
        _ = stop.send(true);
    });
    let imported = ingest::import(
        &Intake::new(
            database.store.clone(),
            config.limits.clone(),
            config.domains.clone(),
        ),
        Import {
            paths: args.paths,
            received_at: clock::now(),
        },
        stopped,
        &|notice| progress.show(&notice),
    )
    .await;
    stopper.abort();
    let listed = progress.finish();
    let elapsed = started.elapsed();
    let recorded = match &imported {
        Ok(imported) => record(&database.store, imported).await,
        Err(_) => Ok(()),
    };
    compaction::compact_import(&database.store, &stop_signal).await;
    database.close().await;

    let imported = imported?;
    match args.format {
        SummaryFormat::Json => output::print(&summary_json(&imported, elapsed))?,
        SummaryFormat::Text => output::print(&summary_text(&imported, elapsed))?,
    }
    complain(&listed, &imported)?;
    recorded.context("telling the audit of the import")?;
    Ok(if imported.unreadable > 0 || imported.interrupted {
        Exit::Failed
    } else if imported.rejected > 0 {
        Exit::Rejected
    } else {
        Exit::Done
    })
}

/// Tells the audit what came of it: each delivery is in the ledger, but not that somebody ran this.
async fn record(store: &Store, imported: &Imported) -> Result<(), store::Error> {
    if imported.delivery_count == 0 {
        return Ok(());
    }
    let change = Change::new(Action::Imported).with(counts(imported));
    store.record_change(&Actor::cli(), &change).await
}

fn counts(imported: &Imported) -> Value {
    json!({
        "deliveries": imported.delivery_count,
        "reports": {
            "stored": imported.stored,
            "duplicate": imported.duplicate,
            "conflict": imported.conflict,
            "rejected": imported.rejected,
            "skipped_not_aggregate": imported.not_aggregate,
        },
        "records": imported.record_count,
        "messages": imported.message_count,
    })
}

fn summary_json(imported: &Imported, elapsed: Duration) -> String {
    let mut summary = counts(imported);
    summary["seconds"] = json!((elapsed.as_secs_f64() * 1000.0).round() / 1000.0);
    format!("{summary}\n")
}

fn summary_text(imported: &Imported, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let mut text = format!(
        "{} deliveries in {seconds:.1} s ({:.0} records/s)\n",
        imported.delivery_count,
        imported.record_count as f64 / seconds.max(0.001)
    );
    for (count, what) in [
        (imported.stored, "reports stored"),
        (imported.duplicate, "duplicates of stored reports"),
        (imported.conflict, "conflicts with stored reports"),
        (imported.rejected, "rejected"),
        (imported.not_aggregate, "no aggregate reports"),
        (imported.unreadable, "could not be read"),
    ] {
        if count > 0 || what == "reports stored" {
            text.push_str(&format!("{count:>10} {what}\n"));
        }
    }
    text.push_str(&format!(
        "{:>10} records, {} messages\n",
        imported.record_count, imported.message_count
    ));
    text
}

/// Says on standard error what was not stored, and what to do about it.
fn complain(listed: &[String], imported: &Imported) -> Result<()> {
    let mut err = io::stderr().lock();
    for line in listed {
        writeln!(err, "{line}")?;
    }
    let all = imported.rejected + imported.conflict + imported.unreadable;
    if all > listed.len() as u64 {
        writeln!(
            err,
            "... and {} more: see the deliveries in the ledger",
            all - listed.len() as u64
        )?;
    }
    if imported.interrupted {
        writeln!(
            err,
            "interrupted: everything counted above is stored; run the same import again for the rest"
        )?;
    }
    Ok(())
}

/// How far the import is, on a terminal, and what is to be said at its end.
struct Progress {
    bar: ProgressBar,
    listed: Mutex<Vec<String>>,
    waiting: AtomicBool,
}

impl Progress {
    fn start() -> Self {
        let bar = if io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            let style = "{elapsed_precise} {bar:30} {pos}/{len} deliveries {per_sec} {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        } else {
            ProgressBar::hidden()
        };
        Self {
            bar,
            listed: Mutex::default(),
            waiting: AtomicBool::new(false),
        }
    }

    fn show(&self, notice: &Notice<'_>) {
        match notice {
            Notice::Found => self.bar.inc_length(1),
            Notice::Accepted { name, accepted } => {
                self.bar.inc(1);
                if self.waiting.swap(false, Ordering::Relaxed) {
                    self.say("the database is back, going on");
                }
                for document in &accepted.documents {
                    if matches!(document.outcome, Outcome::Rejected | Outcome::Conflict) {
                        self.list(describe(name, document));
                    }
                }
            }
            Notice::Unreadable { name, error } => {
                self.bar.inc(1);
                self.list(format!("{}: {error}", output::plain(name)));
            }
            Notice::Waiting { error } => {
                if !self.waiting.swap(true, Ordering::Relaxed) {
                    self.say(&format!("waiting for the database: {error}"));
                }
            }
        }
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            tracing::warn!("{line}");
        } else {
            self.bar.set_message(line.to_owned());
        }
    }

    fn list(&self, line: String) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.len() < LISTED_MAX {
            listed.push(line);
        }
    }

    fn finish(self) -> Vec<String> {
        self.bar.finish_and_clear();
        self.listed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// `mail.eml: report.xml.gz: rejected (truncated): ...`
fn describe(name: &str, document: &OutcomeRow) -> String {
    let place = if document.path.is_empty() { "" } else { ": " };
    let detail = document.detail.as_deref().unwrap_or_default();
    let text = match (document.outcome, document.code.as_deref()) {
        (Outcome::Rejected, Some(code)) => format!(
            "{name}{place}{}: rejected ({code}): {detail}",
            document.path
        ),
        (outcome, _) => format!(
            "{name}{place}{}: {}: {detail}",
            document.path,
            outcome.as_str()
        ),
    };
    output::plain(&text)
}
