//! The rows of an import, loaded again with COPY: as fast as PostgreSQL takes them.

use std::{fs, path::PathBuf, process::Child, time::Instant};

use anyhow::{Result, ensure};

use crate::{Setting, postgres::Server};

/// Each large table, and how its rows are dealt out evenly.
const TABLES: [(&str, &str); 6] = [
    ("record_blocks", "uuid_hash(report_uid)"),
    ("reports", "uuid_hash(report_uid)"),
    ("source_day_arrivals", "hashint8(domain_id)"),
    ("source_day_blocks", "hashint8(domain_id)"),
    ("source_blocks", "bucket"),
    ("deliveries", "uuid_hash(delivery_id)"),
];

/// A table with a row for each record and no index: what PostgreSQL takes when nothing is packed.
const ROWS: &str = "record_rows";

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
        for (table, hash) in TABLES {
            dump.write(server, database, table, table, hash)?;
        }
        dump.write(server, database, "records", ROWS, "uuid_hash(report_uid)")?;
        Ok(dump)
    }

    fn write(
        &self,
        server: &Server,
        database: &str,
        from: &str,
        table: &str,
        hash: &str,
    ) -> Result<()> {
        let shares = self.shares;
        for share in 0..shares {
            let rows =
                format!("select * from {from} where abs({hash}::bigint) % {shares} = {share}");
            let file = self.file(table, share);
            server.query(
                database,
                &format!("\\copy ({rows}) to '{file}' with (format binary)"),
            )?;
        }
        Ok(())
    }

    /// Empties ruad's tables and loads them again, one connection for each share. Returns the seconds of the loading.
    pub(crate) fn load(&self, server: &Server, database: &str) -> Result<f64> {
        let tables = TABLES.map(|(table, _)| table);
        server.query(database, &format!("truncate {} cascade", tables.join(", ")))?;
        self.copy(server, database, &tables)
    }

    /// Loads the records one by one into a table without indexes. Returns the seconds of the loading.
    pub(crate) fn load_rows(&self, server: &Server, database: &str) -> Result<f64> {
        server.query(
            database,
            &format!(
                "drop table if exists {ROWS}; create table {ROWS} as select * from records limit 0"
            ),
        )?;
        self.copy(server, database, &[ROWS])
    }

    fn copy(&self, server: &Server, database: &str, tables: &[&str]) -> Result<f64> {
        server.rest()?;
        let started = Instant::now();
        let loading = (0..self.shares).map(|share| {
            let mut psql = server.psql(database);
            for table in tables {
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
