//! What the demo shows: where to look, and a line every few seconds.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::people::People;
use super::service::Service;
use crate::api::Api;
use crate::fleet::Statistics;
use crate::gateways::Gateways;
use crate::terminal::{grouped, say};

/// How often a line is shown.
const SHOW_EVERY: Duration = Duration::from_secs(3);
/// The search that is made for each line.
const QUERY: &str = "battery:<20";

/// What is shown.
pub(super) struct Shown<'a> {
    pub(super) api: &'a Api,
    pub(super) statistics: &'a Statistics,
    pub(super) gateways: &'a Gateways,
    pub(super) people: &'a People,
}

/// Prints where a person can look while the demo runs.
pub(super) fn where_to_look(service: &Service, gateways: &Gateways) {
    let (http, mqtt, control) = (service.http_url(), service.mqtt, &gateways.control);
    say(&format!(
        r#"
  console   {http}/
  search    curl '{http}/v1/search?q=type:thermostat+battery:%3C20'
  publish   mosquitto_pub -h {} -p {} -q 1 -t devices/my-lamp/state -m '{{"on":true}}'
  device    curl {http}/v1/devices/thermostat-00000
  alarms    curl {http}/v1/alarms
  pushes    curl '{control}/received?channel=fcm'      and web_push, webhook
  log       {}
"#,
        mqtt.ip(),
        mqtt.port(),
        service.log.display()
    ));
}

/// Shows what happens until `stop`, or for this long. Answers whether a search found something.
pub(super) async fn live(shown: &Shown<'_>, length: Option<Duration>, stop: &CancellationToken) -> bool {
    let started = Instant::now();
    let mut found_any = false;
    loop {
        let left = length.map_or(SHOW_EVERY, |length| length.saturating_sub(started.elapsed()));
        let pause = tokio::time::sleep(left.min(SHOW_EVERY));
        if stop.run_until_cancelled(pause).await.is_none() {
            return found_any;
        }
        let search = match timeout(SHOW_EVERY, shown.api.search(QUERY)).await {
            Ok(Ok(found)) => {
                found_any |= found.total > 0;
                let first = found.items.first().and_then(|twin| twin.get("device")?.as_str());
                format!("finds {} ({} ...)", grouped(found.total), first.unwrap_or("none"))
            }
            Ok(Err(error)) => format!("fails: {error:#}"),
            Err(_) => format!("has no answer after {SHOW_EVERY:?}"),
        };
        let now = shown.statistics.snapshot();
        let pushes: Vec<_> = shown.gateways.summaries().into_values().collect();
        let mut line = format!(
            "{:>4} s  {} online  {} messages  {:.0}/s  PUBACK p99 {}  {QUERY} {search}  pushes {}  acknowledged {}",
            started.elapsed().as_secs(),
            grouped(now.connected),
            grouped(now.acknowledged),
            now.per_second,
            crate::fleet::milliseconds(now.p99),
            grouped(pushes.iter().map(|one| one.distinct).sum()),
            grouped(shown.people.acknowledged()),
        );
        if let Some(title) = shown.gateways.summary("webhook").last_title {
            line.push_str(&format!(", last: {title}"));
        }
        if let Some(trouble) = now.trouble {
            line.push_str(&format!("  (trouble: {trouble})"));
        }
        say(&line);
        if length.is_some_and(|length| started.elapsed() >= length) {
            return found_any;
        }
    }
}
