//! The gateways of the simulator: what stands in for Google, Apple, browsers, ntfy and whoever takes webhooks.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::program;
use crate::{Api, wait};

/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(30);

/// Gateways that run. Killed when dropped.
pub struct Gateways {
    child: Child,
    dir: TempDir,
    control: Api,
    places: Vec<(String, String)>,
}

impl Gateways {
    /// Starts all on free ports, with these arguments of `statecast-sim gateways`.
    ///
    /// # Errors
    /// When they don't come up.
    pub fn start(args: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut child = Command::new(program("statecast-sim")?)
            .args(["gateways", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.path().join("gateways.log"))?)
            .spawn()
            .context("start the gateways")?;
        let output = child.stdout.take().context("stdout")?;
        // A thread reads, because reading has no deadline of its own; it ends with the program.
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let said = lines.recv_timeout(START_MAX);
        let mut gateways = Self { child, dir, control: Api::new(""), places: Vec::new() };
        let Some(ready) = said.ok().and_then(|line| line.strip_prefix("ready ").map(str::to_owned)) else {
            let log = std::fs::read_to_string(gateways.file("gateways.log")).unwrap_or_default();
            bail!("the gateways didn't come up:\n{log}");
        };
        let places = ready.split_whitespace().filter_map(|pair| pair.split_once('='));
        gateways.places = places.map(|(name, place)| (name.to_owned(), place.to_owned())).collect();
        gateways.control = Api::new(gateways.host("control")?);
        Ok(gateways)
    }

    /// Where a channel is, such as `https://127.0.0.1:4711`.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn place(&self, channel: &str) -> Result<&str> {
        let found = self.places.iter().find(|(name, _)| name == channel);
        found.map(|(_, place)| place.as_str()).with_context(|| format!("no channel {channel}"))
    }

    /// The same without the scheme.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn host(&self, channel: &str) -> Result<&str> {
        let place = self.place(channel)?;
        Ok(place.split_once("://").map_or(place, |(_, host)| host))
    }

    /// A file that they wrote: `service-account.json`, `apns.p8`, `ca.pem`, `push.toml`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a phone: what its app tells whoever wants to push, with its name as `registration`.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn register(&self, channel: &str, wish: &Value) -> Result<Value> {
        let mut wish = wish.clone();
        wish["channel"] = json!(channel);
        self.control.call(Method::POST, "/registrations", &wish).await
    }

    /// Removes the app from a phone.
    ///
    /// # Errors
    /// When there is no such phone.
    pub async fn unregister(&self, channel: &str, registration: &str) -> Result<()> {
        let path = format!("/registrations/{channel}/{registration}");
        self.control.call(Method::DELETE, &path, &Value::Null).await.map(drop)
    }

    /// Makes what comes to a channel fail; see `statecast-sim gateways`.
    ///
    /// # Errors
    /// When that isn't possible.
    pub async fn fail(&self, channel: &str, how: &Value) -> Result<()> {
        let mut how = how.clone();
        how["channel"] = json!(channel);
        self.control.call(Method::POST, "/fail", &how).await.map(drop)
    }

    /// What came to a phone, newest first.
    ///
    /// # Errors
    /// When that can't be read.
    pub async fn received(&self, channel: &str, registration: &str) -> Result<Vec<Value>> {
        let path = format!("/received?channel={channel}&registration={registration}&limit=2000");
        let listed = self.control.json(&path).await?;
        Ok(listed["items"].as_array().cloned().unwrap_or_default())
    }

    /// How many came to a channel.
    ///
    /// # Errors
    /// When that can't be read.
    pub async fn summary(&self, channel: &str) -> Result<Value> {
        let listed = self.control.json(&format!("/received?channel={channel}&limit=0")).await?;
        Ok(listed["summary"].clone())
    }

    /// What came to a phone and was accepted, newest first, once a condition holds for it.
    ///
    /// # Errors
    /// When it doesn't come to that.
    pub async fn accepted_when(
        &self,
        channel: &str,
        registration: &str,
        holds: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        wait::until(&format!("messages of {channel}"), || async {
            let mut came = self.received(channel, registration).await.ok()?;
            came.retain(|one| one["answered"].as_u64().is_some_and(|status| (200..300).contains(&status)));
            holds(&came).then_some(came)
        })
        .await
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
