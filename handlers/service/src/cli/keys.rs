//! `statecast key`: API keys, straight in the database, because the first one can't come over HTTP.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use statecast_state::TenantId;
use uuid::Uuid;

use super::say;
use crate::access;
use crate::app::Database;
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Key {
    /// Make a key and print it, this once
    Create {
        /// What it is for
        name: String,
        /// Whose devices it sees
        #[arg(long, default_value = "default")]
        tenant: String,
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
        Key::Create { name, tenant } => {
            let key = format!("sc_{}", access::new_token());
            store.create_key(&TenantId::parse(tenant)?, name, &access::hash(key.as_bytes())).await?;
            say(&key)
        }
        Key::List { tenant } => {
            for key in store.keys(&TenantId::parse(tenant)?).await? {
                say(&format!("{}  {}  {}", key.id, key.created_at, key.name))?;
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
