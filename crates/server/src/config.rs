//! The configuration: one TOML file, any key of which the environment may override.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use ingest::{AllowedDomains, Secret, authenticity::DnsConfig, directory, lmtp, mailbox};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{database, log, retention};

/// Variables of the environment that begin like keys and are none.
const OTHER_VARIABLES: [&str; 8] = [
    "RUAD_CHROMIUM",
    "RUAD_CONFIG",
    "RUAD_CORPUS",
    "RUAD_GENERATOR",
    "RUAD_REQUIRE_CITUS",
    "RUAD_SCREENSHOTS",
    "RUAD_TEST_SCHEMAS",
    "RUAD_TOKEN",
];

/// Keys that have another name now.
const RENAMED: [(&str, &str, &str); 1] = [("quarantine", "retention_days", "retention.quarantine")];

/// Stands for the names that users give.
const ANY_NAME: &str = "*";

/// Keys that may be missing; all of them are texts.
const WITHOUT_DEFAULT: [&str; 8] = [
    "certificate_file",
    "key_file",
    "url_file",
    "bin_dir",
    "ca_file",
    "password_file",
    "client_secret_file",
    "refresh_token_file",
];

/// Everything that can be set. `config/ruad.toml` describes each key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The folder of the private database.
    pub data: PathBuf,
    /// The policy domains whose reports are stored, their subdomains included; none means all.
    pub domains: AllowedDomains,
    /// The log.
    pub log: log::Config,
    /// The database.
    pub database: database::Config,
    /// The API.
    pub http: api::Config,
    /// Mailboxes that mail is taken out of, by name.
    pub mailboxes: BTreeMap<String, mailbox::Config>,
    /// The LMTP listener.
    pub lmtp: lmtp::Config,
    /// Watched directories, by name.
    pub directories: BTreeMap<String, directory::Config>,
    /// Where names are looked up.
    pub dns: DnsConfig,
    /// How long what is stored is kept.
    pub retention: retention::Config,
    /// Bytes of deliveries of which something was not stored.
    pub quarantine: Quarantine,
    /// What a delivery may make us do.
    pub limits: report::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: "ruad-data".into(),
            domains: AllowedDomains::default(),
            log: log::Config::default(),
            database: database::Config::default(),
            http: api::Config::default(),
            mailboxes: BTreeMap::new(),
            lmtp: lmtp::Config::default(),
            directories: BTreeMap::new(),
            dns: DnsConfig::default(),
            retention: retention::Config::default(),
            quarantine: Quarantine::default(),
            limits: report::Limits::default(),
        }
    }
}

/// How many bytes of deliveries are kept of which something was not stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// Bytes of all together; the oldest go first.
    pub bytes_max: u64,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            bytes_max: 1024 * 1024 * 1024,
        }
    }
}

impl Config {
    /// Reads the file, if one is named, and the environment over it, and checks everything.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let mut table = match file {
            Some(file) => {
                let text = fs::read_to_string(file)
                    .with_context(|| format!("reading the config file {}", file.display()))?;
                toml::from_str::<Table>(&text).map_err(|error| {
                    let line = line_of(&text, &error);
                    anyhow!(
                        "config file {}, line {line}: {}",
                        file.display(),
                        error.message()
                    )
                })?
            }
            None => Table::new(),
        };
        for (section, key, new) in RENAMED {
            let section_table = table.get(section).and_then(Value::as_table);
            if section_table.is_some_and(|table| table.contains_key(key)) {
                bail!("config: {section}.{key} is called {new} now");
            }
        }
        let known = known_keys().context("the default config")?;
        for (variable, value) in environment {
            let (Some(variable), Some(value)) = (variable.to_str(), value.to_str()) else {
                continue;
            };
            override_key(&mut table, &known, variable, value)?;
        }
        let config: Self = table.try_into().map_err(|error: toml::de::Error| {
            anyhow!("config: {}", error.to_string().trim_end())
        })?;
        config.checked()
    }

    fn checked(mut self) -> Result<Self> {
        if let Some(file) = &self.database.url_file {
            if !self.database.url.is_empty() {
                bail!("config: set database.url or database.url_file, not both");
            }
            self.database.url = read_secret("database.url_file", file)?;
        }
        for (key, value) in [
            ("database.writers", self.database.writers as u64),
            (
                "database.connections_max",
                self.database.connections_max.into(),
            ),
            (
                "database.acquire_timeout_secs",
                self.database.acquire_timeout_secs,
            ),
        ] {
            if value == 0 {
                bail!("config: {key} must not be 0");
            }
        }
        // One for large reports and the background, one for questions.
        if (self.database.connections_max as usize) < self.database.writers.saturating_add(2) {
            bail!(
                "config: database.connections_max must be at least 2 greater than database.writers"
            );
        }
        // PostgreSQL counts its milliseconds in 31 bits.
        if self.database.statement_timeout_secs > i32::MAX as u64 / 1000 {
            bail!("config: database.statement_timeout_secs is too large");
        }
        self.retention.check()?;
        let checked = self.http.tls.check();
        checked.map_err(|mistake| anyhow!("config: {mistake}"))?;
        let oidc = &mut self.http.oidc;
        if let Some(file) = &oidc.client_secret_file {
            if !oidc.client_secret.is_empty() {
                bail!("config: set http.oidc.client_secret or client_secret_file, not both");
            }
            oidc.client_secret = read_secret("http.oidc.client_secret_file", file)?;
        }
        let checked = oidc.check_all();
        checked.map_err(|mistake| anyhow!("config: http.oidc.{mistake}"))?;
        for (name, mailbox) in &mut self.mailboxes {
            check_name("mailboxes", name)?;
            read_secrets(name, mailbox)?;
            let checked = mailbox.check_all();
            checked.map_err(|mistake| anyhow!("config: mailboxes.{name}.{mistake}"))?;
        }
        for (name, directory) in &self.directories {
            check_name("directories", name)?;
            let checked = directory.check_all();
            checked.map_err(|mistake| anyhow!("config: directories.{name}.{mistake}"))?;
        }
        let checked = self.domains.check_all();
        checked.map_err(|mistake| anyhow!("config: {mistake}"))?;
        let checked = self.lmtp.check_all();
        checked.map_err(|mistake| anyhow!("config: lmtp.{mistake}"))?;
        let checked = self.dns.check_all();
        checked.map_err(|mistake| anyhow!("config: dns.{mistake}"))?;
        Ok(self)
    }
}

/// Where a mistake is. What stands there is not shown: it may be half a password.
fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start);
    1 + text
        .bytes()
        .take(start)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// Names stand in the ledger, in addresses of the API and in variables of the environment.
fn check_name(section: &str, name: &str) -> Result<()> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        bail!("config: {section}.{name}: a name consists of a-z, 0-9, - and _");
    }
    Ok(())
}

fn read_secrets(name: &str, mailbox: &mut mailbox::Config) -> Result<()> {
    for (key, secret, file) in [
        ("password", &mut mailbox.password, &mailbox.password_file),
        (
            "client_secret",
            &mut mailbox.client_secret,
            &mailbox.client_secret_file,
        ),
        (
            "refresh_token",
            &mut mailbox.refresh_token,
            &mailbox.refresh_token_file,
        ),
    ] {
        let Some(file) = file else { continue };
        if !secret.is_empty() {
            bail!("config: set mailboxes.{name}.{key} or {key}_file, not both");
        }
        *secret = read_secret(&format!("mailboxes.{name}.{key}_file"), file)?;
    }
    Ok(())
}

fn read_secret(key: &str, file: &Path) -> Result<Secret> {
    let text =
        fs::read_to_string(file).with_context(|| format!("reading {key} {}", file.display()))?;
    Ok(Secret::from(text.trim()))
}

/// Every key that has a default, with it.
fn known_keys() -> Result<Table, toml::ser::Error> {
    let mut known = Table::try_from(Config::default())?;
    let named = |value| Value::Table(Table::from_iter([(ANY_NAME.to_owned(), value)]));
    let mailbox = Value::try_from(mailbox::Config::default())?;
    known.insert("mailboxes".into(), named(mailbox));
    let directory = Value::try_from(directory::Config::default())?;
    known.insert("directories".into(), named(directory));
    Ok(known)
}

/// Whether Kubernetes or Docker says with a variable where a service called `ruad` is: `RUAD_PORT=tcp://...` and the like. No
/// key of ours is called so.
fn is_of_service(variable: &str) -> bool {
    let exact = ["RUAD_SERVICE_HOST", "RUAD_SERVICE_PORT", "RUAD_PORT"];
    let begun = ["RUAD_SERVICE_PORT_", "RUAD_PORT_"];
    exact.contains(&variable) || begun.iter().any(|begin| variable.starts_with(begin))
}

/// `DATABASE_URL` is `database.url`; lists are separated by commas; `RUAD_HTTP__UPLOADS_MAX` is `http.uploads_max`.
fn override_key(table: &mut Table, known: &Table, variable: &str, value: &str) -> Result<()> {
    let path: Vec<String> = match variable.strip_prefix("RUAD_") {
        Some(key) if !OTHER_VARIABLES.contains(&variable) && !is_of_service(variable) => {
            key.split("__").map(str::to_ascii_lowercase).collect()
        }
        None if variable == "DATABASE_URL" => vec!["database".into(), "url".into()],
        Some(_) | None => return Ok(()),
    };
    let Some((key, sections)) = path.split_last() else {
        return Ok(());
    };
    for (section, old, new) in RENAMED {
        if key == old && sections == [section] {
            bail!("environment variable {variable}: {section}.{old} is called {new} now");
        }
    }
    let (mut place, mut known) = (table, known);
    for section in sections {
        known = known
            .get(section)
            .or_else(|| known.get(ANY_NAME))
            .and_then(Value::as_table)
            .with_context(|| format!("environment variable {variable}: no such key"))?;
        // Names may contain "-", variables may not.
        let existing = place.keys().find(|name| name.replace('-', "_") == *section);
        place = place
            .entry(existing.unwrap_or(section).clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .with_context(|| format!("config: {section} must be a section"))?;
    }
    let typed = match known.get(key) {
        Some(Value::Integer(_)) => value.parse().map(Value::Integer).with_context(|| {
            format!("environment variable {variable}: {value:?} is no whole number")
        })?,
        Some(Value::Boolean(_)) => value.parse().map(Value::Boolean).with_context(|| {
            format!("environment variable {variable}: {value:?} is neither true nor false")
        })?,
        Some(Value::String(_)) => Value::String(value.into()),
        Some(Value::Array(_)) => {
            let items = value.split(',').map(str::trim);
            let items = items.filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.into())).collect())
        }
        // Keys without a default are texts.
        None if WITHOUT_DEFAULT.contains(&key.as_str()) => Value::String(value.into()),
        Some(_) | None => bail!("environment variable {variable}: no such key"),
    };
    place.insert(key.clone(), typed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ruad.toml");
        fs::write(&path, file).unwrap();
        let environment = environment
            .iter()
            .map(|(key, value)| (key.into(), value.into()));
        Config::load(Some(&path), environment)
    }

    fn refused(file: &str, environment: &[(&str, &str)], because: &str) {
        let error = format!("{:#}", load(file, environment).unwrap_err());
        assert!(error.contains(because), "{error}");
    }

    #[test]
    fn the_example_config_holds_every_key_with_its_default() {
        let example = include_str!("../../../config/ruad.toml");
        let set: String = example
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting)
                    if setting.starts_with('[')
                        || setting
                            .split_once(" = ")
                            .is_some_and(|(key, _)| !key.contains(' ')) =>
                {
                    setting
                }
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let mut described: Table = toml::from_str(&set).unwrap();
        for (section, key) in [
            (&["database"][..], "url_file"),
            (&["database"], "bin_dir"),
            (&["http", "tls"], "certificate_file"),
            (&["http", "tls"], "key_file"),
            (&["http", "oidc"], "client_secret_file"),
            (&["http", "oidc"], "ca_file"),
        ] {
            let table = section.iter().fold(&mut described, |table, name| {
                table[*name].as_table_mut().unwrap()
            });
            assert!(
                table.remove(key).is_some(),
                "{section:?} {key} has no default and must be described"
            );
        }
        let grants = described["http"]["oidc"]["grants"].as_array_mut().unwrap();
        for key in ["claim", "value", "scope", "domains", "domains_claim"] {
            let grant = grants[0].as_table_mut().unwrap();
            assert!(grant.remove(key).is_some(), "{key} must be described");
        }
        assert_eq!(grants, &[Value::Table(Table::new())]);
        grants.clear();
        for section in ["mailboxes", "directories"] {
            let named = described[section].as_table_mut().unwrap();
            let example = named.iter_mut().next().unwrap().1.as_table_mut().unwrap();
            let defaults = known_keys().unwrap()[section][ANY_NAME].clone();
            for (key, default) in defaults.as_table().unwrap() {
                let shown = example.remove(key);
                assert!(shown.is_some(), "{section}.{key} must be described");
                if default.as_str() != Some("") {
                    assert_eq!(shown.as_ref(), Some(default), "{section}.{key}");
                }
            }
            let files = example
                .keys()
                .all(|key| WITHOUT_DEFAULT.contains(&key.as_str()));
            assert!(files, "{section}: {example:?} are no keys");
            named.clear();
        }
        assert_eq!(described, Table::try_from(Config::default()).unwrap());
        assert!(
            toml::from_str::<Table>(example)
                .unwrap()
                .values()
                .all(|value| value.as_table().is_some_and(Table::is_empty)),
            "in the example every key is commented out"
        );
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = load(
            "listen = '127.0.0.1:1'\n[http]\nuploads_max = 3",
            &[
                ("RUAD_HTTP__UPLOADS_MAX", "7"),
                ("DATABASE_URL", "postgres://user:secret@host/db"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.http.uploads_max, 7);
        assert_eq!(
            config.database.url.reveal(),
            "postgres://user:secret@host/db"
        );
        assert!(!toml::to_string(&config).unwrap().contains("user:secret"));
        assert!(!format!("{config:?}").contains("user:secret"));
    }

    #[test]
    fn the_environment_reaches_into_mailboxes() {
        let config = load(
            "[mailboxes.my-reports]\nhost = 'imap.example.org'\nuser = 'dmarc'",
            &[
                ("RUAD_MAILBOXES__MY_REPORTS__PASSWORD", "hunter2"),
                ("RUAD_MAILBOXES__MY_REPORTS__PORT", "1143"),
                ("RUAD_DOMAINS", "example.org, example.com"),
            ],
        )
        .unwrap();
        let mailbox = &config.mailboxes["my-reports"];
        assert_eq!((mailbox.port, mailbox.password.reveal()), (1143, "hunter2"));
        assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
        assert_eq!(Vec::from(config.domains), ["example.org", "example.com"]);
    }

    #[test]
    fn the_secret_of_the_openid_client_comes_from_one_place() {
        let file = "[http.oidc]\nissuer = 'https://login.example.org'\nclient_id = 'ruad'\n\
            redirect_url = 'https://dmarc.example.org/api/v1/session/oidc/callback'\n\
            [[http.oidc.grants]]\nclaim = 'groups'\nvalue = 'mail'\nscope = 'read'\ndomains = ['Example.org']";
        let variable = ("RUAD_HTTP__OIDC__CLIENT_SECRET", "hunter2");
        let config = load(file, &[variable]).unwrap();
        assert_eq!(config.http.oidc.client_secret.reveal(), "hunter2");
        assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
        refused(file, &[], "http.oidc.client_secret is missing");
        let twice = ("RUAD_HTTP__OIDC__CLIENT_SECRET_FILE", "hunter3");
        refused(file, &[variable, twice], "not both");
    }

    #[test]
    fn what_is_kept_for_a_time_may_be_kept_as_long_as_its_days() {
        let config = load(
            "[retention]\ndays = 400",
            &[("RUAD_RETENTION__QUARANTINE", "0")],
        );
        let retention = config.unwrap().retention;
        assert_eq!((retention.records, retention.quarantine), (400, 0));
        assert!(load("[retention]\nrecords = 0", &[]).is_ok());
    }

    #[test]
    fn a_service_that_is_called_as_the_program_is_no_mistake() {
        for variable in [
            "RUAD_SERVICE_HOST",
            "RUAD_SERVICE_PORT",
            "RUAD_SERVICE_PORT_HTTP",
            "RUAD_PORT",
            "RUAD_PORT_8080_TCP_ADDR",
        ] {
            let config = load("", &[(variable, "tcp://10.0.0.1:8080")]).unwrap();
            assert_eq!(config.listen, Config::default().listen, "{variable}");
        }
        refused("", &[("RUAD_PORTS", "1")], "RUAD_PORTS");
        refused("", &[("RUAD_SERVICE", "1")], "RUAD_SERVICE");
    }

    #[test]
    fn an_empty_variable_is_an_empty_list() {
        let config = load("", &[("RUAD_DOMAINS", "")]).unwrap();
        assert_eq!(Vec::from(config.domains), [] as [String; 0]);
    }

    #[test]
    fn mistakes_do_not_show_secrets() {
        let mailbox = "[mailboxes.dmarc]\nhost = 'h'\nuser = 'u'\n";
        for secret in ["password = 12345678", "password = \"12345678"] {
            let error = load(&format!("{mailbox}{secret}"), &[]).unwrap_err();
            let error = format!("{error:#}");
            assert!(!error.contains("12345678"), "{error}");
        }
        refused(&format!("{mailbox}password = \"1"), &[], "line 4");
        refused(&format!("{mailbox}password = 1"), &[], "password");
    }

    #[test]
    fn mistakes_are_named() {
        refused("lisen = '127.0.0.1:1'", &[], "lisen");
        refused("[http]\nuploads = 1", &[], "uploads");
        refused("listen = 'nowhere'", &[], "listen");
        refused(
            "",
            &[("RUAD_HTP__UPLOADS_MAX", "1")],
            "RUAD_HTP__UPLOADS_MAX",
        );
        refused("", &[("RUAD_LISTN", "127.0.0.1:1")], "RUAD_LISTN");
        refused("", &[("RUAD_HTTP__UPLOADS_MAX", "many")], "whole number");
        refused("[database]\nwriters = 0", &[], "database.writers");
        refused(
            "[database]\nwriters = 16\nconnections_max = 17",
            &[],
            "connections_max",
        );
        let mailbox = "[mailboxes.dmarc]\nhost = 'h'\nuser = 'u'\npassword = 'p'\n";
        refused("[mailboxes.dmarc]\nuser = 'u'", &[], "mailboxes.dmarc.host");
        refused(&format!("{mailbox}pasword = 'p'"), &[], "pasword");
        refused(&format!("{mailbox}password_file = 'f'"), &[], "not both");
        refused(&mailbox.replace("dmarc", "'D M'"), &[], "mailboxes.D M");
        refused("domains = ['*.example.com']", &[], "domains");
        refused(
            "[retention]\nrecords = 0\ndays = 800",
            &[],
            "retention.records must not be longer than retention.days",
        );
        refused(
            "[retention]\ndays = 399",
            &[],
            "retention.records must not be longer than retention.days",
        );
        refused(
            "[quarantine]\nretention_days = 7",
            &[],
            "called retention.quarantine",
        );
        refused(
            "",
            &[("RUAD_QUARANTINE__RETENTION_DAYS", "7")],
            "called retention.quarantine",
        );
        refused("[directories.spool]", &[], "directories.spool.path");
        refused("[http.tls]\nkey_file = 'key.pem'", &[], "http.tls needs");
        refused("[http.oidc]\nclient_id = 'ruad'", &[], "http.oidc.issuer");
        refused(
            "[[http.oidc.grants]]\nclaim = 'a'\nvalue = 'b'\nscope = 'read'\ndomains = []",
            &[],
            "name a domain",
        );
        refused("[lmtp]\nlisten = '127.0.0.1:1'", &[], "lmtp.recipients");
    }
}
