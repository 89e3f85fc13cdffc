//! The command line: `serve` runs the service; the rest talks to it over HTTP, or to its database.
//!
//! - [`serve`]: the service, until it is told to stop
//! - [`keys`], [`database`]: API keys and the schema, straight in the database
//! - [`client`]: devices, search, the live feed and the index, over HTTP

mod serve;
mod keys;
mod database;
mod client;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use toml::Value;
use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// Device state: in over MQTT, durable, searchable, and told to who needs to know.
#[derive(Parser)]
#[command(name = "statecast", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// What every command may be told.
#[derive(Args)]
struct Settings {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the private database and the search index live
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Serve),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The database schema
    #[command(subcommand)]
    Db(database::Db),
    /// API keys
    #[command(subcommand)]
    Key(keys::Key),
    /// Devices of a running service
    Device(client::DeviceArgs),
    /// Search devices of a running service
    Search(client::SearchArgs),
    /// Follow the changes of a running service
    Tail(client::TailArgs),
    /// The search index of a running service
    Index(client::IndexArgs),
    /// Print the description of the HTTP interface
    Openapi,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is right
    Check,
    /// Print the configuration that results from all layers
    Show,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("STATECAST_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,rumqttd=warn"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let mut over = Vec::new();
    if let Some(dir) = &cli.settings.data_dir {
        over.push(("data_dir", Value::String(dir.display().to_string())));
    }
    if let Command::Serve(serve) = &cli.command {
        over.extend(serve.over());
    }
    let load = || {
        let env: Vec<(String, String)> = std::env::vars().collect();
        Config::load(cli.settings.config.as_deref(), &env, &over)
    };
    match cli.command {
        Command::Serve(_) => runtime()?.block_on(serve::run(load()?)),
        Command::Config(ConfigCommand::Check) => {
            let config = load()?;
            config.push.check_files(&config.data_dir)?;
            say("the configuration is right")
        }
        Command::Config(ConfigCommand::Show) => {
            let mut config = load()?;
            hide_password(&mut config.database.url);
            say(toml::to_string_pretty(&config)?.trim_end())
        }
        Command::Db(command) => runtime()?.block_on(database::run(&command, &load()?)),
        Command::Key(command) => runtime()?.block_on(keys::run(&command, &load()?)),
        Command::Device(args) => runtime()?.block_on(client::device(args, &load()?)),
        Command::Search(args) => runtime()?.block_on(client::search(args, &load()?)),
        Command::Tail(args) => runtime()?.block_on(client::tail(args, &load()?)),
        Command::Index(args) => runtime()?.block_on(client::index(args, &load()?)),
        Command::Openapi => say(&crate::http::openapi().to_pretty_json()?),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "statecast", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    // Ring signs and checks for everything in this process that speaks TLS. A second call changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

/// Prints a line; a closed pipe is no error.
fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn tell_error(error: &anyhow::Error) {
    // Nothing can be done when even stderr is closed.
    drop(writeln!(std::io::stderr(), "statecast: {error:#}"));
}

fn hide_password(url: &mut String) {
    let (Some(start), Some(end)) = (url.find("://"), url.rfind('@')) else { return };
    let credentials = start + 3..end;
    if let Some(colon) = url.get(credentials.clone()).and_then(|text| text.find(':')) {
        url.replace_range(credentials.start + colon + 1..end, "***");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_shown_url_has_no_password() {
        let mut url = "postgres://me:secret@host/db".to_owned();
        hide_password(&mut url);
        assert_eq!(url, "postgres://me:***@host/db");
    }
}
