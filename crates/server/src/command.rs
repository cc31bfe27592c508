//! What each command does.

mod describe;
mod healthcheck;
mod import;
pub(crate) mod mailbox;
mod maintain;
pub(crate) mod session;
mod show;
mod sources;
pub(crate) mod token;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;

use crate::{Config, exit::Exit, output, serve};

pub(crate) use describe::{completions, man};
pub(crate) use healthcheck::healthcheck;
pub(crate) use import::import;
pub(crate) use maintain::{migrate, rebuild, verify};
pub(crate) use show::show;
pub(crate) use sources::sources;

/// Serves until the process is told to stop.
pub(crate) async fn serve(config: Config) -> Result<Exit> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listening on {}", config.listen))?;
    serve::run(config, listener, serve::stop_signal()?).await?;
    Ok(Exit::Done)
}

/// Prints the configuration in force.
pub(crate) fn config(config: &Config) -> Result<Exit> {
    let text = toml::to_string(config).context("writing the config")?;
    output::print(&text)?;
    Ok(Exit::Done)
}

/// Prints the contract of the API.
pub(crate) fn openapi() -> Result<Exit> {
    let mut text = serde_json::to_string_pretty(&api::openapi())?;
    text.push('\n');
    output::print(&text)?;
    Ok(Exit::Done)
}
