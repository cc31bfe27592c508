//! Measures ruad against what else there is: `make bench`.
//!
//! Whatever is compared runs in turns, and the medians count: on a machine that does other work as well, only ratios
//! taken in one run carry over. Every run also checks that nothing was lost on the way; no time is ever asserted.

mod api;
mod beside;
mod copy;
mod fill;
mod generate;
mod http;
mod huge;
mod import;
mod input;
mod latency;
mod options;
mod parsedmarc;
mod parser;
mod postgres;
mod process;
mod results;
mod routes;
mod serve;
mod unpack;
mod uploads;

use std::{
    env, fs,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};

use crate::{
    input::Inputs,
    options::{Options, Sizes},
    postgres::Server,
    results::{Environment, Section},
};

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
    pub(crate) sizes: Sizes,
    /// Today, as `YYYY-MM-DD`.
    pub(crate) date: String,
    /// Where the database is.
    pub(crate) scratch: PathBuf,
    pub(crate) inputs: Inputs,
}

fn main() -> Result<()> {
    let options = Options::read(env::args().skip(1))?;
    let parts = ["import", "huge", "uploads", "api"].map(|part| options.has(part));
    let [has_import, has_huge, has_uploads, has_api] = parts;
    let (has_parser, has_unpack) = (options.has("parser"), options.has("unpack"));
    let is_full = options.is_full;
    let setting = setting(options)?;
    let mut environment = Environment::look(&setting)?;

    let mut sections = Vec::new();
    let mut add = |section: Section| {
        println!("{section}");
        sections.push(section);
    };
    if has_parser {
        add(parser::measure(&setting)?);
    }
    if has_unpack {
        add(unpack::measure(&setting)?);
    }
    if parts.contains(&true) {
        let mut server = Server::start(&setting.root, &setting.scratch)?;
        environment.add_postgres(&server)?;
        if has_import {
            import::measure(&setting, &server)?
                .into_iter()
                .for_each(&mut add);
        }
        if has_huge {
            add(huge::measure(&setting, &server)?);
        }
        if has_uploads {
            add(uploads::measure(&setting, &server)?);
        }
        if has_api {
            api::measure(&setting, &mut server, &mut add)?;
        }
    }
    environment.finish(&setting);

    if is_full {
        let path = setting.root.join("benches/RESULTS.md");
        fs::write(&path, results::document(&environment, &sections))?;
        println!("written to benches/RESULTS.md");
    }
    Ok(())
}

fn setting(options: Options) -> Result<Setting> {
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
        sizes: options.sizes,
        date: options.date,
        scratch: options.scratch,
        inputs: Inputs::find(&folder)?,
        folder,
    })
}
