//! How devices come by their tokens: registered over HTTP, or read from a file.

use std::collections::HashMap;

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};

use crate::api::Api;
use crate::device::{id_of, tags_of};

/// Devices that are registered at the same time.
const AT_ONCE: usize = 16;

/// Registers the first `devices` devices with their tags. Answers the tokens that are told: a device that was
/// registered before gets none.
pub(crate) async fn register(api: &Api, devices: usize) -> anyhow::Result<HashMap<String, String>> {
    let tokens: Vec<Option<(String, String)>> = futures::stream::iter(0..devices)
        .map(|index| async move {
            let id = id_of(index);
            let token = api
                .register(&id, &tags_of(index))
                .await
                .with_context(|| format!("register the device {id}"))?;
            anyhow::Ok(token.map(|token| (id, token)))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(tokens.into_iter().flatten().collect())
}

/// Reads tokens: a line each, id and token separated by a space.
pub(super) fn read_tokens(text: &str) -> anyhow::Result<HashMap<String, String>> {
    let mut tokens = HashMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(id), Some(token), None) => tokens.insert(id.to_owned(), token.to_owned()),
            // The line itself isn't shown: there is a secret in it.
            _ => bail!("line {number} of the tokens isn't an id and a token"),
        };
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::read_tokens;

    #[test]
    fn tokens_are_read_and_errors_keep_them_secret() {
        let tokens = read_tokens("door-1 abc\n\ndoor-2  def\n").unwrap_or_default();
        assert_eq!(tokens.get("door-2").map(String::as_str), Some("def"));
        let error = read_tokens("door-1 abc def\n").err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("line 1") && !error.contains("abc")));
    }
}
