//! Configuration: one TOML file, then `ZHONGSHU_…` variables, then flags.
//!
//! Every key may stand in each of the three; a key that is not one of ours is an error that says
//! which are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Micros;
use platform::SecondFactor;
use platform::notification::{
    Channel, GatewayConfig, Internal, MailConfig, NotificationConfig, QuietHours, Secret,
};
use serde::Deserialize;

/// Variables that begin like ours and are not configuration.
const NOT_OURS: [&str; 6] = [
    "ZHONGSHU_CONFIG",
    "ZHONGSHU_DATA",
    "ZHONGSHU_MAKE_FIXTURE",
    "ZHONGSHU_PYTHON",
    "ZHONGSHU_TEST_POSTGRES",
    "ZHONGSHU_TEST_SEED",
];

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything lies that is not in PostgreSQL.
    pub data_folder: PathBuf,
    /// `postgres://…`, or the path of an SQLite file; `state.db` in the data folder when absent.
    pub database: Option<String>,
    /// Where pages and API listen.
    pub http: SocketAddr,
    /// Where devices connect.
    pub mqtt: SocketAddr,
    /// The time zone of the city (IANA): days, numbers of cases, times on pages.
    pub time_zone: String,
    /// Durations in processes are divided by this: 60 makes ten minutes ten seconds. Sessions,
    /// silence and the wall clock go on at their own pace.
    pub process_speed: f64,
    /// Cookies only over TLS: on behind a proxy that ends TLS.
    pub secure_cookies: bool,
    /// What is logged: `info`, `debug`, or directives like `info,gateway=debug`.
    pub log: String,
    /// `text` for people, `json` for machines.
    pub log_format: LogFormat,
    /// How many devices may be connected.
    pub mqtt_connections: usize,
    /// Where pages and API listen with TLS besides; needs a certificate.
    pub https: Option<SocketAddr>,
    /// Where devices connect with TLS besides; needs a certificate.
    pub mqtts: Option<SocketAddr>,
    /// The certificate chain (PEM, the hub's own first); read again when the file changes.
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Lets MQTT clients in without credentials: for conformance tests, on loopback only.
    pub mqtt_anonymous: bool,
    /// Lets MQTT clients use any topic, as a plain broker: for conformance tests, on loopback only.
    pub mqtt_open_topics: bool,
    /// Where the table of observations lies: a folder, or `s3://bucket/prefix`; `lake` in the data
    /// folder when absent.
    pub lake: Option<String>,
    /// Options of an object store, as `object_store` names them (`aws_region`, `aws_endpoint`, …).
    #[serde(default)]
    pub lake_options: BTreeMap<String, String>,
    /// How often observations move from the log to the table: `60s`, `PT1M`.
    pub lake_compact_every: String,
    /// How often the files of the table are rearranged: `10m`, `PT10M`.
    pub lake_optimise_every: String,
    /// MiB of the newest observations that are kept in memory for reading.
    pub lake_memory: usize,
    /// The largest file of observations that may be imported, in bytes.
    pub import_largest: u64,
    /// The outside channels to people, the first choice first: `wecom sms voice email`.
    pub notification_channels: String,
    /// For how long a channel may fail before the next one is used: `2m`, `PT2M`.
    pub notification_next_after: String,
    /// When those are left in peace who have not chosen otherwise: `22:00-07:00`, or `none`.
    pub notification_quiet: String,
    /// Where messages by SMS, voice and WeCom are posted; those channels are not served without.
    pub notification_gateway: Option<String>,
    /// What these messages are signed with.
    pub notification_gateway_secret: Option<Secret>,
    /// The server that takes e-mail: `smtps://user:password@host:465`; not served without.
    pub notification_smtp: Option<Secret>,
    /// The sender of e-mail: `中枢 <hub@example.org>`.
    pub notification_from: Option<String>,
    /// Which addresses inside networks of one's own webhooks may reach: `false`, `true`, or prefixes.
    pub notification_internal: String,
    /// Certificates (PEM) that gateway and webhooks are trusted by beside the machine's own.
    pub notification_certificates: Option<PathBuf>,
    /// Where people open the pages, for links in messages: `https://hub.example.org`.
    pub public_url: Option<String>,
    /// Who must have a second factor: `administrators`, `everybody`, or nobody (`optional`).
    pub second_factor: SecondFactor,
    /// The folder of the keys that secrets in the database are encrypted under; `keys` in the data
    /// folder when absent.
    pub keys: Option<PathBuf>,
    /// The folder of the audit's anchors; `anchors` in the data folder when absent.
    pub audit_anchor: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source does not read, or a value is of the wrong kind.
    #[error("read the configuration: {0}")]
    Read(String),
    /// A key is not one of ours.
    #[error("read the configuration: {place}: no key {key:?}; known are {}", KEYS.join(", "))]
    Key {
        /// The file and line, or the variable.
        place: String,
        /// What stands there.
        key: String,
    },
    /// A value cannot be.
    #[error("use the configuration: {key} = {value:?}: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong.
        reason: String,
    },
}

impl From<config::ConfigError> for ConfigError {
    fn from(e: config::ConfigError) -> Self {
        Self::Read(e.to_string())
    }
}

/// Every key, as the fields of [`Config`].
const KEYS: [&str; 35] = [
    "data_folder",
    "database",
    "http",
    "mqtt",
    "time_zone",
    "process_speed",
    "secure_cookies",
    "log",
    "log_format",
    "mqtt_connections",
    "https",
    "mqtts",
    "tls_certificate",
    "tls_key",
    "mqtt_anonymous",
    "mqtt_open_topics",
    "lake",
    "lake_options",
    "lake_compact_every",
    "lake_optimise_every",
    "lake_memory",
    "import_largest",
    "notification_channels",
    "notification_next_after",
    "notification_quiet",
    "notification_gateway",
    "notification_gateway_secret",
    "notification_smtp",
    "notification_from",
    "notification_internal",
    "notification_certificates",
    "public_url",
    "second_factor",
    "keys",
    "audit_anchor",
];

/// A key that is not one of ours is more often misspelt than meant for somebody else.
fn check_keys(file: Option<&Path>, variables: &[(String, String)]) -> Result<(), ConfigError> {
    for (name, _) in variables {
        let key = name.trim_start_matches("ZHONGSHU_").to_lowercase();
        if !KEYS.contains(&key.as_str()) {
            return Err(ConfigError::Key { place: format!("variable {name}"), key });
        }
    }
    let Some(file) = file else { return Ok(()) };
    let text = std::fs::read_to_string(file)
        .map_err(|e| ConfigError::Read(format!("the file {} does not read: {e}", file.display())))?;
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| ConfigError::Read(format!("{}: {e}", file.display())))?;
    match table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let line =
                text.lines().position(|l| l.trim_start().trim_start_matches('[').starts_with(key.as_str()));
            let line = line.map(|l| format!(":{}", l + 1)).unwrap_or_default();
            Err(ConfigError::Key { place: format!("{}{line}", file.display()), key: key.clone() })
        }
    }
}

impl Config {
    /// Reads file (when given, it must be there), variables and flags, later ones winning.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and what is wrong with it.
    pub fn read(file: Option<&Path>, flags: &[(&str, Option<String>)]) -> Result<Self, ConfigError> {
        Self::from_sources(file, std::env::vars().collect(), flags)
    }

    /// The same with the variables given: tests do not listen to the environment they run in.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and what is wrong with it.
    pub fn from_sources(
        file: Option<&Path>,
        variables: Vec<(String, String)>,
        flags: &[(&str, Option<String>)],
    ) -> Result<Self, ConfigError> {
        let variables: Vec<(String, String)> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("ZHONGSHU_") && !NOT_OURS.contains(&name.as_str()))
            .collect();
        check_keys(file, &variables)?;
        let mut builder = config::Config::builder()
            .set_default("data_folder", "./zhongshu-data")?
            .set_default("http", "127.0.0.1:8080")?
            .set_default("mqtt", "127.0.0.1:1883")?
            .set_default("time_zone", "Asia/Shanghai")?
            .set_default("process_speed", 1.0)?
            .set_default("secure_cookies", false)?
            .set_default("log", "info")?
            .set_default("log_format", "text")?
            .set_default("mqtt_connections", 10_000)?
            .set_default("mqtt_anonymous", false)?
            .set_default("mqtt_open_topics", false)?
            .set_default("lake_compact_every", "60s")?
            .set_default("lake_optimise_every", "10m")?
            .set_default("lake_memory", 256)?
            .set_default("notification_channels", "wecom sms voice email")?
            .set_default("notification_next_after", "2m")?
            .set_default("notification_quiet", QuietHours::default().to_string())?
            .set_default("notification_internal", "false")?
            .set_default("import_largest", watch::bulk::BulkConfig::LARGEST)?
            .set_default("second_factor", "administrators")?;
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        builder = builder.add_source(
            config::Environment::with_prefix("ZHONGSHU").source(Some(variables.into_iter().collect())),
        );
        for (key, value) in flags {
            builder = builder.set_override_option(*key, value.clone())?;
        }
        let config: Self = builder.build()?.try_deserialize()?;
        config.time_zone()?;
        if !(0.001..=100_000.0).contains(&config.process_speed) {
            return Err(ConfigError::Value {
                key: "process_speed",
                value: config.process_speed.to_string(),
                reason: "must lie between 0.001 and 100000".into(),
            });
        }
        config.lake_paces()?;
        config.notification()?;
        if (config.https.is_some() || config.mqtts.is_some())
            && (config.tls_certificate.is_none() || config.tls_key.is_none())
        {
            return Err(ConfigError::Value {
                key: "https, mqtts",
                value: "set".into(),
                reason: "TLS needs tls_certificate and tls_key".into(),
            });
        }
        if (config.mqtt_anonymous || config.mqtt_open_topics) && !config.is_loopback() {
            return Err(ConfigError::Value {
                key: "mqtt_anonymous, mqtt_open_topics",
                value: "true".into(),
                reason: "they are for conformance tests: every address must be one of loopback".into(),
            });
        }
        Ok(config)
    }

    /// How often observations move from the log to the table, and how often its files are
    /// rearranged.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for what is no duration between a second and a day.
    pub fn lake_paces(&self) -> Result<[Duration; 2], ConfigError> {
        let pace = |key: &'static str, text: &String| {
            let wrong = |reason: String| ConfigError::Value { key, value: text.clone(), reason };
            let every: jiff::SignedDuration = text.parse().map_err(|e: jiff::Error| wrong(e.to_string()))?;
            Duration::try_from(every)
                .ok()
                .filter(|d| (1..=86_400).contains(&d.as_secs()))
                .ok_or_else(|| wrong("must lie between one second and one day".into()))
        };
        Ok([
            pace("lake_compact_every", &self.lake_compact_every)?,
            pace("lake_optimise_every", &self.lake_optimise_every)?,
        ])
    }

    /// How people and systems are told.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the key.
    pub fn notification(&self) -> Result<NotificationConfig, ConfigError> {
        let wrong = |key: &'static str, value: &str| {
            let value = value.to_owned();
            move |reason: String| ConfigError::Value { key, value, reason }
        };
        let order = Channel::order(&self.notification_channels)
            .map_err(wrong("notification_channels", &self.notification_channels))?;
        let text = &self.notification_next_after;
        let refuse = wrong("notification_next_after", text);
        let next_after = match text.parse::<jiff::SignedDuration>() {
            Ok(after) if (1..=86_400).contains(&after.as_secs()) => after.as_secs() * Micros::SECOND,
            Ok(_) => return Err(refuse("must lie between one second and one day".into())),
            Err(e) => return Err(refuse(e.to_string())),
        };
        let quiet = QuietHours::parse(&self.notification_quiet)
            .map_err(wrong("notification_quiet", &self.notification_quiet))?;
        let gateway = match (&self.notification_gateway, &self.notification_gateway_secret) {
            (None, None) => None,
            (Some(url), Some(secret)) => Some(GatewayConfig { url: url.clone(), secret: secret.clone() }),
            _ => {
                let refuse = wrong("notification_gateway, notification_gateway_secret", "one of them");
                return Err(refuse("a gateway needs both".into()));
            }
        };
        let mail = match (&self.notification_smtp, &self.notification_from) {
            (None, None) => None,
            (Some(url), Some(from)) => Some(MailConfig { url: url.clone(), from: from.clone() }),
            _ => {
                let refuse = wrong("notification_smtp, notification_from", "one of them");
                return Err(refuse("e-mail needs both".into()));
            }
        };
        let internal = Internal::parse(&self.notification_internal)
            .map_err(wrong("notification_internal", &self.notification_internal))?;
        let certificates = match &self.notification_certificates {
            None => Vec::new(),
            Some(file) => std::fs::read(file).map_err(|e| {
                wrong("notification_certificates", &file.display().to_string())(format!("does not read: {e}"))
            })?,
        };
        let public_url = self.public_url.clone();
        if let Some(url) =
            public_url.as_ref().filter(|u| !u.starts_with("https://") && !u.starts_with("http://"))
        {
            return Err(wrong("public_url", url)("must begin with https:// or http://".into()));
        }
        Ok(NotificationConfig { order, next_after, quiet, gateway, mail, internal, certificates, public_url })
    }

    /// The city's time zone.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown one.
    pub fn time_zone(&self) -> Result<jiff::tz::TimeZone, ConfigError> {
        jiff::tz::TimeZone::get(&self.time_zone).map_err(|e| ConfigError::Value {
            key: "time_zone",
            value: self.time_zone.clone(),
            reason: e.to_string(),
        })
    }

    /// Which database.
    #[must_use]
    pub fn backend(&self) -> store::Backend {
        match &self.database {
            Some(database) => store::Backend::parse(database),
            None => store::Backend::Sqlite { path: self.data_folder.join("state.db") },
        }
    }

    /// The folder of the keys that secrets in the database are encrypted under.
    #[must_use]
    pub fn key_folder(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.data_folder.join("keys"))
    }

    /// The folder of the audit's anchors.
    #[must_use]
    pub fn anchor_folder(&self) -> PathBuf {
        self.audit_anchor.clone().unwrap_or_else(|| self.data_folder.join("anchors"))
    }

    /// Whether every address is one that only this machine reaches.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let addresses = [Some(self.http), Some(self.mqtt), self.https, self.mqtts];
        addresses.into_iter().flatten().all(|a| a.ip().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sources_win_and_wrong_keys_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("zhongshu.toml");
        std::fs::write(&file, "http = \"127.0.0.1:1\"\nmqtt = \"127.0.0.1:2\"\nlog = \"debug\"\n").unwrap();
        let vars = vec![
            ("ZHONGSHU_MQTT".into(), "127.0.0.1:3".into()),
            ("ZHONGSHU_LOG".into(), "warn".into()),
            ("ZHONGSHU_DATA".into(), "ours in tests only".into()),
            ("ZHONGSHU_PROCESS_SPEED".into(), "60".into()),
        ];
        let config =
            Config::from_sources(Some(&file), vars, &[("log", Some("trace".into())), ("http", None)])
                .unwrap();
        assert_eq!((config.http.port(), config.mqtt.port(), config.log.as_str()), (1, 3, "trace"));
        assert!((config.process_speed - 60.0).abs() < f64::EPSILON);

        for (toml, vars, expected) in [
            ("http = \"127.0.0.1:1\"\nhtpp = 1", vec![], "zhongshu.toml:2: no key \"htpp\""),
            ("http = ", vec![], "zhongshu.toml"),
            ("http = \"nonsense\"", vec![], "http"),
            ("time_zone = \"Mars/Olympus\"", vec![], "time_zone"),
            ("process_speed = -1", vec![], "process_speed"),
            ("log_format = \"xml\"", vec![], "log_format"),
            ("second_factor = \"perhaps\"", vec![], "second_factor"),
            ("https = \"127.0.0.1:1\"", vec![], "tls_certificate"),
            ("mqtt_anonymous = true\nhttp = \"0.0.0.0:1\"", vec![], "loopback"),
            ("lake_compact_every = \"0s\"", vec![], "lake_compact_every"),
            ("notification_channels = \"sms fax\"", vec![], "notification_channels"),
            ("notification_next_after = \"0s\"", vec![], "notification_next_after"),
            ("notification_quiet = \"night\"", vec![], "notification_quiet"),
            ("notification_gateway = \"https://a.b/\"", vec![], "needs both"),
            ("notification_from = \"a@b.c\"", vec![], "needs both"),
            ("notification_internal = \"10.0.0.0\"", vec![], "notification_internal"),
            ("notification_certificates = \"/nowhere\"", vec![], "notification_certificates"),
            ("public_url = \"hub\"", vec![], "public_url"),
            ("", vec![("ZHONGSHU_HTPP".to_owned(), "1".to_owned())], "variable ZHONGSHU_HTPP"),
        ] {
            std::fs::write(&file, toml).unwrap();
            let error = Config::from_sources(Some(&file), vars, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{toml}: {error}");
        }
        // The list of keys is the list of fields.
        let fields = toml::from_str::<Config>("strange = 1").unwrap_err().to_string();
        assert!(fields.contains(&KEYS.map(|k| format!("`{k}`")).join(", ")), "{fields}");
        assert!(Config::from_sources(Some(Path::new("/nowhere.toml")), vec![], &[]).is_err());
    }
}
