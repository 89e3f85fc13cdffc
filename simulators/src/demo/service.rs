//! The service of the demo: the real binary, as a child process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::api::{Api, ServiceAddress};
use crate::terminal::say;

const HTTP_PORT: u16 = 8_080;
const MQTT_PORT: u16 = 1_883;
/// Longest that a start may take: the first one creates a database.
const START_MAX: Duration = Duration::from_secs(90);
/// Longest that an orderly stop may take.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Bytes of the service's log that are shown when it fails.
const LOG_SHOWN: usize = 2_000;

/// A service that runs and is ready. Dropped without [`Service::stop`] it is killed.
pub(super) struct Service {
    child: Child,
    /// Where it serves HTTP.
    pub(super) http: SocketAddr,
    /// Where it serves MQTT.
    pub(super) mqtt: SocketAddr,
    /// Where it logs.
    pub(super) log: PathBuf,
}

impl Service {
    /// Starts `statecast serve --dev` with this data directory and these settings, and waits until it is ready.
    pub(super) async fn start(data_dir: &Path, settings: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find the program")?.with_file_name("statecast");
        if let Some(parent) = data_dir.parent() {
            tokio::fs::create_dir_all(parent)
                .await
                .with_context(|| format!("create {}", parent.display()))?;
        }
        let log = data_dir.with_extension("log");
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let http = free_address(HTTP_PORT).await?;
        let mqtt = free_address(MQTT_PORT).await?;
        let child = Command::new(&program)
            .args(["serve", "--dev", "--data-dir"])
            .arg(data_dir)
            .arg("--config")
            .arg(settings)
            .env("STATECAST__HTTP__LISTEN", http.to_string())
            .env("STATECAST__MQTT__LISTEN", mqtt.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the log")?)
            .stderr(output)
            // Ctrl-C is for the demo alone: it stops the fleet first, and the service last.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut service = Self { child, http, mqtt, log };
        match timeout(START_MAX, service.ready()).await {
            Ok(Ok(())) => Ok(service),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("the service isn't ready after {START_MAX:?}:\n{}", service.end_of_log()),
        }
    }

    /// The address of its HTTP interface.
    pub(super) fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let api = Api::new(ServiceAddress { http: self.http_url(), key: None })?;
        while !api.is_ready().await {
            if let Some(status) = self.child.try_wait().context("look after the service")? {
                bail!("the service ended with {status}:\n{}", self.end_of_log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let Some(id) = self.child.id() else { bail!("the service had ended:\n{}", self.end_of_log()) };
        // The shell has `kill` built in, where no such program is installed.
        let asked = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id.to_string()]).status().await;
        if !asked.context("ask the service to stop")?.success() {
            bail!("the service had ended:\n{}", self.end_of_log());
        }
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(status) => {
                let status = status.context("wait for the service")?;
                if !status.success() {
                    bail!("the service ended with {status}:\n{}", self.end_of_log());
                }
                Ok(())
            }
            Err(_) => {
                say("the service doesn't stop: it is killed");
                self.child.kill().await.context("kill the service")?;
                bail!("the service didn't stop within {STOP_MAX:?}:\n{}", self.end_of_log())
            }
        }
    }

    /// The last lines of its log.
    fn end_of_log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_SHOWN)..]).into_owned()
    }
}

/// This port on the loopback interface, or any other that is free when somebody has it.
async fn free_address(port: u16) -> anyhow::Result<SocketAddr> {
    let wanted = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = match wanted {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("find a free port")?,
    };
    Ok(listener.local_addr()?)
}
