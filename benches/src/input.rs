//! The reports that are measured with.
//!
//! They come from `gen_reports.py` where there is one, otherwise from [`crate::generate`]; both give the same bytes for
//! the same seed.

use std::{
    cell::RefCell,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{generate, process::output};

const SEED: u64 = 42;

/// Where inputs come from, and which were made.
pub(crate) struct Inputs {
    folder: PathBuf,
    script: Option<PathBuf>,
    /// The command lines, for the result.
    made: RefCell<Vec<String>>,
}

/// A file or a folder with reports, each of them once.
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) report_count: u64,
    pub(crate) record_count: u64,
    pub(crate) message_count: u64,
}

/// What the reports of a folder are wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// A gzip file.
    Gz,
    /// A mail with a gzip or zip file.
    Eml,
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
            made: RefCell::default(),
        })
    }

    /// The command lines of what was made so far.
    pub(crate) fn made(&self) -> Vec<String> {
        self.made.borrow().clone()
    }

    /// A folder of small reports.
    pub(crate) fn reports(&self, report_count: u64, container: Container) -> Result<Input> {
        let kind = match container {
            Container::Gz => "gz",
            Container::Eml => "eml",
        };
        let path = self.folder.join(kind);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        match &self.script {
            Some(script) => {
                let count = report_count.to_string();
                let size = ["--reports", &count, "--container", kind, "--out"];
                self.run_script(script, &size, path)
            }
            None => {
                self.note(format!(
                    "benches/src/generate.rs, seed {SEED}: {report_count} reports, {kind}"
                ));
                fs::create_dir(&path)?;
                generate::reports(SEED, report_count, container, path)
            }
        }
    }

    /// One large report, gzipped.
    pub(crate) fn huge(&self, record_count: u64) -> Result<Input> {
        let path = self.folder.join(format!("huge-{record_count}.xml.gz"));
        match &self.script {
            Some(script) => self.run_script(script, &["--huge", &record_count.to_string()], path),
            None => {
                self.note(format!(
                    "benches/src/generate.rs, seed {SEED}: one report of {record_count} records"
                ));
                generate::huge(SEED, record_count, path)
            }
        }
    }

    fn note(&self, command_line: String) {
        let mut made = self.made.borrow_mut();
        if !made.contains(&command_line) {
            made.push(command_line);
        }
    }

    fn run_script(&self, script: &Path, arguments: &[&str], path: PathBuf) -> Result<Input> {
        let seed = SEED.to_string();
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
