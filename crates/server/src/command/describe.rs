//! `ruad completions` and `ruad man`: what shells and manuals know of the command line, from its definition.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::{Shell, generate};

use crate::{exit::Exit, output};

/// Prints the completions for a shell.
pub(crate) fn completions(mut ruad: Command, shell: Shell) -> Result<Exit> {
    let mut text = Vec::new();
    generate(shell, &mut ruad, "ruad", &mut text);
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// Prints the manual page of the program, or writes it and those of its commands into a folder.
pub(crate) fn man(ruad: Command, folder: Option<&Path>) -> Result<Exit> {
    if let Some(folder) = folder {
        clap_mangen::generate_to(ruad, folder)
            .with_context(|| format!("writing manual pages into {}", folder.display()))?;
        return Ok(Exit::Done);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(ruad).render(&mut text)?;
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}
