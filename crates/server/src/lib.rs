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

pub use api::{Access, Grant, OidcConfig};
pub use cli::main;
pub use config::Config;
pub use ingest::{Secret, mailbox};
pub use serve::run;

// glibc's malloc keeps what a large upload once needed, in an arena for each of many threads. Settings: .cargo/config.toml.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
