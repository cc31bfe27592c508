//! `ruad mailbox test`: everything that working on a mailbox takes, step by step, changing nothing.

use super::{
    After, Auth, Config, Security,
    connect::{connect, log_in},
    fault::Fault,
    imap::{Imap, Selected},
    session::{criteria, open_command},
    token::TokenSource,
};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub what: &'static str,
    /// What came of it, or what went wrong and what to do.
    pub outcome: Result<String, String>,
}

/// What trying a mailbox came to.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Whether everything works.
    pub is_well: bool,
    /// A refresh token that took the place of the one used, for the store to keep.
    pub sealed_refresh_token: Option<Vec<u8>>,
}

/// Tries a mailbox and tells each step as it is done. `sealed_refresh_token` is what the store keeps for it.
pub async fn probe(
    config: &Config,
    sealed_refresh_token: Option<Vec<u8>>,
    tell: &mut dyn FnMut(Step),
) -> Probed {
    let mut telling = Telling {
        tell,
        is_well: true,
    };
    let config = config.with_secrets_of_now();
    let mut tokens = TokenSource::default();
    tokens.heed(&config, sealed_refresh_token);
    if let Err((what, fault)) = try_all(&config, &mut tokens, &mut telling).await {
        telling.step(what, Err(fault.to_string()));
    }
    Probed {
        is_well: telling.is_well,
        sealed_refresh_token: tokens.to_keep,
    }
}

struct Telling<'a> {
    tell: &'a mut dyn FnMut(Step),
    is_well: bool,
}

impl Telling<'_> {
    fn step(&mut self, what: &'static str, outcome: Result<String, String>) {
        self.is_well &= outcome.is_ok();
        (self.tell)(Step { what, outcome });
    }
}

async fn try_all(
    config: &Config,
    tokens: &mut TokenSource,
    telling: &mut Telling<'_>,
) -> Result<(), (&'static str, Fault)> {
    let greeted = connect(config).await.map_err(|fault| ("connect", fault))?;
    let security = match (&greeted.fingerprint, config.security) {
        (Some(fingerprint), Security::Tls | Security::Starttls) => {
            format!("TLS, certificate sha256 {fingerprint}")
        }
        _ => "without TLS: passwords and mail can be read on the way".into(),
    };
    let place = format!("{}:{}, {security}", config.host, config.port());
    telling.step("connect", Ok(place));
    if config.auth != Auth::Password {
        let token = tokens.token(config).await;
        token.map_err(|fault| ("access token", fault))?;
        telling.step("access token", Ok(config.token_url.clone()));
    }
    let mut imap = log_in(config, greeted, tokens)
        .await
        .map_err(|fault| ("log in", fault))?;
    telling.step("log in", Ok(config.user.clone()));
    telling.step("server", Ok(abilities(&imap)));
    let selected = imap
        .open(open_command(config), &config.folder)
        .await
        .map_err(|fault| ("open folder", fault))?;
    telling.step("open folder", folder(config, &selected));
    let waiting = imap
        .search(criteria(config, &selected))
        .await
        .map_err(|fault| ("look for mail", fault))?;
    let found = format!("{} of {} mails wait", waiting.len(), selected.exists);
    telling.step("look for mail", Ok(found));
    let after = after(config, &mut imap, &selected).await;
    telling.step(
        "after the commit",
        Ok(after.map_err(|fault| ("after the commit", fault))?),
    );
    imap.log_out().await;
    Ok(())
}

fn abilities(imap: &Imap) -> String {
    let can = |capability, with: &str, without: &str| {
        if imap.can(capability) { with } else { without }.to_owned()
    };
    [
        can(
            "IDLE",
            "tells of new mail (IDLE)",
            "is asked for new mail (no IDLE)",
        ),
        can(
            "MOVE",
            "moves mail (MOVE)",
            "copies and deletes mail (no MOVE)",
        ),
        can(
            "UIDPLUS",
            "removes single mails (UIDPLUS)",
            "leaves deleted mail marked as such (no UIDPLUS)",
        ),
        format!("all: {}", imap.capabilities().join(" ")),
    ]
    .join("; ")
}

fn folder(config: &Config, selected: &Selected) -> Result<String, String> {
    if selected.is_read_only && config.after != After::Leave {
        let folder = config.folder.clone();
        return Err(Fault::ReadOnly { folder }.to_string());
    }
    Ok(format!(
        "{}: {} mails, UIDVALIDITY {}",
        config.folder, selected.exists, selected.uid_validity
    ))
}

async fn after(config: &Config, imap: &mut Imap, selected: &Selected) -> Result<String, Fault> {
    let done = match config.after {
        After::MarkSeen => "marked as seen".to_owned(),
        After::Delete => "deleted".to_owned(),
        After::Leave => return Ok("mail is left as it is".into()),
        After::Move => format!("moved to {}", described(imap, &config.done_folder).await?),
    };
    let rejected = if !config.rejected_folder.is_empty() {
        format!(
            "moved to {}",
            described(imap, &config.rejected_folder).await?
        )
    } else if selected.takes_keywords {
        "marked as seen and $RuadRejected".into()
    } else {
        "marked as seen (the server takes no keywords)".into()
    };
    Ok(format!("mail is {done}; rejected mail is {rejected}"))
}

async fn described(imap: &mut Imap, folder: &str) -> Result<String, Fault> {
    Ok(if imap.has_folder(folder).await? {
        folder.to_owned()
    } else {
        format!("{folder} (missing: it will be made)")
    })
}
