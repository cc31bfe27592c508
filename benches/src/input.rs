//! The reports that are measured with.
//!
//! They come from `gen_reports.py` where there is one, otherwise from [`crate::generate`]; both give the same bytes for
//! the same seed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{generate, process::output};

/// Of all inputs but those that must be others.
pub(crate) const SEED: u64 = 42;

/// Where inputs come from, and which were made.
pub(crate) struct Inputs {
    pub(crate) folder: PathBuf,
    script: Option<PathBuf>,
    /// The command lines, for the result.
    made: Mutex<Vec<String>>,
}

/// A file or a folder with reports, each of them once.
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) report_count: u64,
    pub(crate) record_count: u64,
    pub(crate) message_count: u64,
}

/// A folder of small reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) seed: u64,
    pub(crate) report_count: u64,
    /// Records of each report; as uneven as in life if it is not said.
    pub(crate) record_count: Option<u64>,
    pub(crate) container: Container,
}

/// What the reports of a folder are wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// A gzip file.
    Gz,
    /// A mail with a gzip or zip file.
    Eml,
}

impl Container {
    /// As the script calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Gz => "gz",
            Self::Eml => "eml",
        }
    }
}

impl Inputs {
    /// Looks for the script: where `RUAD_GENERATOR` says, or in `tools` beside the folder of `RUAD_CORPUS`.
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        let named = env::var_os("RUAD_GENERATOR").map(PathBuf::from);
        if let Some(script) = &named
            && !script.is_file()
        {
            bail!("RUAD_GENERATOR: {} is no file", script.display());
        }
        let beside_corpus = || {
            let corpus = PathBuf::from(env::var_os("RUAD_CORPUS")?);
            let script = corpus.parent()?.join("tools/gen_reports.py");
            script.is_file().then_some(script)
        };
        let folder = folder.join("input");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            script: named.or_else(beside_corpus),
            made: Mutex::default(),
        })
    }

    /// The command lines of what was made so far.
    pub(crate) fn made(&self) -> Vec<String> {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A folder of reports that are as uneven as in life.
    pub(crate) fn reports(&self, report_count: u64, container: Container) -> Result<Input> {
        self.make(&Wanted {
            seed: SEED,
            report_count,
            record_count: None,
            container,
        })
    }

    /// A folder of small reports.
    pub(crate) fn make(&self, wanted: &Wanted) -> Result<Input> {
        let path = self.empty(wanted)?;
        let Some(script) = &self.script else {
            self.note(format!(
                "benches/src/generate.rs, seed {}: {}",
                wanted.seed,
                path.file_name().unwrap_or_default().display()
            ));
            fs::create_dir(&path)?;
            return generate::reports(wanted, path);
        };
        let count = wanted.report_count.to_string();
        let size = wanted.record_count.map(|count| count.to_string());
        let mut arguments = vec!["--reports", &count];
        arguments.extend(size.iter().flat_map(|size| ["--records", size]));
        arguments.extend(["--container", wanted.container.name(), "--out"]);
        self.run_script(script, wanted.seed, &arguments, path)
    }

    /// Where the reports go; what an earlier run left there is thrown away.
    fn empty(&self, wanted: &Wanted) -> Result<PathBuf> {
        let size = wanted
            .record_count
            .map_or_else(String::new, |count| format!("-{count}"));
        let kind = wanted.container.name();
        let name = format!("{kind}-{}-{}{size}", wanted.seed, wanted.report_count);
        let path = self.folder.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(path)
    }

    /// One large report, gzipped.
    pub(crate) fn huge(&self, record_count: u64) -> Result<Input> {
        let path = self.folder.join(format!("huge-{record_count}.xml.gz"));
        match &self.script {
            Some(script) => {
                let size = ["--huge", &record_count.to_string()];
                self.run_script(script, SEED, &size, path)
            }
            None => {
                self.note(format!(
                    "benches/src/generate.rs, seed {SEED}: one report of {record_count} records"
                ));
                generate::huge(SEED, record_count, path)
            }
        }
    }

    pub(crate) fn note(&self, command_line: String) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.contains(&command_line) {
            made.push(command_line);
        }
    }

    fn run_script(
        &self,
        script: &Path,
        seed: u64,
        arguments: &[&str],
        path: PathBuf,
    ) -> Result<Input> {
        let seed = seed.to_string();
        let arguments = [&["--seed", &seed], arguments].concat();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.note(format!("gen_reports.py {} {name}", arguments.join(" ")));

        let truth = self.folder.join("truth.json");
        let mut python = Command::new("python3");
        python.arg(script).args(&arguments).arg(&path);
        output(python.arg("--truth").arg(&truth))?;
        let truth: Value = serde_json::from_str(&fs::read_to_string(&truth)?)?;
        let number = |value: &Value| value.as_u64().context("reading truth.json");
        Ok(Input {
            report_count: number(&truth["distinct_reports"])?,
            record_count: number(&truth["totals"]["records"])?,
            message_count: number(&truth["totals"]["messages"])?,
            path,
        })
    }
}
