//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

pub(crate) const USAGE: &str = "usage: scripts/bench [--only parser|unpack|import|huge|uploads|api] [--quick] \
    [--records N,N,...] [--skip-parsedmarc] [--runs N] [--calls N]
  --only       one part; import includes the duplicates
  --quick      small inputs and a database of 1,000,000 records: some minutes instead of about two hours
  --records    about so many records in the databases that the API is asked about (1000000,20000000,200000000)
  --runs       runs of each import (3)
  --calls      calls of each route that are measured (200)
A run with any of these prints its tables and writes no file.";

const PARTS: [&str; 6] = ["parser", "unpack", "import", "huge", "uploads", "api"];

/// What the command line says.
pub(crate) struct Options {
    only: Option<String>,
    /// Everything, as the result in the repository was made.
    pub(crate) is_full: bool,
    pub(crate) skip_parsedmarc: bool,
    pub(crate) runs: usize,
    pub(crate) sizes: Sizes,
    /// Today, as `YYYY-MM-DD`.
    pub(crate) date: String,
    /// An empty folder for the database.
    pub(crate) scratch: PathBuf,
}

/// How much is measured.
pub(crate) struct Sizes {
    /// Mails that are imported; there are about 25 records in each.
    pub(crate) mails: u64,
    /// Records of the large report.
    pub(crate) huge_records: u64,
    /// Small reports that are uploaded.
    pub(crate) uploads: u64,
    /// Records in the databases that the API is asked about.
    pub(crate) databases: Vec<u64>,
    /// Calls of each route.
    pub(crate) calls: usize,
}

impl Sizes {
    fn full() -> Self {
        Self {
            mails: 20_000,
            huge_records: 5_000_000,
            uploads: 20_000,
            databases: vec![1_000_000, 20_000_000, 200_000_000],
            calls: 200,
        }
    }

    fn quick() -> Self {
        Self {
            mails: 2_000,
            huge_records: 200_000,
            uploads: 4_000,
            databases: vec![1_000_000],
            calls: 200,
        }
    }
}

impl Options {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            only: None,
            is_full: true,
            skip_parsedmarc: false,
            runs: 3,
            sizes: Sizes::full(),
            date: String::new(),
            scratch: PathBuf::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().context(USAGE);
            match argument.as_str() {
                "--date" => options.date = value()?,
                "--scratch" => options.scratch = value()?.into(),
                _ => {
                    options.is_full = false;
                    match argument.as_str() {
                        "--only" => options.only = Some(value()?),
                        "--quick" => options.sizes = Sizes::quick(),
                        "--records" => options.sizes.databases = numbers(&value()?)?,
                        "--skip-parsedmarc" => options.skip_parsedmarc = true,
                        "--runs" => options.runs = value()?.parse().context(USAGE)?,
                        "--calls" => options.sizes.calls = value()?.parse().context(USAGE)?,
                        _ => bail!(USAGE),
                    }
                }
            }
        }
        let is_part = |only: &str| PARTS.contains(&only);
        if options.runs == 0
            || options.sizes.calls == 0
            || options.scratch.as_os_str().is_empty()
            || !options.only.as_deref().is_none_or(is_part)
        {
            bail!(USAGE);
        }
        Ok(options)
    }

    /// Whether a part is to be measured.
    pub(crate) fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn numbers(text: &str) -> Result<Vec<u64>> {
    text.split(',')
        .map(|number| number.parse().context(USAGE))
        .collect()
}
