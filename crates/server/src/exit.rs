//! How the program ends.

use std::process::ExitCode;

/// What a command came to, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Our failure: nothing is lost, run it again.
    Failed,
    /// Done, but something was rejected.
    Rejected,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Rejected => Self::from(3),
        }
    }
}

/// The exit code of a wrong command line or configuration.
pub(crate) const USAGE: u8 = 2;
