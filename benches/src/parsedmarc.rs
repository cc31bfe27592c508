//! parsedmarc, the most used program of its kind, with its PostgreSQL output.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use report::Limits;

use crate::{
    Setting,
    input::Input,
    parser,
    postgres::Server,
    process::{self, Finished, output},
    results::thousands,
};

const VERSION: &str = "11.1.0";
const DATABASE: &str = "parsedmarc";
/// So many mails are in the sample, about: all of them take minutes.
const SAMPLE_MAILS: usize = 500;

pub(crate) struct Parsedmarc {
    program: PathBuf,
    folder: PathBuf,
    processes: usize,
    sample: PathBuf,
    /// One of so many mails is in it.
    sample_step: usize,
    mail_count: usize,
    /// Records of the sample.
    pub(crate) record_count: u64,
    /// What it takes to start and to store a single mail.
    pub(crate) start_seconds: f64,
}

impl Parsedmarc {
    /// Installs it into an environment of its own, if that is not there yet, and chooses the sample.
    pub(crate) fn prepare(setting: &Setting, server: &Server, input: &Input) -> Result<Self> {
        let folder = setting.folder.join("parsedmarc");
        fs::create_dir_all(&folder)?;
        let mut parsedmarc = Self {
            program: install(&setting.folder)?,
            sample: folder.join("sample"),
            folder,
            processes: setting.cores,
            sample_step: 1,
            mail_count: 0,
            record_count: 0,
            start_seconds: 0.0,
        };
        let mails = mails(&input.path)?;
        let one = parsedmarc.folder.join("one");
        link(&mails[..1], &one)?;
        parsedmarc.run_on(server, &one)?;
        parsedmarc.start_seconds = parsedmarc.run_on(server, &one)?.seconds;

        parsedmarc.sample_step = (mails.len() / SAMPLE_MAILS).max(1);
        let sample: Vec<PathBuf> = mails.into_iter().step_by(parsedmarc.sample_step).collect();
        link(&sample, &parsedmarc.sample)?;
        parsedmarc.mail_count = sample.len();
        let files: Vec<Bytes> = sample
            .iter()
            .map(|mail| Ok(fs::read(mail)?.into()))
            .collect::<Result<_>>()?;
        parsedmarc.record_count = parser::with_ruad(&files, &Limits::default())?.record_count;
        Ok(parsedmarc)
    }

    pub(crate) fn name(&self) -> String {
        format!("parsedmarc {VERSION}")
    }

    pub(crate) fn explanation(&self) -> String {
        format!(
            " parsedmarc runs offline, without name lookups, with {} processes and its PostgreSQL output into the same \
             server; it gets every {}th of the mails ({} mails, {} records), and the {:.1} s that it takes to \
             start and store a single mail are not counted.",
            self.processes,
            self.sample_step,
            self.mail_count,
            thousands(self.record_count as f64),
            self.start_seconds
        )
    }

    /// Takes the sample into an empty database.
    pub(crate) fn run(&self, server: &Server) -> Result<Finished> {
        let finished = self.run_on(server, &self.sample)?;
        let stored = server.query(DATABASE, "select count(*) from dmarc_aggregate_record")?;
        ensure!(
            stored == self.record_count.to_string(),
            "parsedmarc stored {stored} of {} records",
            self.record_count
        );
        Ok(finished)
    }

    fn run_on(&self, server: &Server, mails: &Path) -> Result<Finished> {
        server.fresh_database(DATABASE)?;
        let config = self.folder.join("parsedmarc.ini");
        fs::write(
            &config,
            format!(
                "[general]\noffline = True\nalways_use_local_files = True\nsilent = True\nsave_aggregate = True\n\
                 fail_on_output_error = True\nn_procs = {}\n\n[postgresql]\nconnection_string = {}\n",
                self.processes,
                server.url(DATABASE)
            ),
        )?;
        process::measure(
            Command::new(&self.program)
                .arg("-c")
                .arg(&config)
                .arg(mails),
        )
    }
}

fn install(folder: &Path) -> Result<PathBuf> {
    let environment = folder.join(format!("parsedmarc-{VERSION}"));
    let program = environment.join("bin/parsedmarc");
    if !program.exists() {
        println!("installing parsedmarc {VERSION}");
        let missing =
            "parsedmarc cannot be installed; go without it: scripts/bench --skip-parsedmarc";
        output(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment),
        )
        .context(missing)?;
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        output(pip.arg(format!("parsedmarc[postgresql]=={VERSION}"))).context(missing)?;
    }
    Ok(program)
}

fn mails(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Makes a folder with some of the mails.
fn link(mails: &[PathBuf], folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir(folder)?;
    for mail in mails {
        let name = mail.file_name().context("a mail has a name")?;
        fs::hard_link(mail, folder.join(name))?;
    }
    Ok(())
}
