//! The configuration: one TOML file, any key of which the environment may override.

use std::{
    ffi::OsString,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use crate::{database, log};

/// Variables of the environment that begin like keys and are none.
const OTHER_VARIABLES: [&str; 3] = ["RUAD_CONFIG", "RUAD_CORPUS", "RUAD_REQUIRE_CITUS"];

/// Everything that can be set. `config/ruad.toml` describes each key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The folder of the private database.
    pub data: PathBuf,
    /// The log.
    pub log: log::Config,
    /// The database.
    pub database: database::Config,
    /// The API.
    pub http: api::Config,
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
            log: log::Config::default(),
            database: database::Config::default(),
            http: api::Config::default(),
            quarantine: Quarantine::default(),
            limits: report::Limits::default(),
        }
    }
}

/// How long the bytes of deliveries are kept of which something was not stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// Days.
    pub retention_days: u32,
    /// Bytes of all together; the oldest go first.
    pub bytes_max: u64,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            retention_days: 30,
            bytes_max: 1024 * 1024 * 1024,
        }
    }
}

/// A text that is never shown.
#[derive(Clone, Deserialize, Default, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "[redacted]" })
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
                toml::from_str::<Table>(&text)
                    .map_err(|error| anyhow!("config file {}: {error}", file.display()))?
            }
            None => Table::new(),
        };
        let known = Table::try_from(Self::default()).context("the default config")?;
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
            let text = fs::read_to_string(file)
                .with_context(|| format!("reading database.url_file {}", file.display()))?;
            self.database.url = Secret::from(text.trim());
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
            (
                "quarantine.retention_days",
                self.quarantine.retention_days.into(),
            ),
        ] {
            if value == 0 {
                bail!("config: {key} must not be 0");
            }
        }
        if self.database.connections_max as usize <= self.database.writers {
            bail!("config: database.connections_max must be greater than database.writers");
        }
        Ok(self)
    }
}

/// `DATABASE_URL` is `database.url`; `RUAD_HTTP__UPLOADS_MAX` is `http.uploads_max`.
fn override_key(table: &mut Table, known: &Table, variable: &str, value: &str) -> Result<()> {
    let path: Vec<String> = match variable.strip_prefix("RUAD_") {
        Some(key) if !OTHER_VARIABLES.contains(&variable) => {
            key.split("__").map(str::to_ascii_lowercase).collect()
        }
        None if variable == "DATABASE_URL" => vec!["database".into(), "url".into()],
        Some(_) | None => return Ok(()),
    };
    let Some((key, sections)) = path.split_last() else {
        return Ok(());
    };
    let (mut place, mut known) = (table, known);
    for section in sections {
        known = known
            .get(section)
            .and_then(Value::as_table)
            .with_context(|| format!("environment variable {variable}: no such key"))?;
        place = place
            .entry(section.clone())
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
        // Keys without a default are texts.
        None if key == "url_file" || key == "bin_dir" => Value::String(value.into()),
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
                    if setting
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
        let database = described["database"].as_table_mut().unwrap();
        for key in ["url_file", "bin_dir"] {
            assert!(
                database.remove(key).is_some(),
                "database.{key} has no default and must be described"
            );
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
        assert!(!toml::to_string(&config).unwrap().contains("secret"));
        assert!(!format!("{config:?}").contains("secret"));
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
            "[database]\nwriters = 16\nconnections_max = 16",
            &[],
            "connections_max",
        );
    }
}
