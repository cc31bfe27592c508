//! `ruad session`: browsers that are signed in.

use anyhow::{Result, bail};
use serde_json::json;
use store::{Actor, DomainList, SessionRow};
use time::format_description::well_known::Rfc3339;

use super::token::minute;
use crate::{Config, cli::SummaryFormat, database::Database, exit::Exit, output};

/// Lists the sessions that last.
pub(crate) async fn list(config: &Config, format: SummaryFormat) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let sessions = database.store.sessions().await;
    database.close().await;
    let sessions = sessions?;
    match format {
        SummaryFormat::Text => print_text(&sessions)?,
        SummaryFormat::Json => {
            let sessions = sessions.iter().map(as_json).collect::<Result<Vec<_>>>()?;
            let text = serde_json::to_string_pretty(&sessions)?;
            output::print(&format!("{text}\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Ends the sessions of somebody.
pub(crate) async fn revoke(config: &Config, holder: &str) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let revoked = database.store.revoke_sessions(holder, &Actor::cli()).await;
    database.close().await;
    let session_count = revoked?;
    if session_count == 0 {
        bail!("there is no session of {holder:?}; `ruad session list` lists them");
    }
    output::print(&format!(
        "{session_count} sessions of {} are over\n",
        output::plain(holder)
    ))?;
    Ok(Exit::Done)
}

fn print_text(sessions: &[SessionRow]) -> Result<()> {
    let head = ["who", "scope", "domains", "signed in", "until", "name"];
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let domains = session.domains.as_ref();
            vec![
                output::plain(&session.holder),
                session.scope.as_str().into(),
                domains.map_or("all".into(), |domains| domains.names().join(", ")),
                minute(Some(session.created_at)),
                minute(Some(session.expires_at)),
                output::plain(session.name.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    let mut out = output::buffered();
    output::print_table(&mut out, &head, &[], &rows)?;
    Ok(std::io::Write::flush(&mut out)?)
}

fn as_json(session: &SessionRow) -> Result<serde_json::Value> {
    Ok(json!({
        "who": session.holder,
        "name": session.name,
        "scope": session.scope.as_str(),
        "domains": session.domains.as_ref().map(DomainList::names),
        "created_at": session.created_at.format(&Rfc3339)?,
        "expires_at": session.expires_at.format(&Rfc3339)?,
    }))
}
