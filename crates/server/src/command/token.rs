//! `ruad token`: who may use the API and the web page.

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use store::{Actor, DomainList, NewToken, Scope, Token};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::{
    Config,
    cli::{SummaryFormat, TokenArgs, TokenScope},
    database::Database,
    exit::{Exit, Misuse},
    output,
};

/// Makes a token and prints it.
pub(crate) async fn create(config: &Config, args: TokenArgs) -> Result<Exit> {
    let domains = match args.domain {
        domains if domains.is_empty() => None,
        domains => Some(DomainList::new(domains).context(Misuse("--domain"))?),
    };
    let scope = match args.scope {
        TokenScope::Read => Scope::Read,
        TokenScope::Ingest => Scope::Ingest,
        TokenScope::Admin => Scope::Admin,
    };
    let new = NewToken::new(args.name, scope)
        .and_then(|new| new.for_domains(domains).expiring(args.expires))
        .context(Misuse("the token"))?;
    let database = Database::open_migrated(config).await?;
    let made = database.store.create_token(&new, &Actor::cli()).await;
    database.close().await;
    let (_, text) = made?;
    output::print(&format!("{}\n", text.reveal()))?;
    Ok(Exit::Done)
}

/// Lists all tokens.
pub(crate) async fn list(config: &Config, format: SummaryFormat) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let tokens = database.store.tokens().await;
    database.close().await;
    let tokens = tokens?;
    match format {
        SummaryFormat::Text => print_text(&tokens)?,
        SummaryFormat::Json => {
            let tokens = tokens.iter().map(as_json).collect::<Result<Vec<_>>>()?;
            let text = serde_json::to_string_pretty(&tokens)?;
            output::print(&format!("{text}\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Has a token refused.
pub(crate) async fn revoke(config: &Config, token_id: &str) -> Result<Exit> {
    let database = Database::open_migrated(config).await?;
    let revoked = database.store.revoke_token(token_id, &Actor::cli()).await;
    database.close().await;
    if !revoked? {
        bail!("there is no token with the id {token_id:?}; `ruad token list` lists them");
    }
    output::print(&format!("token {token_id} is revoked\n"))?;
    Ok(Exit::Done)
}

fn print_text(tokens: &[Token]) -> Result<()> {
    let head = [
        "id",
        "scope",
        "state",
        "domains",
        "made",
        "expires",
        "last used",
        "name",
    ];
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            let domains = token.domains.as_ref();
            vec![
                token.token_id.clone(),
                token.scope.as_str().into(),
                state(token).into(),
                domains.map_or("all".into(), |domains| domains.names().join(", ")),
                minute(Some(token.created_at)),
                minute(token.expires_at),
                minute(token.last_used_at),
                output::plain(token.name.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    let mut out = output::buffered();
    output::print_table(&mut out, &head, &[], &rows)?;
    Ok(std::io::Write::flush(&mut out)?)
}

fn as_json(token: &Token) -> Result<serde_json::Value> {
    let time = |at: Option<OffsetDateTime>| at.map(|at| at.format(&Rfc3339)).transpose();
    Ok(json!({
        "token_id": token.token_id,
        "name": token.name,
        "scope": token.scope.as_str(),
        "domains": token.domains.as_ref().map(DomainList::names),
        "created_at": time(Some(token.created_at))?,
        "expires_at": time(token.expires_at)?,
        "last_used_at": time(token.last_used_at)?,
        "revoked_at": time(token.revoked_at)?,
        "state": state(token),
    }))
}

/// Whether a token lets somebody in.
fn state(token: &Token) -> &'static str {
    match (token.revoked_at, token.is_expired) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "valid",
    }
}

/// A time for people, in UTC.
pub(super) fn minute(at: Option<OffsetDateTime>) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]");
    at.and_then(|at| at.format(form).ok())
        .unwrap_or_else(|| "-".into())
}
