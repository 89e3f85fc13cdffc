//! What can go wrong with a read or a small write.

use std::time::Duration;

use thiserror::Error;

/// Why a call to the store failed. Batches of changes never fail like this: see [`crate::Writer`].
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database can't be reached, or has no time for us: worth trying again.
    #[error("the database can't be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The database didn't answer in time: worth trying again.
    #[error("the database didn't answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The database refused the statement.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// A row doesn't hold what it should; somebody else wrote to the database.
    #[error("the database holds something that Statecast didn't write: {0}")]
    Corrupt(String),
    /// The tables couldn't be made, or are of a newer version of Statecast.
    #[error("the tables can't be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Slow(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // 08 connection, 53 out of resources, 57 operator intervention (shutdown, timeouts).
            sqlx::Error::Database(answer) => match class(answer.as_ref()) {
                "08" | "53" | "57" => Self::Unreachable(error),
                _ => Self::Refused(error),
            },
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Self::Corrupt(error.to_string()),
            sqlx::Error::Encode(_) | sqlx::Error::Configuration(_) => Self::Refused(error),
            _ => Self::Unreachable(error),
        }
    }
}

/// The first two characters of the SQLSTATE, empty when there is none.
fn class(answer: &dyn sqlx::error::DatabaseError) -> &'static str {
    let code = answer.code().unwrap_or_default();
    ["08", "22", "53", "57"].into_iter().find(|class| code.starts_with(class)).unwrap_or_default()
}

/// What is wrong with the row itself, if it is the row (class 22, or what can't even be encoded): trying again
/// doesn't help.
pub(crate) fn poison(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(answer) if class(answer.as_ref()) == "22" => Some(answer.message().to_owned()),
        sqlx::Error::Encode(why) => Some(why.to_string()),
        _ => None,
    }
}
