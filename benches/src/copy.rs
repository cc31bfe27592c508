//! The rows of an import, loaded again with COPY: as fast as PostgreSQL takes them.

use std::{fs, path::PathBuf, process::Child, time::Instant};

use anyhow::{Result, ensure};

use crate::{Setting, postgres::Server};

/// Each large table, and how its rows are dealt out evenly.
const TABLES: [(&str, &str); 4] = [
    ("records", "uuid_hash(report_uid)"),
    ("reports", "uuid_hash(report_uid)"),
    ("source_days", "hashint8(domain_id)"),
    ("deliveries", "uuid_hash(delivery_id)"),
];

/// The tables as files, a share for each core.
pub(crate) struct Dump {
    folder: PathBuf,
    shares: usize,
}

impl Dump {
    pub(crate) fn take(setting: &Setting, server: &Server, database: &str) -> Result<Self> {
        let dump = Self {
            folder: setting.folder.join("copy"),
            shares: setting.cores,
        };
        fs::create_dir_all(&dump.folder)?;
        let shares = dump.shares;
        for (table, hash) in TABLES {
            for share in 0..shares {
                let rows =
                    format!("select * from {table} where abs({hash}::bigint) % {shares} = {share}");
                let file = dump.file(table, share);
                server.query(
                    database,
                    &format!("\\copy ({rows}) to '{file}' with (format binary)"),
                )?;
            }
        }
        Ok(dump)
    }

    /// Empties the tables and loads them again, one connection for each share. Returns the seconds of the loading.
    pub(crate) fn load(&self, server: &Server, database: &str) -> Result<f64> {
        let tables = TABLES.map(|(table, _)| table).join(", ");
        server.query(database, &format!("truncate {tables} cascade"))?;
        server.rest()?;
        let started = Instant::now();
        let loading = (0..self.shares).map(|share| {
            let mut psql = server.psql(database);
            for (table, _) in TABLES {
                let file = self.file(table, share);
                psql.arg("-c")
                    .arg(format!("\\copy {table} from '{file}' with (format binary)"));
            }
            psql.spawn()
        });
        for mut psql in loading.collect::<Result<Vec<Child>, _>>()? {
            ensure!(psql.wait()?.success(), "COPY failed");
        }
        Ok(started.elapsed().as_secs_f64())
    }

    fn file(&self, table: &str, share: usize) -> String {
        self.folder
            .join(format!("{table}.{share}"))
            .display()
            .to_string()
    }
}
