//! `ruad mailbox test NAME`: what works of a mailbox, step by step.

use anyhow::{Context as _, Result, anyhow};
use ingest::mailbox::{self, Auth, Step};

use crate::{
    Config,
    database::Database,
    exit::{Exit, Misuse},
    output,
};

/// Tries the mailbox, changes nothing in it, and prints each step as it is done.
pub(crate) async fn test(config: &Config, name: &str) -> Result<Exit> {
    let Some(mailbox) = config.mailboxes.get(name) else {
        let names: Vec<&str> = config.mailboxes.keys().map(String::as_str).collect();
        let known = match names.as_slice() {
            [] => "there is none in the configuration (see --config)".to_owned(),
            names => format!("configured are: {}", names.join(", ")),
        };
        return Err(anyhow!("there is no {name:?}; {known}")).context(Misuse("the mailbox"));
    };
    let database = match mailbox.auth {
        Auth::RefreshToken => Database::open(config).await.ok(),
        Auth::Password | Auth::ClientCredentials => None,
    };
    // The refresh token that `ruad serve` got last; without the database the configured one has to do.
    let kept = match &database {
        Some(database) => database.store.refresh_token(name).await.ok().flatten(),
        None => None,
    };
    let mut printed = Ok(());
    let probed = mailbox::probe(mailbox, kept, &mut |step| {
        if printed.is_ok() {
            printed = output::print(&line(&step));
        }
    })
    .await;
    if let Some(database) = database {
        if let Some(sealed) = probed.sealed_refresh_token {
            let keeping = database.store.keep_refresh_token(name, &sealed).await;
            keeping.context("the new refresh token cannot be kept")?;
        }
        database.close().await;
    }
    printed?;
    Ok(if probed.is_well {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn line(step: &Step) -> String {
    let (mark, text) = match &step.outcome {
        Ok(text) => ("ok", text),
        Err(text) => ("FAILED", text),
    };
    format!("{mark:<6}  {:<16}  {}\n", step.what, output::plain(text))
}
