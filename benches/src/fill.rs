//! A database as it is after years, filled by SQL in the shape that ruad writes: `benches/sql`.

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::fs::statvfs;

use crate::{
    Setting,
    postgres::Server,
    process::{self, output},
};

/// Days with reports, up to yesterday.
pub(crate) const DAYS: usize = 400;
/// The domain whose sources are nearly all different has so many records, or a fifth of all.
const BIG_RECORDS: u64 = 5_000_000;
const RECORDS_OF_REPORT: u64 = 25;

/// What a record takes on disk at most, and what PostgreSQL needs besides while it is filled.
const BYTES_OF_RECORD: u64 = 170;
const BYTES_BESIDES: u64 = 6_000_000_000;

/// For the time of filling only: what goes into a table that was emptied in the same transaction is not logged.
const IN_A_HURRY: [&str; 4] = [
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "checkpoint_timeout=30min",
];

/// A filled database.
pub(crate) struct Filled {
    pub(crate) database: String,
    pub(crate) record_count: u64,
    pub(crate) report_count: u64,
    pub(crate) big_records: u64,
    /// Records of the other 1,000 domains.
    shared_records: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// The days with reports, as `YYYY-MM-DD`.
    pub(crate) days: Vec<String>,
}

/// How many bytes the disk lacks for a database of so many records.
pub(crate) fn lacking_bytes(setting: &Setting, records: u64) -> Result<u64> {
    let disk = statvfs(&setting.scratch)?;
    let needed = records * BYTES_OF_RECORD + BYTES_BESIDES;
    Ok(needed.saturating_sub(disk.f_bavail * disk.f_frsize))
}

pub(crate) fn fill(setting: &Setting, server: &mut Server, records: u64) -> Result<Filled> {
    let database = format!("records_{records}");
    server.restart(&IN_A_HURRY)?;
    server.fresh_database(&database)?;
    migrate(setting, server, &database)?;

    eprintln!("filling {database}");
    let started = Instant::now();
    let big_records = BIG_RECORDS.min(records / 5) / RECORDS_OF_REPORT * RECORDS_OF_REPORT;
    let last_day = server.query(&database, &format!("select date '{}' - 1", setting.date))?;
    let variables = [
        format!("records={records}"),
        format!("big_records={big_records}"),
        format!("last_day={last_day}"),
    ];
    output(&mut script(
        setting, server, &database, "prepare", &variables,
    ))?;
    let months = server.query(
        &database,
        "select month from bench.months order by next_number - first_number desc, month",
    )?;
    fill_months(setting, server, &database, &months)?;
    output(&mut script(setting, server, &database, "finish", &[]))?;
    let seconds = started.elapsed().as_secs_f64();
    server.restart(&[])?;

    let days = format!(
        "select day::date from generate_series(date '{last_day}' - {DAYS} + 1, '{last_day}', interval '1 day') as day"
    );
    let count = |what: &str| -> Result<u64> {
        let count = server.query(&database, &format!("select {what} from reports"))?;
        count.parse().context("a count")
    };
    Ok(Filled {
        record_count: count("sum(record_count)")?,
        report_count: count("count(*)")?,
        big_records,
        shared_records: records - big_records,
        seconds,
        days: server
            .query(&database, &days)?
            .lines()
            .map(Into::into)
            .collect(),
        database,
    })
}

/// Makes the schema.
pub(crate) fn migrate(setting: &Setting, server: &Server, database: &str) -> Result<()> {
    let mut command = process::ruad(&setting.ruad);
    command.arg("migrate");
    output(command.env("DATABASE_URL", server.url(database)))?;
    Ok(())
}

/// Fills the months, one on each core at a time.
fn fill_months(setting: &Setting, server: &Server, database: &str, months: &str) -> Result<()> {
    let months: Vec<&str> = months.lines().collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let fill = || -> Result<()> {
            while let Some(month) = months.get(next.fetch_add(1, Ordering::Relaxed)) {
                let month = [format!("month={month}")];
                output(&mut script(setting, server, database, "month", &month))?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..setting.cores).map(|_| scope.spawn(fill)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

fn script(
    setting: &Setting,
    server: &Server,
    database: &str,
    name: &str,
    variables: &[String],
) -> Command {
    let mut psql = server.psql(database);
    for variable in variables {
        psql.args(["-v", variable]);
    }
    let path = setting.root.join("benches/sql").join(name);
    psql.arg("-f").arg(path.with_extension("sql"));
    psql
}

impl Filled {
    /// Records of the domain of this rank, about.
    pub(crate) fn records_of(&self, rank: u64) -> u64 {
        self.first_share() / rank
    }

    /// The rank of the domain that has nearest to so many records.
    pub(crate) fn rank_near(&self, records: u64) -> u64 {
        (self.first_share() / records).clamp(1, 1000)
    }

    fn first_share(&self) -> u64 {
        let harmonic: f64 = (1..=1000).map(|rank| 1.0 / f64::from(rank)).sum();
        (self.shared_records as f64 / harmonic) as u64
    }
}
