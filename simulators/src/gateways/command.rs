//! The commands `gateways`, with all channels, and `receivers`, with that of webhooks alone in mind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::faults::Fault;
use super::gateway::Latency;
use super::{Gateways, Plan};
use crate::duration::parse;
use crate::terminal::{say, stop_signals};

/// How often the commands say what came.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What `gateways` is told.
#[derive(clap::Args)]
pub(crate) struct GatewaysArguments {
    /// Where the control interface is.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Where FCM is; like all that follow on a free port when it isn't given.
    #[arg(long, value_name = "ADDRESS")]
    listen_fcm: Option<SocketAddr>,
    /// Where the token endpoint of FCM is.
    #[arg(long, value_name = "ADDRESS")]
    listen_oauth: Option<SocketAddr>,
    /// Where APNs is.
    #[arg(long, value_name = "ADDRESS")]
    listen_apns: Option<SocketAddr>,
    /// Where the sandbox of APNs is.
    #[arg(long, value_name = "ADDRESS")]
    listen_apns_sandbox: Option<SocketAddr>,
    /// Where the push service of browsers is.
    #[arg(long, value_name = "ADDRESS")]
    listen_web_push: Option<SocketAddr>,
    /// Where ntfy is.
    #[arg(long, value_name = "ADDRESS")]
    listen_ntfy: Option<SocketAddr>,
    /// Where webhooks are received.
    #[arg(long, value_name = "ADDRESS")]
    listen_webhook: Option<SocketAddr>,
    /// Where the files for the service are written: service-account.json, apns.p8, ca.pem, push.toml.
    #[arg(long, value_name = "DIR", default_value = "statecast-data/gateways")]
    dir: PathBuf,
    /// How long an answer takes: `50ms`, or anything between two as in `50ms..100ms`.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = latency)]
    latency: Latency,
    /// How long an access token of FCM is good.
    #[arg(long, value_name = "TIME", default_value = "3599s", value_parser = crate::duration::parse_positive)]
    token_lifetime: Duration,
}

/// What `receivers` is told.
#[derive(clap::Args)]
pub(crate) struct ReceiversArguments {
    /// Where webhooks are received.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Where the control interface is; its `GET /received?channel=webhook` lists them.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control: SocketAddr,
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
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = latency)]
    slow: Latency,
}

/// Runs all gateways until Ctrl-C; says every few seconds what came.
pub(crate) async fn command(arguments: GatewaysArguments) -> anyhow::Result<bool> {
    let listen = [
        ("fcm", arguments.listen_fcm),
        ("oauth", arguments.listen_oauth),
        ("apns", arguments.listen_apns),
        ("apns_sandbox", arguments.listen_apns_sandbox),
        ("web_push", arguments.listen_web_push),
        ("ntfy", arguments.listen_ntfy),
        ("webhook", arguments.listen_webhook),
    ];
    let plan = Plan {
        control: arguments.listen,
        listen: listen.into_iter().filter_map(|(name, address)| Some((name, address?))).collect(),
        directory: Some(arguments.dir.clone()),
        latency: arguments.latency,
        token_lifetime: arguments.token_lifetime,
    };
    run(plan, |gateways| {
        let mut line = "ready".to_owned();
        for (name, place) in gateways.places().as_object().into_iter().flatten() {
            line.push_str(&format!(" {name}={}", place.as_str().unwrap_or_default()));
        }
        say(&line);
        say(&format!("settings for the service: {}", arguments.dir.join("push.toml").display()));
        Ok(())
    })
    .await
}

/// Receives webhooks until Ctrl-C.
pub(crate) async fn receive(arguments: ReceiversArguments) -> anyhow::Result<bool> {
    let plan = Plan {
        control: arguments.control,
        listen: BTreeMap::from([("webhook", arguments.listen)]),
        latency: arguments.slow,
        ..Plan::local()
    };
    run(plan, |gateways| {
        let webhooks = gateways.gateway("webhook").map_err(anyhow::Error::msg)?;
        for secret in &arguments.secret {
            gateways.register("webhook", &json!({ "registration": "", "secret": secret }))?;
        }
        let (status, times, retry_after_s) = (arguments.fail, arguments.times, arguments.retry_after);
        let fault = Fault { status, times, retry_after_s, ..Fault::default() };
        webhooks.fail(fault).map_err(anyhow::Error::msg)?;
        let places = gateways.places();
        let place = |name: &str| places.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        say(&format!("receiving webhooks on {}, at any path", place("webhook")));
        say(&format!("{}/received?channel=webhook lists them", place("control")));
        Ok(())
    })
    .await
}

/// Runs gateways until Ctrl-C; says every few seconds what came to those that anything came to.
async fn run(plan: Plan, begin: impl FnOnce(&Gateways) -> anyhow::Result<()>) -> anyhow::Result<bool> {
    crate::open_files::make_room_for(10_000);
    let (stop, _) = stop_signals()?;
    let gateways = Gateways::start(plan, stop.clone()).await?;
    begin(&gateways)?;
    let mut told = BTreeMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_some() {
        tell(&gateways, &mut told);
    }
    gateways.ended().await;
    tell(&gateways, &mut told);
    Ok(true)
}

fn tell(gateways: &Arc<Gateways>, told: &mut BTreeMap<&'static str, u64>) {
    for (name, summary) in gateways.summaries() {
        if told.insert(name, summary.total).unwrap_or_default() != summary.total {
            say(&format!("{name}: {}", summary.line()));
        }
    }
}

/// One length of time, or two with `..` between them.
fn latency(text: &str) -> Result<Latency, String> {
    let (min, max) = match text.split_once("..") {
        Some((min, max)) => (parse(min)?, parse(max)?),
        None => (parse(text)?, parse(text)?),
    };
    if min > max {
        return Err(format!("{text:?} ends before it begins"));
    }
    Ok(Latency { min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_read() {
        let milliseconds =
            |min, max| Ok(Latency { min: Duration::from_millis(min), max: Duration::from_millis(max) });
        assert_eq!(latency("50ms..100ms"), milliseconds(50, 100));
        assert_eq!(latency("50ms"), milliseconds(50, 50));
        assert!(latency("100ms..50ms").is_err() && latency("x").is_err());
    }
}
