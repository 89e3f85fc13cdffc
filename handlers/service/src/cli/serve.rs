//! `statecast serve`: the service, until it is told to stop.

use anyhow::Result;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use toml::Value;
use tracing::{error, info};

use super::say;
use crate::app::Application;
use crate::config::Config;

/// Run the service.
#[derive(Args)]
pub(super) struct Serve {
    /// For trying things out, on loopback only: any client may act for any device, HTTP needs no key
    #[arg(long)]
    dev: bool,
    /// Address for MQTT [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<String>,
    /// Address for HTTP [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
}

impl Serve {
    /// What the command line sets, by configuration key.
    pub(super) fn over(&self) -> Vec<(&'static str, Value)> {
        let mut over = Vec::new();
        if self.dev {
            over.push(("dev", Value::Boolean(true)));
        }
        if let Some(address) = &self.mqtt {
            over.push(("mqtt.listen", Value::String(address.clone())));
        }
        if let Some(address) = &self.http {
            over.push(("http.listen", Value::String(address.clone())));
        }
        over
    }
}

/// Runs until a signal says to stop; a second one stops at once.
pub(super) async fn run(config: Config) -> Result<()> {
    // Before anything else, so that a signal while starting isn't lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Boxed: its state while starting is large, and only needed then.
    let app = Box::pin(Application::start(&config)).await?;
    info!(mqtt = %app.mqtt, http = %app.http, dev = config.dev, "ready");
    // For programs that start us, with port 0 above all.
    let mqtts = app.mqtts.map(|address| format!(" mqtts={address}")).unwrap_or_default();
    say(&format!("ready mqtt={} http={}{mqtts}", app.mqtt, app.http))?;
    let outcome = tokio::select! {
        failed = app.failed() => failed,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if let Err(error) = &outcome {
        error!("{error:#}");
    }
    tokio::select! {
        stopped = app.stop() => outcome.and(stopped),
        _ = interrupt.recv() => anyhow::bail!("stopped at once; unacknowledged messages will be sent again"),
        _ = terminate.recv() => anyhow::bail!("stopped at once; unacknowledged messages will be sent again"),
    }
}
