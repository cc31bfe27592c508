//! Reports without end: for an import that goes on while something else is measured.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, anyhow};

use crate::{
    Setting,
    generate::{REPORTS_MAX, Template, templates},
    import::{check, ruad_import},
    input::{Input, SEED},
    postgres::Server,
};

/// Folders of gzip'd reports, one after the other. No report is ever repeated, but their records are.
pub(crate) struct Supply {
    templates: Vec<Template>,
    folder: PathBuf,
    folder_count: u64,
}

impl Supply {
    pub(crate) fn make(setting: &Setting) -> Result<Self> {
        let report_count = setting.sizes.mails;
        setting.inputs.note(format!(
            "benches/src/generate.rs, seed {SEED}: {report_count} reports again and again, gz"
        ));
        Ok(Self {
            templates: templates(SEED, report_count)?,
            folder: setting.inputs.folder.join("supply"),
            folder_count: 0,
        })
    }

    /// The next folder; the one before is gone.
    pub(crate) fn next(&mut self) -> Result<Input> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir(&self.folder)?;
        self.folder_count += 1;
        for (number, template) in (self.folder_count * REPORTS_MAX..).zip(&self.templates) {
            let path = self.folder.join(format!("{number}.xml.gz"));
            template.write(number, path)?;
        }
        let sum = |count: fn(&Template) -> u64| self.templates.iter().map(count).sum();
        Ok(Input {
            path: self.folder.clone(),
            report_count: self.templates.len() as u64,
            record_count: sum(|template| template.record_count),
            message_count: sum(Template::message_count),
        })
    }

    /// Works while one folder after the other is imported. Returns the records per second of the imports as well.
    pub(crate) fn import_beside<T>(
        &mut self,
        setting: &Setting,
        server: &Server,
        database: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, f64)> {
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let is_done = &is_done;
            let import = scope.spawn(move || -> Result<f64> {
                let (mut record_count, mut seconds) = (0, 0.0);
                while !is_done.load(Ordering::Relaxed) {
                    let input = self.next()?;
                    let (finished, summary) = ruad_import(setting, server, database, &input.path)?;
                    check(&summary, &input, "stored")?;
                    record_count += input.record_count;
                    seconds += finished.seconds;
                }
                Ok(record_count as f64 / seconds)
            });
            let worked = work();
            is_done.store(true, Ordering::Relaxed);
            let rate = import
                .join()
                .map_err(|_| anyhow!("the import panicked"))??;
            Ok((worked?, rate))
        })
    }
}
