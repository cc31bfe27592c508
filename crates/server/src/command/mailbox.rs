//! `ruad mailbox test NAME`: what works of a mailbox, step by step.

use anyhow::Result;
use ingest::mailbox::{self, Auth, Step};

use crate::{Config, database::Database, exit::Exit, output};

/// Tries the mailbox, changes nothing in it, and prints each step as it is done.
pub(crate) async fn test(config: &Config, name: &str) -> Result<Exit> {
    let Some(mailbox) = config.mailboxes.get(name) else {
        let names: Vec<&str> = config.mailboxes.keys().map(String::as_str).collect();
        let known = match names.as_slice() {
            [] => "there is none in the configuration (see --config)".to_owned(),
            names => format!("configured are: {}", names.join(", ")),
        };
        anyhow::bail!("no mailbox {name:?}; {known}");
    };
    let kept = match mailbox.auth {
        Auth::RefreshToken => kept_token(config, name).await,
        Auth::Password | Auth::ClientCredentials => None,
    };
    let mut printed = Ok(());
    let is_well = mailbox::probe(mailbox, kept, &mut |step| {
        if printed.is_ok() {
            printed = output::print(&line(&step));
        }
    })
    .await;
    printed?;
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// The refresh token that `ruad serve` got last; without the database the configured one has to do.
async fn kept_token(config: &Config, name: &str) -> Option<Vec<u8>> {
    let database = Database::open(config).await.ok()?;
    let kept = database.store.refresh_token(name).await;
    database.close().await;
    kept.ok().flatten()
}

fn line(step: &Step) -> String {
    let (mark, text) = match &step.outcome {
        Ok(text) => ("ok", text),
        Err(text) => ("FAILED", text),
    };
    format!("{mark:<6}  {:<16}  {}\n", step.what, output::plain(text))
}
