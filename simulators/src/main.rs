//! Fleets of simulated devices, gateways of pushes, and the ledger that proves nothing was lost.
//!
//! A stranger to the service: it speaks MQTT and HTTP as the public contract says, and knows nothing else.
//!
//! ```text
//! device ──reading──▶ fleet ──MQTT──▶ the service ──pushes──▶ gateways
//!                       │                  │
//!                       └──▶ ledger ──▶ verify ◀──history over HTTP
//! ```

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod duration;
mod terminal;
mod open_files;
mod random;
mod api;
mod device;
mod ledger;
mod fleet;
mod verify;
mod gateways;
mod demo;

/// Simulated devices and gateways for Statecast, and the proof that nothing was lost.
#[derive(Parser)]
#[command(name = "statecast-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Connects a fleet of devices over MQTT and lets them report.
    Fleet(fleet::FleetArguments),
    /// Compares a ledger with the history that the service kept; exits 1 unless they agree.
    Verify(verify::VerifyArguments),
    /// Stands in for FCM, APNs, browsers, ntfy and webhooks: strict about their protocols, failing when told to.
    Gateways(gateways::GatewaysArguments),
    /// Receives webhooks, checks their signatures, and fails when told to.
    Receivers(gateways::ReceiversArguments),
    /// Starts the service with a fleet, rules and gateways, and shows what happens.
    Demo(demo::DemoArguments),
}

/// 0: all is well. 1: what was looked at isn't as it should be. 2: it couldn't be looked at.
fn main() -> ExitCode {
    let command = Arguments::parse().command;
    match start(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            terminal::complain(&format!("statecast-sim: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(command: Command) -> anyhow::Result<bool> {
    // reqwest is built without a provider of its own; an error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Fleet(arguments) => Box::pin(fleet::command(arguments)).await,
            Command::Verify(arguments) => Box::pin(verify::command(arguments)).await,
            Command::Gateways(arguments) => Box::pin(gateways::command(arguments)).await,
            Command::Receivers(arguments) => Box::pin(gateways::receive(arguments)).await,
            Command::Demo(arguments) => Box::pin(demo::command(arguments)).await,
        }
    })
}
