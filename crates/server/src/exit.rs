//! How the program ends.

use std::{fmt, process::ExitCode};

/// What a command came to, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Not done: there is no such thing, or ours is the fault, nothing is lost, run it again.
    Failed,
    /// Done, but something was rejected.
    Rejected,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(FAILED),
            Exit::Rejected => Self::from(3),
        }
    }
}

/// The exit code of a failure of ours.
const FAILED: u8 = 1;

/// The exit code of a wrong command line or configuration.
pub(crate) const USAGE: u8 = 2;

/// Marks an error, as its context, as a mistake in the configuration or on the command line, and says where: running it again
/// does not help.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Misuse(pub(crate) &'static str);

impl fmt::Display for Misuse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// The exit code for an error.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Misuse>() { USAGE } else { FAILED }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn a_mistake_is_told_from_a_failure_whatever_is_said_about_it() {
        let failure = anyhow!("no such file").context("reading the key");
        assert_eq!(code_of(&failure), FAILED);
        let mistake = Err::<(), _>(failure).context(Misuse("config"));
        let mistake = mistake.context("starting").unwrap_err();
        assert_eq!(code_of(&mistake), USAGE);
        assert_eq!(
            format!("{mistake:#}"),
            "starting: config: reading the key: no such file"
        );
    }
}
