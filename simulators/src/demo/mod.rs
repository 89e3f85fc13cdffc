//! `demo`: the whole of Statecast on one screen. It starts gateways, and the service with data of its own; registers
//! devices, people with their phones, and a few rules through the public interface; runs a fleet, has the people
//! acknowledge what they are told, and shows what happens. A bounded demo verifies its ledger at the end, and fails
//! unless all worked: so it is a test too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, ServiceAddress};
use crate::fleet::{self, Fleet, FleetArguments, Profile};
use crate::gateways::{Gateways, Plan};
use crate::terminal::{say, stop_signals};
use crate::verify;

mod service;
mod people;
mod setup;
mod show;

use service::Service;

/// How often a device of the demo reports: 2,000 of them make 200 messages a second.
const PERIOD: Duration = Duration::from_secs(10);

/// What `demo` is told.
#[derive(clap::Args)]
pub(crate) struct DemoArguments {
    /// How long the fleet runs, in seconds; 0: until Ctrl-C.
    #[arg(long, value_name = "S", env = "DEMO_SECONDS", default_value_t = 0)]
    seconds: u64,
    /// Where the service of the demo keeps its data.
    #[arg(long, value_name = "DIR", default_value = "statecast-data/demo")]
    data_dir: PathBuf,
    /// How many devices.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    devices: usize,
    /// Makes all chance repeatable.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

/// Runs the demo. True: the ledger is clean, a search found something, a push arrived and an alarm was acknowledged.
pub(crate) async fn command(arguments: DemoArguments) -> anyhow::Result<bool> {
    let (stop, abandon) = stop_signals()?;
    let files = arguments.data_dir.with_extension("gateways");
    let receiving = CancellationToken::new();
    let receiving_until = receiving.clone().drop_guard();
    let gateways =
        Gateways::start(Plan { directory: Some(files.clone()), ..Plan::local() }, receiving).await?;
    say("starting the service");
    let settings = files.join("push.toml");
    let starting = Service::start(&arguments.data_dir, &settings);
    let Some(service) = stop.run_until_cancelled(starting).await else {
        return Ok(false);
    };
    let service = service?;
    let outcome = Box::pin(play(&arguments, &service, &gateways, stop, abandon)).await;
    say("stopping the service");
    let stopped = service.stop().await;
    drop(receiving_until);
    gateways.ended().await;
    let well = outcome?;
    stopped?;
    say(if well { "all is well" } else { "not all is well: see above" });
    Ok(well)
}

/// Everything between the start of the service and its stop.
async fn play(
    arguments: &DemoArguments,
    service: &Service,
    gateways: &Gateways,
    stop: CancellationToken,
    abandon: CancellationToken,
) -> anyhow::Result<bool> {
    let address = ServiceAddress { http: service.http_url(), key: None };
    let api = Api::new(address.clone())?;

    say(&format!("registering {} devices", arguments.devices));
    let registering = fleet::register(&api, arguments.devices);
    let Some(tokens) = stop.run_until_cancelled(registering).await else { return Ok(false) };
    let tokens = tokens?;
    let people = setup::everything(&api, gateways).await?;
    show::where_to_look(service, gateways);

    let ledger = fresh_ledger(&arguments.data_dir).await?;
    let fleet = FleetArguments {
        devices: arguments.devices,
        period: PERIOD,
        profile: Profile::Burst,
        duration: None,
        seed: arguments.seed,
        ledger: Some(ledger.clone()),
        mqtt: service.mqtt.to_string(),
        speed: 1.0,
        qos: 1,
        register: false,
        tokens: None,
        service: address,
    };
    let fleet = Fleet::start(fleet, tokens, stop.clone(), abandon).await?;
    let statistics = Arc::clone(&fleet.statistics);
    let length = (arguments.seconds > 0).then(|| Duration::from_secs(arguments.seconds));
    let shown = show::Shown { api: &api, statistics: &statistics, gateways, people: &people };
    let (found, answered) = tokio::join!(
        async {
            let found = show::live(&shown, length, &stop).await;
            stop.cancel();
            found
        },
        people.live(&api, gateways, &stop),
    );
    if let Err(error) = &answered {
        say(&format!("people couldn't answer: {error:#}"));
    }
    say("stopping the fleet: it waits for what isn't acknowledged");
    let given_up = fleet.finish().await?;
    say(&statistics.snapshot().line());
    say(&statistics.latency_line());

    let tally = verify::run(&api, &ledger).await?;
    for fault in &tally.faults {
        say(fault);
    }
    say(&tally.line());
    say(&format!("redelivered {}", tally.redelivered));
    for (channel, received) in gateways.summaries().iter().filter(|(_, received)| received.total > 0) {
        say(&format!("{channel}: {}", received.line()));
    }
    let pushed = gateways.summary("webhook").accepted > 0;
    let answered = answered.is_ok() && people.acknowledged() > 0;
    let proven = tally.is_clean() && tally.acknowledged > 0 && given_up == 0;
    Ok(proven && found && pushed && answered)
}

/// The ledger of this demo, beside the data of the service; that of an earlier demo is removed.
async fn fresh_ledger(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let path = data_dir.with_extension("ledger");
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(path),
    }
}
