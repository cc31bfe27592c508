//! Measures ruad against what else there is: `make bench`.
//!
//! Whatever is compared runs in turns, and the medians count: on a machine that does other work as well, only ratios
//! taken in one run carry over. Every run also checks that nothing was lost on the way; no time is ever asserted.

mod copy;
mod generate;
mod huge;
mod import;
mod input;
mod parsedmarc;
mod parser;
mod postgres;
mod process;
mod results;

use std::{
    env, fs,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    input::Inputs,
    postgres::Server,
    results::{Environment, Section},
};

const USAGE: &str =
    "usage: scripts/bench [--only parser|import|huge] [--skip-parsedmarc] [--runs N]";

/// What the command line says.
struct Options {
    only: Option<String>,
    skip_parsedmarc: bool,
    runs: usize,
    date: String,
    /// An empty folder for the database.
    scratch: PathBuf,
}

/// What every measurement needs.
pub(crate) struct Setting {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Where inputs and other programs are kept.
    pub(crate) folder: PathBuf,
    /// The program under test.
    pub(crate) ruad: PathBuf,
    pub(crate) runs: usize,
    pub(crate) cores: usize,
    pub(crate) skip_parsedmarc: bool,
    pub(crate) inputs: Inputs,
}

fn main() -> Result<()> {
    let options = options(env::args().skip(1))?;
    let setting = setting(&options)?;
    let mut environment = Environment::look(&setting, &options.date)?;
    let has = |part: &str| options.only.as_deref().is_none_or(|only| only == part);

    let mut sections = Vec::new();
    let mut add = |section: Section| {
        println!("{section}");
        sections.push(section);
    };
    if has("parser") {
        add(parser::measure(&setting)?);
    }
    if has("import") || has("huge") {
        let server = Server::start(&setting.root, &options.scratch)?;
        environment.add_postgres(&server)?;
        if has("import") {
            import::measure(&setting, &server)?
                .into_iter()
                .for_each(&mut add);
        }
        if has("huge") {
            add(huge::measure(&setting, &server)?);
        }
    }
    environment.finish(&setting);

    if options.only.is_none() && !options.skip_parsedmarc {
        let path = setting.root.join("benches/RESULTS.md");
        fs::write(&path, results::document(&environment, &sections))?;
        println!("written to benches/RESULTS.md");
    }
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        only: None,
        skip_parsedmarc: false,
        runs: 3,
        date: String::new(),
        scratch: PathBuf::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context(USAGE);
        match argument.as_str() {
            "--only" => options.only = Some(value()?),
            "--skip-parsedmarc" => options.skip_parsedmarc = true,
            "--runs" => options.runs = value()?.parse().context(USAGE)?,
            "--date" => options.date = value()?,
            "--scratch" => options.scratch = value()?.into(),
            _ => bail!(USAGE),
        }
    }
    let is_part = |only: &str| matches!(only, "parser" | "import" | "huge");
    if options.runs == 0
        || options.scratch.as_os_str().is_empty()
        || !options.only.as_deref().is_none_or(is_part)
    {
        bail!(USAGE);
    }
    Ok(options)
}

fn setting(options: &Options) -> Result<Setting> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("benches/ stands in the repository")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    Ok(Setting {
        root: root.into(),
        ruad: target.join("release/ruad"),
        runs: options.runs,
        cores: thread::available_parallelism().map_or(1, NonZero::get),
        skip_parsedmarc: options.skip_parsedmarc,
        inputs: Inputs::find(&folder)?,
        folder,
    })
}
