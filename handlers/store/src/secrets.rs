//! What the installation signs with: random, made once, never shown.

use crate::store::deadline;
use crate::{Store, StoreError};

impl Store {
    /// The secret of this name, made now if there is none.
    ///
    /// # Errors
    /// When the database can't be used, or what is there isn't of this length.
    pub async fn secret(&self, name: &str) -> Result<[u8; 32], StoreError> {
        let new: [u8; 32] = rand::random();
        let made = sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        deadline(made.bind(name).bind(new.as_slice()).execute(&self.pool)).await?;
        let kept = sqlx::query_scalar("SELECT value FROM secrets WHERE name = $1").bind(name);
        let value: Vec<u8> = deadline(kept.fetch_one(&self.pool)).await?;
        value.try_into().map_err(|_| StoreError::Corrupt(format!("the secret {name} isn't one of ours")))
    }
}
