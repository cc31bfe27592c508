//! Running a program and measuring it.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How often a process is asked for its memory. What it reports is its high-water mark, so little is missed.
const WATCH_EVERY: Duration = Duration::from_millis(5);

/// A program that ran to its end and succeeded.
pub(crate) struct Finished {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// The most memory that was resident; unknown where there is no `/proc`.
    pub(crate) peak_mib: Option<f64>,
    /// Its standard output.
    pub(crate) output: String,
}

/// ruad as it comes: nothing in the environment configures it.
pub(crate) fn ruad(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("RUAD_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program, its time and memory measured.
pub(crate) fn measure(command: &mut Command) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {name}"))?;
    let process = child.id();
    let watch = thread::spawn(move || watch(process));
    let output = child.wait_with_output()?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, complaint.trim_end());
    }
    Ok(Finished {
        seconds,
        peak_mib: watch.join().ok().flatten(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Runs a program for its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    Ok(measure(command)?.output.trim_end().to_owned())
}

/// Follows a process to its end.
fn watch(process: u32) -> Option<f64> {
    let mut peak = None;
    while let Some(mib) = high_water_mib(process) {
        peak = Some(mib);
        thread::sleep(WATCH_EVERY);
    }
    peak
}

pub(crate) fn high_water_mib(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
