//! `statecast key`: API keys, straight in the database, because the first one can't come over HTTP. A service that
//! runs on it is told by the database.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use statecast_state::{TenantId, Timestamp};
use statecast_store::NewKey;
use uuid::Uuid;

use super::say;
use crate::access::policies::absent;
use crate::access::policy::built_in;
use crate::access::{Scope, hash, new_key};
use crate::app::Database;
use crate::config::Config;

/// Microseconds of a day.
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

#[derive(Subcommand)]
pub(super) enum Key {
    /// Make a key and print it, this once
    Create {
        /// What it is for
        name: String,
        /// Whose devices it sees
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What it is good for, more than once or with commas
        #[arg(long = "scope", value_delimiter = ',', default_value = "admin")]
        scopes: Vec<Scope>,
        /// The policy that says what it may do over MQTT [default: apps]
        #[arg(long)]
        policy: Option<String>,
        /// Whose app gets it, with the scope `receive`
        #[arg(long)]
        person: Option<String>,
        /// From when on it is worthless: in so many days (`30d`), or a time (RFC 3339) [default: never]
        #[arg(long, value_name = "WHEN", value_parser = parse_end)]
        expires: Option<Timestamp>,
    },
    /// List keys, without their secrets
    List {
        /// Whose
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// Make a key worthless
    Revoke {
        /// Which, as `list` shows it
        id: Uuid,
        /// Whose
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

fn parse_end(text: &str) -> Result<Timestamp, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok());
    let end = match days {
        Some(days) => Some(Timestamp::from(SystemTime::now()).plus_micros(i64::from(days) * DAY_US)),
        None => Timestamp::parse(text),
    };
    end.ok_or_else(|| "a number of days such as 30d, or a time such as 2027-01-31T12:00:00Z".to_owned())
}

pub(super) async fn run(command: &Key, config: &Config) -> Result<()> {
    let database = Database::open(config).await?;
    let outcome = with(command, &database).await;
    database.close().await?;
    outcome
}

async fn with(command: &Key, database: &Database) -> Result<()> {
    let store = &database.store;
    store.migrate().await.context("bring the schema up to date")?;
    match command {
        Key::Create { name, tenant, scopes, policy, person, expires } => {
            let (key, tenant) = (new_key(), TenantId::parse(tenant)?);
            if let Some(policy) = policy
                && !built_in(&mut absent(&tenant, policy))
                && store.policy(&tenant, policy).await?.is_none()
            {
                bail!("no policy {policy}");
            }
            if scopes.contains(&Scope::Receive) != person.is_some() {
                bail!("the scope `receive` and --person belong together");
            }
            if let Some(person) = person
                && store.person(&tenant, person).await?.is_none()
            {
                bail!("no person {person}");
            }
            let scopes = scopes.iter().map(|scope| scope.name().to_owned()).collect();
            let (name, policy, person) = (name.clone(), policy.clone(), person.clone());
            let new = NewKey { name, scopes, policy, person, expires_at: *expires };
            store.create_key(&tenant, &new, &hash(key.as_bytes())).await?;
            say(&key)
        }
        Key::List { tenant } => {
            for key in store.keys(&TenantId::parse(tenant)?).await? {
                let expires = key.expires_at.map(|at| format!("  until {at}")).unwrap_or_default();
                let scopes = key.scopes.join(",");
                say(&format!("{}  {}  {}  {scopes}{expires}", key.id, key.created_at, key.name))?;
            }
            Ok(())
        }
        Key::Revoke { id, tenant } => {
            if !store.revoke_key(&TenantId::parse(tenant)?, *id).await? {
                bail!("no key {id}");
            }
            say("revoked")
        }
    }
}
