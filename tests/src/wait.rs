//! Waits for a condition, never for a time.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a condition may take where nothing says otherwise: long, because machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a look gives something.
///
/// # Errors
/// After [`PATIENCE`]; says what was waited for.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => Ok(found),
        Err(_) => bail!("waited {} s in vain: {what}", PATIENCE.as_secs()),
    }
}
