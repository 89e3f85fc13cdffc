//! A query under a name, kept so that people needn't write it again and see how many devices it finds.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::{Query, QueryError};

/// Longest name of a saved query, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// A saved query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedQuery {
    /// Which one, within its tenant.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// The query as it was written.
    pub query: String,
}

/// What is sent to save a query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedQueryForm {
    /// See [`SavedQuery::name`].
    pub name: String,
    /// See [`SavedQuery::query`].
    pub query: String,
}

/// Why a query can't be saved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SaveError {
    /// It isn't one.
    #[error("query: {0}")]
    Query(#[from] QueryError),
    /// Its name is empty or too long.
    #[error("name must be 1 to {NAME_BYTES_MAX} bytes long, not {0}")]
    Name(usize),
}

impl SavedQueryForm {
    /// The saved query with this id.
    ///
    /// # Errors
    /// `SaveError`, for the first thing that is wrong.
    pub fn checked(self, id: Uuid) -> Result<SavedQuery, SaveError> {
        let Self { name, query } = self;
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(SaveError::Name(name.len()));
        }
        Query::parse(&query)?;
        Ok(SavedQuery { id, name, query })
    }
}
