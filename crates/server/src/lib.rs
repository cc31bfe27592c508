//! The program: command line, configuration, start and stop.
//!
//! [`main`] is the command line; [`run`] is `ruad serve`, which tests call as well. What a command does stands in the
//! module of its name. Only this crate reads the environment and the clock.

mod cli;
mod clock;
mod command;
mod compaction;
mod config;
mod database;
mod exit;
mod log;
mod output;
mod retention;
mod serve;
mod tasks;
mod ways_in;

pub use cli::main;
pub use config::Config;
pub use ingest::{Secret, mailbox};
pub use serve::run;

/// Reports are many small texts: the allocator of the C library takes a tenth of an import's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
