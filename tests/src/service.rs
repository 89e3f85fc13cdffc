//! Starts `statecast` with a data directory of its own, kills it, starts it again.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::database::alive;
use crate::{Api, wait};

/// How long a start may take: a first one makes a database.
const START_MAX: Duration = Duration::from_secs(120);
/// How long an orderly stop may take.
const STOP_MAX: Duration = Duration::from_secs(60);
/// How long the database may take to end when it is told to end at once.
const QUIT_MAX: Duration = Duration::from_secs(10);

/// What clients hold of the service: 0 when none is left.
const HELD: [&str; 7] = [
    "statecast_mqtt_sockets",
    "statecast_mqtt_connections",
    "statecast_mqtt_bytes_in_flight",
    "statecast_mqtt_partial_bytes",
    "statecast_mqtt_subscriptions",
    "statecast_mqtt_router_links",
    "statecast_devices_active",
];

/// A running service. Killed, with its database, when dropped.
pub struct Service {
    child: Child,
    dir: TempDir,
    /// Where MQTT listens.
    pub mqtt: String,
    /// Where MQTT listens for TLS; none if it doesn't.
    pub mqtts: Option<String>,
    /// Where HTTP listens.
    pub http: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

/// A program that was built beside this one.
///
/// # Errors
/// When it wasn't.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} isn't built: run `make build`"))
}

impl Service {
    /// Starts with `--dev` on free ports.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn start() -> Result<Self> {
        Self::start_with(&["--dev"])
    }

    /// Starts with these arguments of `serve` on free ports, which it keeps when it is started again.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn start_with(args: &[&str]) -> Result<Self> {
        Self::start_with_env(args, &[])
    }

    /// The same with these variables in its environment, beside those of this process.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn start_with_env(args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        // Open to the user that PostgreSQL runs as where we are root; else its files would be elsewhere.
        let open = std::fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().prefix("statecast-test-").permissions(open).tempdir()?;
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let any = "127.0.0.1:0";
        let (child, [mqtt, http], mqtts) = launch(dir.path(), &args, &env, any, any)?;
        Ok(Self { child, dir, mqtt, mqtts, http, args, env })
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client of its API.
    pub fn api(&self) -> Api {
        Api::new(&self.http)
    }

    /// The port of MQTT.
    ///
    /// # Panics
    /// Never: the service printed it as an address.
    pub fn mqtt_port(&self) -> u16 {
        self.mqtt.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address has a port")
    }

    /// Waits until nothing is left of its clients, which must be gone: no sockets, connections and subscriptions, no
    /// bytes in flight or half sent, no device with anything to do.
    ///
    /// # Errors
    /// When something is left; says what.
    pub async fn at_rest(&self) -> Result<()> {
        let left = std::sync::Mutex::new(Vec::new());
        let look = || async {
            let text = self.api().get("/metrics").await.ok()?.text().await.ok()?;
            let values: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
            let is_zero = |name: &str| values.contains(&(name, "0"));
            let held: Vec<&str> = HELD.into_iter().filter(|name| !is_zero(name)).collect();
            let rests = held.is_empty();
            *left.lock().ok()? = held;
            rests.then_some(())
        };
        let rests = wait::until("nothing is left of the clients", look).await;
        rests.with_context(|| format!("still more than 0: {:?}", left.lock().as_deref()))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it can't be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on the same ports and data, after it was killed or stopped. Gives how long that took.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn restart(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let (child, [mqtt, http], mqtts) =
            launch(self.dir.path(), &self.args, &self.env, &self.mqtt, &self.http)?;
        (self.child, self.mqtt, self.http, self.mqtts) = (child, mqtt, http, mqtts);
        Ok(begun.elapsed())
    }

    /// Stops it in order, as SIGTERM does. Gives whether it said that all is well.
    ///
    /// # Errors
    /// When it doesn't stop.
    pub fn stop(&mut self) -> Result<bool> {
        signal(self.child.id(), "TERM")?;
        self.wait()
    }

    /// Waits until it has ended, for whatever reason. Gives whether it said that all is well.
    ///
    /// # Errors
    /// When it doesn't end.
    pub fn wait(&mut self) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("it didn't stop within {} s", STOP_MAX.as_secs());
    }

    /// The process id of its private PostgreSQL.
    ///
    /// # Errors
    /// When it has none.
    pub fn postgres_pid(&self) -> Result<u32> {
        let file = self.dir.path().join("postgres").join("data").join("postmaster.pid");
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        text.lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .context("no process id in postmaster.pid")
    }

    /// Bytes resident in memory, of the service alone.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Its database has a session of its own and would outlive it.
        let postgres = self.postgres_pid();
        drop(self.child.kill());
        drop(self.child.wait());
        let Ok(postgres) = postgres else { return };
        drop(signal(postgres, "QUIT"));
        // Then its files can be removed.
        let begun = Instant::now();
        while alive(postgres) && begun.elapsed() < QUIT_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends a signal to a process that we started.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("no process {pid}");
    }
    Ok(())
}

/// Gives the process, where MQTT and HTTP listen, and where MQTT does for TLS.
fn launch(
    dir: &Path,
    args: &[String],
    env: &[(String, String)],
    mqtt: &str,
    http: &str,
) -> Result<(Child, [String; 2], Option<String>)> {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("test.log"))?;
    let mut child = Command::new(program("statecast")?)
        .arg("serve")
        .args(["--mqtt", mqtt, "--http", http])
        .args(args)
        .arg("--data-dir")
        .arg(dir)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start statecast")?;
    let output = child.stdout.take().context("stdout")?;
    // A thread reads, because reading has no deadline of its own; it ends with the program.
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            drop(sender.send(line));
        }
    });
    let ready = loop {
        match lines.recv_timeout(START_MAX) {
            Ok(line) if line.starts_with("ready ") => break line,
            Ok(_) => {}
            Err(_) => {
                drop(child.kill());
                drop(child.wait());
                let log = std::fs::read_to_string(dir.join("test.log")).unwrap_or_default();
                bail!("statecast didn't come up:\n{log}");
            }
        }
    };
    let field = |name: &str| {
        let value = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
        value.map(str::to_owned).with_context(|| format!("no {name} in {ready}"))
    };
    Ok((child, [field("mqtt=")?, field("http=")?], field("mqtts=").ok()))
}
