//! Builds the index anew from the source.
//!
//! The watermark is noted first, then all twins are read: each is at least as new as that position, and what
//! follows it in the feed is applied afterwards. A complete index answers until the new one is; an empty one
//! shows what there is so far, and stays at position 0.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::follow::{Follower, blocking};
use crate::generation::Generation;

/// Twins that are read at a time.
const PAGE_TWINS: usize = 2_000;
/// How often an index that is built from nothing shows what it has.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

impl Follower {
    /// A new generation in the place of this one; none when stopped.
    pub(crate) async fn rebuild(&self, old: Generation) -> anyhow::Result<Option<Generation>> {
        let position = self.source.watermark();
        info!(%position, "the index is built anew");
        let started = Instant::now();
        let nothing_yet = old.position().is_none();
        let replaced = (!nothing_yet).then(|| old.path().to_owned());
        let mut new = if nothing_yet {
            old
        } else {
            let shelf = self.shelf.clone();
            blocking(move || {
                drop(old);
                shelf.create()
            })
            .await?
        };

        let (mut count, mut after, mut shown) = (0, None, Instant::now());
        loop {
            let Some(page) = self.ask("scan twins", || self.source.scan(after.clone(), PAGE_TWINS)).await
            else {
                return blocking(move || {
                    drop(new);
                    Ok(None)
                })
                .await;
            };
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            count += page.len();
            let show = nothing_yet && shown.elapsed() >= SHOW_INTERVAL;
            new = blocking(move || {
                let page: Vec<_> = page.into_iter().map(|(key, twin)| (key, Some(twin))).collect();
                new.write(page.iter().map(|(key, twin)| (key, twin)))?;
                if show {
                    new.commit(None)?;
                }
                Ok(new)
            })
            .await?;
            if show {
                self.search.show(new.view(self.search.position()));
                shown = Instant::now();
            }
        }

        let new = blocking(move || {
            new.commit(Some(position))?;
            Ok(new)
        })
        .await?;
        self.search.show(new.view(position));
        if let Some(path) = replaced {
            self.shelf.remove(&path);
        }
        info!(%position, twins = count, seconds = started.elapsed().as_secs_f64(), "the index is built");
        Ok(Some(new))
    }
}
