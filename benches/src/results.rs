//! Tables, on the terminal and in `RESULTS.md`.

use std::{
    fmt::{self, Display},
    fs,
    process::Command,
};

use anyhow::Result;

use crate::{
    Setting,
    postgres::Server,
    process::{self, Finished, output},
};

/// What the runs of one program took.
#[derive(Default)]
pub(crate) struct Runs {
    seconds: Vec<f64>,
    peaks_mib: Vec<Option<f64>>,
}

impl Runs {
    pub(crate) fn add(&mut self, finished: &Finished) {
        self.seconds.push(finished.seconds);
        self.peaks_mib.push(finished.peak_mib);
    }

    pub(crate) fn median_seconds(&self) -> f64 {
        median(&self.seconds)
    }

    /// The most memory of any run, in MiB.
    pub(crate) fn peak(&self) -> String {
        let highest = self.peaks_mib.iter().flatten().copied().reduce(f64::max);
        highest.map_or_else(|| "unknown".into(), |mib| format!("{mib:.1}"))
    }
}

/// One table with what it needs to be understood.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Display for Section {
    /// Markdown that is readable on a terminal as well.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.head;
        let mut widths = vec![0; head.len()];
        for row in self.rows.iter().chain([head]) {
            for (cell, width) in row.iter().zip(&mut widths) {
                *width = cell.chars().count().max(*width);
            }
        }
        let rules = widths.iter().map(|&width| "-".repeat(width)).collect();
        writeln!(formatter, "## {}\n", self.title)?;
        for row in [head, &rules].into_iter().chain(&self.rows) {
            for (cell, width) in row.iter().zip(&widths) {
                write!(formatter, "| {cell:width$} ")?;
            }
            formatter.write_str("|\n")?;
        }
        writeln!(formatter, "\n{}", self.text)
    }
}

/// Where and with what was measured.
pub(crate) struct Environment {
    date: String,
    runs: usize,
    lines: Vec<String>,
    inputs: Vec<String>,
}

impl Environment {
    pub(crate) fn look(setting: &Setting) -> Result<Self> {
        let ruad = output(process::ruad(&setting.ruad).arg("--version"))?;
        let rustc = output(Command::new("rustc").arg("--version"))?;
        Ok(Self {
            date: setting.date.clone(),
            runs: setting.runs,
            lines: vec![
                format!("{}, {} cores", cpu_model(), setting.cores),
                format!("load average at the start: {}", load_average()),
                format!("{ruad}, {rustc}"),
            ],
            inputs: Vec::new(),
        })
    }

    pub(crate) fn add_postgres(&mut self, server: &Server) -> Result<()> {
        let version = server.version()?;
        self.lines.push(format!(
            "PostgreSQL {version}, settings as `initdb` leaves them (`fsync` and `synchronous_commit` are on)"
        ));
        Ok(())
    }

    pub(crate) fn finish(&mut self, setting: &Setting) {
        self.lines
            .push(format!("load average at the end: {}", load_average()));
        self.inputs = setting.inputs.made();
    }
}

/// The text of `RESULTS.md`.
pub(crate) fn document(environment: &Environment, sections: &[Section]) -> String {
    let list = |items: &[String], mark: &str| -> String {
        items
            .iter()
            .map(|item| format!("- {mark}{item}{mark}\n"))
            .collect()
    };
    let tables: Vec<String> = sections.iter().map(Section::to_string).collect();
    format!(
        "# Results\n\n\
         Written by `make bench` on {}; the same command repeats it. Everything compared ran in turns in this one run, \
         and \
         figures are medians of {} runs where nothing else is said. Absolute figures belong to the machine and to what else it did; ratios carry over \
         better.\n\n\
         {}\n\
         Input, made anew for the run:\n\n\
         {}\n\
         {}",
        environment.date,
        environment.runs,
        list(&environment.lines, ""),
        list(&environment.inputs, "`"),
        tables.join("\n"),
    )
}

/// The middle of an odd number of values, the mean of the middle two otherwise.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        sorted[middle - 1].midpoint(sorted[middle])
    }
}

/// `1,234,567`, or `9.87` where the fraction matters.
pub(crate) fn thousands(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn ratio(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

fn cpu_model() -> String {
    let linux = || {
        let text = fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mac = || output(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"])).ok();
    linux()
        .or_else(mac)
        .unwrap_or_else(|| "unknown processor".into())
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first: Vec<&str> = text.split(' ').take(3).collect();
    if first.len() == 3 {
        first.join(" ")
    } else {
        "unknown".into()
    }
}
