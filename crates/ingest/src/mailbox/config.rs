//! What there is to know about a mailbox.

use std::{fs, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Mistake, Secret,
    authenticity::{Check, Method},
};

/// A lease is renewed three times before it ends.
const LEASE_SECS_MIN: u64 = 3;

/// Nobody means to wait longer: a week.
const SECS_MAX: u64 = 7 * 24 * 60 * 60;

/// A mailbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name or address of the IMAP server.
    pub host: String,
    /// Its port; 0 means 993 with `tls`, else 143.
    pub port: u16,
    /// How the connection is secured.
    pub security: Security,
    /// Certificates that are trusted besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the only certificate that is trusted.
    pub certificate_sha256: String,
    /// Who logs in.
    pub user: String,
    /// How.
    pub auth: Auth,
    /// The password.
    pub password: Secret,
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Where access tokens come from (RFC 6749 section 3.2).
    pub token_url: String,
    /// The OAuth client.
    pub client_id: String,
    /// Its secret, if it has one.
    pub client_secret: Secret,
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// The refresh token.
    pub refresh_token: Secret,
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_file: Option<PathBuf>,
    /// The scope asked for, if any.
    pub scope: String,
    /// Where reports arrive.
    pub folder: String,
    /// What becomes of a mail after the commit.
    pub after: After,
    /// Where `move` moves mail.
    pub done_folder: String,
    /// Where rejected mail is moved; empty: it stays.
    pub rejected_folder: String,
    /// How often it is looked for mail where the server has no IDLE (RFC 2177).
    pub poll_interval_secs: u64,
    /// How long an IDLE lasts before it is renewed.
    pub idle_renew_secs: u64,
    /// How long the server may be silent when it owes an answer.
    pub timeout_secs: u64,
    /// The longest pause between tries after a failure.
    pub retry_max_secs: u64,
    /// The first pause after refused credentials.
    pub credentials_retry_secs: u64,
    /// How long a mailbox stays with a process that died.
    pub lease_secs: u64,
    /// What shows where a mail comes from.
    pub authenticity: Method,
    /// Whose Authentication-Results are believed (RFC 8601 section 2.5).
    pub authserv_id: String,
    /// Whether mail that is not shown to come from where it says is rejected.
    pub require_authentic: bool,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    #[default]
    Tls,
    /// STARTTLS (RFC 9051 section 6.2.1).
    Starttls,
    /// Not at all.
    Plain,
}

/// How to log in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// With a password.
    #[default]
    Password,
    /// With access tokens, got for a refresh token (RFC 6749 section 6).
    RefreshToken,
    /// With access tokens, got for the client's own credentials (RFC 6749 section 4.4).
    ClientCredentials,
}

/// What becomes of a mail after the commit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// It is marked as seen.
    #[default]
    MarkSeen,
    /// It is moved to `done_folder`.
    Move,
    /// It is deleted.
    Delete,
    /// Nothing: the mailbox is only read.
    Leave,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 0,
            security: Security::default(),
            ca_file: None,
            certificate_sha256: String::new(),
            user: String::new(),
            auth: Auth::default(),
            password: Secret::default(),
            password_file: None,
            token_url: String::new(),
            client_id: String::new(),
            client_secret: Secret::default(),
            client_secret_file: None,
            refresh_token: Secret::default(),
            refresh_token_file: None,
            scope: String::new(),
            folder: "INBOX".into(),
            after: After::default(),
            done_folder: "ruad-done".into(),
            rejected_folder: String::new(),
            poll_interval_secs: 60,
            idle_renew_secs: 240,
            timeout_secs: 60,
            retry_max_secs: 300,
            credentials_retry_secs: 600,
            lease_secs: 30,
            authenticity: Method::default(),
            authserv_id: String::new(),
            require_authentic: false,
        }
    }
}

impl Config {
    /// Finds what cannot work. Secrets are expected where they belong, files read.
    pub fn check_all(&self) -> Result<(), Mistake> {
        Mistake::if_empty("host", &self.host)?;
        Mistake::if_empty("user", &self.user)?;
        Mistake::if_empty("folder", &self.folder)?;
        for (key, value) in [
            ("poll_interval_secs", self.poll_interval_secs),
            ("idle_renew_secs", self.idle_renew_secs),
            ("timeout_secs", self.timeout_secs),
            ("retry_max_secs", self.retry_max_secs),
            ("credentials_retry_secs", self.credentials_retry_secs),
        ] {
            Mistake::if_zero(key, value)?;
            if value > SECS_MAX {
                return Err(Mistake::new(key, format!("must be at most {SECS_MAX}")));
            }
        }
        if self.lease_secs > SECS_MAX {
            return Err(Mistake::new(
                "lease_secs",
                format!("must be at most {SECS_MAX}"),
            ));
        }
        if self.lease_secs < LEASE_SECS_MIN {
            let problem = format!("must be at least {LEASE_SECS_MIN}");
            return Err(Mistake::new("lease_secs", problem));
        }
        self.check_auth()?;
        self.check_folders()?;
        self.check_certificate()?;
        self.check().check()
    }

    fn check_auth(&self) -> Result<(), Mistake> {
        if self.auth == Auth::Password {
            return Mistake::if_empty("password", self.password.reveal());
        }
        Mistake::if_empty("token_url", &self.token_url)?;
        Mistake::if_empty("client_id", &self.client_id)?;
        if self.auth == Auth::RefreshToken {
            Mistake::if_empty("refresh_token", self.refresh_token.reveal())?;
        } else {
            Mistake::if_empty("client_secret", self.client_secret.reveal())?;
        }
        if !is_safe_for_secrets(&self.token_url) {
            let problem = "must begin with https:// (http:// only for this machine itself)";
            return Err(Mistake::new("token_url", problem));
        }
        Ok(())
    }

    fn check_folders(&self) -> Result<(), Mistake> {
        if self.after == After::Move {
            Mistake::if_empty("done_folder", &self.done_folder)?;
            if self.done_folder == self.folder {
                return Err(Mistake::new("done_folder", "must be another than folder"));
            }
        }
        if !self.rejected_folder.is_empty() {
            if self.rejected_folder == self.folder {
                let problem = "must be another than folder";
                return Err(Mistake::new("rejected_folder", problem));
            }
            if self.after == After::Leave {
                let problem = "cannot be used with after = \"leave\": nothing is moved then";
                return Err(Mistake::new("rejected_folder", problem));
            }
        }
        for (key, folder) in [
            ("folder", &self.folder),
            ("done_folder", &self.done_folder),
            ("rejected_folder", &self.rejected_folder),
        ] {
            if folder.contains(char::is_control) {
                return Err(Mistake::new(key, "must not contain control characters"));
            }
        }
        Ok(())
    }

    fn check_certificate(&self) -> Result<(), Mistake> {
        let pin = &self.certificate_sha256;
        if !pin.is_empty() && parse_fingerprint(pin).is_none() {
            let problem = "must be 64 hexadecimal digits, with or without colons";
            return Err(Mistake::new("certificate_sha256", problem));
        }
        Ok(())
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        match (self.port, self.security) {
            (0, Security::Tls) => 993,
            (0, Security::Starttls | Security::Plain) => 143,
            (port, _) => port,
        }
    }

    /// How mail is checked.
    pub(crate) fn check(&self) -> Check {
        Check {
            method: self.authenticity,
            authserv_id: self.authserv_id.clone(),
            require_authentic: self.require_authentic,
        }
    }

    /// The same with what the files of its secrets hold now. A file that cannot be read changes nothing.
    pub(crate) fn with_secrets_of_now(&self) -> Self {
        let now = |file: &Option<PathBuf>, secret: &Secret| {
            let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
            text.map_or_else(|| secret.clone(), |text| Secret::from(text.trim()))
        };
        Self {
            password: now(&self.password_file, &self.password),
            client_secret: now(&self.client_secret_file, &self.client_secret),
            refresh_token: now(&self.refresh_token_file, &self.refresh_token),
            ..self.clone()
        }
    }

    pub(crate) fn has_same_secrets(&self, other: &Self) -> bool {
        self.password == other.password
            && self.client_secret == other.client_secret
            && self.refresh_token == other.refresh_token
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_secs)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_secs)
    }
}

/// A SHA-256 as openssl prints it.
pub(crate) fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|char| *char != ':')
        .map(|char| char.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// Whether secrets may be sent to a URL: TLS, or no network at all.
pub fn is_safe_for_secrets(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before an @ is no host.
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(ipv6) => ipv6.split(']').next(),
        None => authority.split(':').next(),
    };
    host.is_some_and(|host| {
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = Config {
            host: "imap.example.org".into(),
            user: "dmarc".into(),
            password: "secret".into(),
            ..Config::default()
        };
        change(&mut config);
        config.check_all().err().map(|mistake| mistake.key)
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert_eq!(mistake(|_| {}), None);
        assert_eq!(mistake(|config| config.host.clear()), Some("host"));
        assert_eq!(
            mistake(|config| config.password = Secret::default()),
            Some("password")
        );
        assert_eq!(mistake(|config| config.lease_secs = 1), Some("lease_secs"));
        assert_eq!(
            mistake(|config| config.rejected_folder = "INBOX".into()),
            Some("rejected_folder")
        );
        assert_eq!(
            mistake(|config| config.certificate_sha256 = "12:34".into()),
            Some("certificate_sha256")
        );
        assert_eq!(
            mistake(|config| config.authenticity = Method::AuthenticationResults),
            Some("authserv_id")
        );
    }

    #[test]
    fn tokens_travel_encrypted_or_not_at_all() {
        for (url, safe) in [
            ("https://login.example.org/token", true),
            ("http://127.0.0.1:8080/token", true),
            ("http://[::1]:8080/token", true),
            ("http://localhost/token", true),
            ("http://login.example.org/token", false),
            ("http://127.0.0.1.example.org/token", false),
            ("http://127.0.0.1@example.org/token", false),
            ("http://localhost:x@example.org/token", false),
            ("http://[::1]@example.org/token", false),
            ("ftp://127.0.0.1/token", false),
        ] {
            assert_eq!(is_safe_for_secrets(url), safe, "{url}");
        }
    }

    #[test]
    fn fingerprints_come_with_and_without_colons() {
        let plain = "00".repeat(31) + "ff";
        let colons = "00:".repeat(31) + "FF";
        assert_eq!(parse_fingerprint(&plain), parse_fingerprint(&colons));
        assert_eq!(parse_fingerprint(&plain).unwrap()[31], 255);
        assert_eq!(parse_fingerprint("00"), None);
        assert_eq!(parse_fingerprint(&"x".repeat(64)), None);
    }
}
