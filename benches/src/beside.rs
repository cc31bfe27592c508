//! Mails that are imported while something else is measured.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow};

use crate::{
    Setting,
    import::{check, ruad_import},
    input::{Container, Input, Wanted},
    postgres::Server,
};

/// The first seed of the sets: reports of one seed are others than those of another.
const FIRST_SEED: u64 = 1_000;

/// Sets of mails, each of which is imported once into a database.
pub(crate) struct MailSets {
    sets: Vec<Input>,
    next: usize,
    /// Those from here on are not for [`MailSets::import_beside`].
    reserved_from: usize,
}

/// How the import went that ran beside.
pub(crate) struct Imported {
    pub(crate) records_per_second: f64,
    /// The mails were used up before the other work was done.
    pub(crate) ended_early: bool,
}

impl MailSets {
    pub(crate) fn make(setting: &Setting) -> Result<Self> {
        // One more for each run of the import into the full database.
        let count = setting.sizes.mail_sets;
        let sets = (0..count + setting.runs).map(|number| {
            setting.inputs.own_reports(&Wanted {
                seed: FIRST_SEED + number as u64,
                report_count: setting.sizes.mails,
                record_count: None,
                container: Container::Eml,
            })
        });
        Ok(Self {
            sets: sets.collect::<Result<_>>()?,
            next: 0,
            reserved_from: count,
        })
    }

    /// For another database, which has none of them yet.
    pub(crate) fn begin_again(&mut self) {
        self.next = 0;
    }

    /// The sets that no database got beside other work, one for each run.
    pub(crate) fn reserved(&self) -> &[Input] {
        &self.sets[self.reserved_from..]
    }

    fn take(&mut self) -> Option<&Input> {
        let set = self.sets[..self.reserved_from].get(self.next)?;
        self.next += 1;
        Some(set)
    }

    /// Works while one set after the other is imported.
    pub(crate) fn import_beside<T>(
        &mut self,
        setting: &Setting,
        server: &Server,
        database: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Imported)> {
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_done = &is_done;
            let import = scope.spawn(move || -> Result<Imported> {
                let started = Instant::now();
                let (mut record_count, mut ended_early) = (0, false);
                while !is_done.load(Ordering::Relaxed) && !ended_early {
                    if let Some(set) = self.take() {
                        let (_, summary) = ruad_import(setting, server, database, &set.path)?;
                        check(&summary, set, "stored")?;
                        record_count += set.record_count;
                    } else {
                        ended_early = true;
                    }
                }
                Ok(Imported {
                    records_per_second: record_count as f64 / started.elapsed().as_secs_f64(),
                    ended_early,
                })
            });
            let worked = work();
            is_done.store(true, Ordering::Relaxed);
            let imported = import
                .join()
                .map_err(|_| anyhow!("the import panicked"))??;
            Ok((worked?, imported))
        })
    }
}
