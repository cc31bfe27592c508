//! The HTTP side: uploads, answers, probes, and the document that describes them.
//!
//! This crate turns requests into calls of [`ingest`] and [`store`] and their results into JSON. It decides no outcome
//! and writes no SQL, and it reads neither the environment nor the clock: [`State`] brings what it needs.
//! Start reading at `routes.rs`, the table of contents, then at the file of a resource below it.

mod access;
mod body;
mod client;
mod config;
mod cookie;
mod cursor;
mod days;
mod error;
mod export;
mod extract;
mod guard;
mod metrics;
mod oidc;
mod routes;
mod serve;
mod state;
mod tls;
mod totals;

pub use access::RateLimit;
pub use client::Net;
pub use config::{Access, Config};
pub use error::Error;
pub use export::csv_cell;
pub use oidc::{Grant, OidcConfig, OidcError, Provider};
pub use routes::openapi;
pub use serve::serve;
pub use state::State;
pub use tls::{Tls, TlsConfig, TlsError};
