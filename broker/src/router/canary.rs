//! Starts the router and watches it: a canary crosses it behind every batch, and every second. A router that is dead, or doesn't let the
//! canary through, is started again, with all filters in force; after three times in a minute it has failed for
//! good, and so it has when its thread hangs, since a thread can't be ended from outside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rumqttd::Notification;
use rumqttd::local::LinkRx;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Commands;
use super::command::{Command, HandBack};
use super::pump::Pump;
use crate::broker::Hub;

/// How often a canary is sent.
const PERIOD: Duration = Duration::from_secs(1);
/// How long it may take. A busy machine can hold it up for a while without anything being wrong.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long the pump may take to hand its commands back.
const HAND_BACK_DEADLINE: Duration = Duration::from_secs(1);
/// So many deaths within this time are too many.
const DEATHS_MAX: usize = 3;
const DEATHS_PERIOD: Duration = Duration::from_secs(60);

/// What ended a router.
enum End {
    /// It died; the commands are handed back.
    Died(HandBack),
    /// The broker is gone.
    Over,
    /// It hangs, or can't be started.
    Hopeless(&'static str),
}

/// Keeps a router running until the broker stops.
pub(crate) async fn watch(hub: Arc<Hub>, Commands(commands): Commands) {
    let mut todo = HandBack::new(commands);
    let mut deaths = VecDeque::new();
    loop {
        match serve(&hub, todo).await {
            End::Over => return,
            End::Hopeless(why) => return fail(&hub, why),
            End::Died(left) => todo = left,
        }
        metrics::counter!("statecast_mqtt_router_deaths_total").increment(1);
        let now = Instant::now();
        deaths.push_back(now);
        while deaths.front().is_some_and(|died| now.duration_since(*died) > DEATHS_PERIOD) {
            deaths.pop_front();
        }
        if deaths.len() >= DEATHS_MAX {
            return fail(&hub, "the router died three times in a minute");
        }
        tracing::error!("the router died and is started again");
    }
}

fn fail(hub: &Hub, why: &'static str) {
    tracing::error!(why, "the router has failed: the process is to exit");
    hub.router.failed.cancel();
}

/// Runs one router from its start to its end.
async fn serve(hub: &Arc<Hub>, todo: HandBack) -> End {
    let feeds = hub.router.forget();
    let left = hub.router.commands.downgrade();
    let links_max = hub.router.limits.links_max;
    let runtime = Handle::current();
    let stop = CancellationToken::new();
    let pump_stop = stop.clone();
    let (started, start) = oneshot::channel();
    let (handed_back, mut hand_back) = oneshot::channel();
    let pump = std::thread::Builder::new().name("router-pump".into()).spawn(move || {
        let Ok((pump, canaries)) = Pump::start(links_max, left, runtime, pump_stop, &todo) else { return };
        // Whoever waited may have given up; then the commands are dropped with this thread.
        if started.send(canaries).is_ok() {
            handed_back.send(pump.run(&feeds, todo)).ok();
        }
    });
    if pump.is_err() {
        return End::Hopeless("no thread for the router");
    }
    let Ok(Ok(canaries)) = timeout(DEADLINE, start).await else {
        return End::Hopeless("the router can't be started");
    };
    tokio::select! {
        () = hub.abandoned.cancelled() => return End::Over,
        handed_back = &mut hand_back => return ended(handed_back.ok().flatten()),
        () = canary_is_lost(hub, canaries) => {}
    }
    stop.cancel();
    // Wakes it, if it waits for a command.
    hub.router.command(Command::Canary);
    match timeout(HAND_BACK_DEADLINE, hand_back).await {
        Ok(handed_back) => ended(handed_back.ok().flatten()),
        Err(_) => End::Hopeless("the router hangs"),
    }
}

fn ended(handed_back: Option<HandBack>) -> End {
    handed_back.map_or(End::Hopeless("the thread of the router pump died"), End::Died)
}

/// Sends canaries, and returns when one isn't back in time, or none can come any more.
async fn canary_is_lost(hub: &Hub, canaries: LinkRx) {
    let (seen, mut last) = watch::channel(0);
    let reader = read_canaries(hub, canaries, seen);
    let sender = async {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            last.mark_unchanged();
            hub.router.command(Command::Canary);
            if timeout(DEADLINE, last.changed()).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = sender => {}
        // The router is dead, whether or not the pump knows it by now.
        () = reader => {}
    }
}

/// Notes each canary that comes out, and tells the pump.
async fn read_canaries(hub: &Hub, mut canaries: LinkRx, seen: watch::Sender<u64>) {
    loop {
        match canaries.next().await {
            Ok(Some(Notification::Forward(forward))) => {
                if let Ok(number) = forward.publish.payload[..].try_into().map(u64::from_be_bytes) {
                    seen.send_replace(number);
                    hub.router.command(Command::Seen { number });
                }
            }
            Ok(Some(Notification::Unschedule)) => {
                if canaries.wake().await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
