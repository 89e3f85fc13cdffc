//! Configuration: the command line over the environment over a TOML file over the defaults.
//!
//! `http.listen` is `STATECAST__HTTP__LISTEN` in the environment. An unknown key is an error that names its
//! line and the nearest key that exists. [`mqtt`] and [`tls`] have the settings of the MQTT side,
//! [`push`] those of telling people.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

mod mqtt;
mod push;
mod tls;

pub use self::mqtt::Mqtt;
pub use self::push::Push;
pub use self::tls::MqttTls;
use crate::access::passwords;

/// What the names of our environment variables begin with.
const PREFIX: &str = "STATECAST__";

/// Everything that can be set. Every key has a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the private database and the search index live.
    pub data_dir: PathBuf,
    /// For trying things out, on loopback only: unknown devices are registered at their first message, any client
    /// may act for any device, HTTP needs no key, and webhooks may go to private addresses.
    pub dev: bool,
    /// The MQTT side.
    pub mqtt: Mqtt,
    /// The HTTP side.
    pub http: Http,
    /// How the passwords of devices are hashed.
    pub passwords: passwords::Settings,
    /// PostgreSQL.
    pub database: Database,
    /// Limits of what devices and people send.
    pub limits: Limits,
    /// Whether devices are online.
    pub presence: Presence,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// Telling people.
    pub push: Push,
    /// The search index.
    pub search: Search,
}

/// The HTTP side.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address for the API and the console.
    pub listen: SocketAddr,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
}

/// PostgreSQL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://…`; empty for a private server in the data directory.
    pub url: String,
    /// Connections for reads.
    pub connections_max: u32,
    /// Bring the schema up to date at start.
    pub migrate: bool,
}

/// Limits of what devices and people send.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest document of a twin (`reported`, `desired`, `tags` each), in bytes.
    pub twin_bytes_max: usize,
    /// Deepest nesting of a document.
    pub depth_max: usize,
    /// Requests for desired state of one device whose outcome is still to come.
    pub requests_per_device_max: usize,
}

/// Whether devices are online.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Presence {
    /// How long devices have to come back after a restart before they count as offline, in seconds.
    pub grace_s: u32,
}

/// What is kept, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days of history; 0 keeps all of it.
    pub history_days: u32,
    /// Bytes of dead letters; the oldest go first.
    pub dead_letter_bytes_max: u64,
    /// Days for which it can be told what became of a notification, or of a request for desired state.
    pub delivery_days: u32,
}

/// The search index.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// How much of the time, in percent, may go into comparing the index with the table while there are changes; 0
    /// for never.
    pub check_percent: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "statecast-data".into(),
            dev: false,
            mqtt: Mqtt::default(),
            http: Http::default(),
            passwords: passwords::Settings::default(),
            database: Database::default(),
            limits: Limits::default(),
            presence: Presence::default(),
            retention: Retention::default(),
            push: Push::default(),
            search: Search::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 8080).into(), body_bytes_max: 1024 * 1024 }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: String::new(), connections_max: 8, migrate: true }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self { check_percent: 2 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { twin_bytes_max: 64 * 1024, depth_max: 8, requests_per_device_max: 16 }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self { grace_s: 90 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { history_days: 0, dead_letter_bytes_max: 64 * 1024 * 1024, delivery_days: 30 }
    }
}

impl Config {
    /// Puts the layers together. `over` is what the command line says, by dotted key.
    ///
    /// # Errors
    /// A sentence that names the file and line, or the variable, and the nearest key.
    pub fn load(file: Option<&Path>, env: &[(String, String)], over: &[(&str, Value)]) -> Result<Self> {
        let mut table = Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            // By itself first, because only here an error knows its line.
            if let Err(error) = toml::from_str::<Self>(&text) {
                bail!("{}", explain(&error, &path.display().to_string(), Some(&text)));
            }
            table = text.parse()?;
        }
        for (name, text) in env {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let key = key.to_lowercase().replace("__", ".");
            set(&mut table, &key, scalar(text));
            if let Err(error) = table.clone().try_into::<Self>() {
                bail!("{}", explain(&error, &format!("the environment variable {name}"), None));
            }
        }
        for (key, value) in over {
            set(&mut table, key, value.clone());
        }
        let config: Self = table.try_into()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        self.passwords.hasher()?;
        let tls = self.mqtt.tls.as_ref();
        let listens = [("mqtt.listen", self.mqtt.listen), ("http.listen", self.http.listen)];
        for (key, address) in listens.into_iter().chain(tls.map(|tls| ("mqtt.tls.listen", tls.listen))) {
            if self.dev && !address.ip().is_loopback() {
                bail!(
                    "{key} is {address}: with --dev anyone may do anything, so it only listens on loopback"
                );
            }
        }
        self.mqtt.check()?;
        self.push.check()
    }
}

/// Numbers and booleans as such, anything else as text.
fn scalar(text: &str) -> Value {
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean)
}

/// Puts a value in its place, making the tables on the way.
fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => set(inner, rest, value),
                other => *other = value,
            }
        }
    }
}

/// What is wrong, where, and what was perhaps meant.
fn explain(error: &toml::de::Error, place: &str, text: Option<&str>) -> String {
    let mut out = place.to_owned();
    if let (Some(text), Some(span)) = (text, error.span()) {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        out.push_str(&format!(", line {line}"));
    }
    out.push_str(": ");
    out.push_str(error.message());
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    if let (true, Some(unknown)) = (error.message().starts_with("unknown field"), quoted.next()) {
        let nearest = quoted
            .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
        if let Some(nearest) = nearest {
            out.push_str(&format!("; did you mean `{nearest}`?"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn layers_in_order() {
        let file = file("[http]\nlisten = \"127.0.0.1:1\"\nbody_bytes_max = 5\n");
        let env = [("STATECAST__HTTP__LISTEN".to_owned(), "127.0.0.1:2".to_owned())];
        let config = Config::load(Some(file.path()), &env, &[]).unwrap();
        assert_eq!((config.http.listen.port(), config.http.body_bytes_max), (2, 5));
        let over = [("http.listen", Value::String("127.0.0.1:3".into()))];
        let config = Config::load(Some(file.path()), &env, &over).unwrap();
        assert_eq!(config.http.listen.port(), 3);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest() {
        let file = file("dev = true\n\n[http]\nlissen = \"127.0.0.1:1\"\n");
        let error = Config::load(Some(file.path()), &[], &[]).unwrap_err().to_string();
        assert!(error.contains("line 4") && error.contains("did you mean `listen`?"), "{error}");
        let env = [("STATECAST__MQTT__LISTN".to_owned(), "127.0.0.1:2".to_owned())];
        let error = Config::load(None, &env, &[]).unwrap_err().to_string();
        assert!(error.contains("STATECAST__MQTT__LISTN") && error.contains("`listen`"), "{error}");
    }

    #[test]
    fn tls_needs_its_files() {
        let problem = |text: &str| Config::load(Some(file(text).path()), &[], &[]).unwrap_err().to_string();
        assert!(problem("[mqtt.tls]\ncertificate = \"a.pem\"\n").contains("mqtt.tls.key"));
        let nobody_signs =
            "[mqtt.tls]\ncertificate = \"a\"\nkey = \"b\"\nrequire_client_certificate = true\n";
        assert!(problem(nobody_signs).contains("mqtt.tls.client_ca"));
        let elsewhere =
            "dev = true\n[mqtt.tls]\ncertificate = \"a\"\nkey = \"b\"\nlisten = \"0.0.0.0:8883\"\n";
        assert!(problem(elsewhere).contains("loopback"));
    }

    #[test]
    fn dev_stays_on_loopback() {
        let over = [("dev", Value::Boolean(true)), ("mqtt.listen", Value::String("0.0.0.0:1883".into()))];
        assert!(Config::load(None, &[], &over).unwrap_err().to_string().contains("loopback"));
    }
}
