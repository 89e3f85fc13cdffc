//! Receivers of webhooks: they check signatures, tell repeats, and fail when told to.
//!
//! `POST` to any path is a webhook. `GET /received` lists what came, newest first, with how often each id
//! came. `POST /fail {"status":503,"times":3,"retry_after_s":2,"delay_ms":0}` makes the next ones fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::terminal::{say, stop_signals};

mod book;
mod faults;
mod hook;

pub(crate) use hook::Receiver;

use faults::Faults;

/// How often the command says what came.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What `receivers` is told.
#[derive(clap::Args)]
pub(crate) struct ReceiversArguments {
    /// Where webhooks are received.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// A secret that signatures are checked with (`whsec_...`); more than one may be given.
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Answers with this status instead of 204.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    fail: Option<u16>,
    /// How many webhooks fail; all when it isn't given.
    #[arg(long, value_name = "N", requires = "fail")]
    times: Option<u64>,
    /// Sends this Retry-After, in seconds, with each failure.
    #[arg(long, value_name = "SECONDS", requires = "fail")]
    retry_after: Option<u64>,
    /// Waits this long before each answer.
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    slow: Option<Duration>,
}

/// Receives until Ctrl-C; says every few seconds what came.
pub(crate) async fn command(arguments: ReceiversArguments) -> anyhow::Result<bool> {
    let receiver = Receiver::new();
    for secret in &arguments.secret {
        receiver.trust(secret)?;
    }
    if arguments.fail.is_some() || arguments.slow.is_some() {
        receiver.fail(Faults {
            status: arguments.fail,
            times: arguments.times,
            retry_after_s: arguments.retry_after,
            delay_ms: arguments.slow.map_or(0, |slow| u64::try_from(slow.as_millis()).unwrap_or(u64::MAX)),
        });
    }
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listen on {}", arguments.listen))?;
    say(&format!("receiving webhooks on http://{}; GET /received lists them", listener.local_addr()?));
    let (stop, _) = stop_signals()?;
    let serving = tokio::spawn(serve(listener, Arc::clone(&receiver), stop.clone()));
    let mut told = 0;
    while stop.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_some() {
        let summary = receiver.summary();
        if summary.total != told {
            told = summary.total;
            say(&summary.line());
        }
    }
    serving.await.context("receive webhooks")??;
    say(&receiver.summary().line());
    Ok(true)
}

/// Serves webhooks on a listener until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    receiver: Arc<Receiver>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let app = hook::router(receiver);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.context("serve webhooks")
}
