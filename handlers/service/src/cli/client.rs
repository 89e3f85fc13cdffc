//! Commands that talk to a running service over HTTP, as any other client would.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::say;
use crate::config::Config;

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the service is.
#[derive(Args)]
struct Remote {
    /// Address of the service [default: where the configuration listens]
    #[arg(long, global = true, value_name = "URL", env = "STATECAST_URL")]
    url: Option<String>,
    /// API key
    #[arg(long, global = true, env = "STATECAST_KEY", hide_env_values = true)]
    key: Option<String>,
}

#[derive(Args)]
pub(super) struct DeviceArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Subcommand)]
enum DeviceCommand {
    /// Register a device and print its token, this once
    Add {
        /// Its id
        id: String,
        /// A tag, `name=value`
        #[arg(long = "tag", value_name = "NAME=VALUE")]
        tags: Vec<String>,
    },
    /// List devices
    List,
    /// Show a device
    Show {
        /// Its id
        id: String,
    },
    /// Set the password of a device, which is read from the standard input
    Password {
        /// Its id
        id: String,
        /// Take it away instead
        #[arg(long)]
        remove: bool,
    },
    /// Say which policy holds for a device
    Policy {
        /// Its id
        id: String,
        /// The name of the policy
        policy: String,
    },
    /// Register the devices of a file: a line each, `id` or `{"id":"…","tags":{…}}`; prints `id token`
    Import {
        /// The file
        file: PathBuf,
    },
    /// Remove a device, with all that belongs to it
    Remove {
        /// Its id
        id: String,
    },
}

#[derive(Args)]
pub(super) struct SearchArgs {
    #[command(flatten)]
    remote: Remote,
    /// The query, e.g. `battery:<20 -site:lab`
    #[arg(allow_hyphen_values = true)]
    query: String,
    /// Fields to sort by, e.g. `-battery,id`, or `relevance`
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    sort: String,
    /// Devices at most
    #[arg(long, default_value_t = 20, conflicts_with = "export")]
    limit: u32,
    /// Print all devices that match
    #[arg(long, value_name = "FORMAT")]
    export: Option<Format>,
    /// The columns of CSV, with commas between [default: those that most devices have]
    #[arg(long, default_value = "", requires = "export")]
    columns: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

#[derive(Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    remote: Remote,
    /// Only what enters, leaves or changes within this query
    #[arg(allow_hyphen_values = true)]
    query: Option<String>,
}

#[derive(Args)]
pub(super) struct IndexArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Compare the index with the table, and repair what differs
    Verify,
    /// Make the index anew
    Rebuild,
}

/// `statecast device`
pub(super) async fn device(args: DeviceArgs, config: &Config) -> Result<()> {
    let client = Client::new(args.remote, config)?;
    match args.command {
        DeviceCommand::Add { id, tags } => {
            let tags: serde_json::Map<String, Value> = tags
                .iter()
                .map(|tag| {
                    let (name, value) = tag.split_once('=').context("a tag is written name=value")?;
                    Ok((name.to_owned(), json!(value)))
                })
                .collect::<Result<_>>()?;
            say(&client.register(&id, &json!(tags)).await?)
        }
        DeviceCommand::List => {
            let mut cursor = String::new();
            loop {
                let query = [("limit", "1000"), ("cursor", &cursor)];
                let page = client.json(client.request(Method::GET, "devices").query(&query)).await?;
                for twin in page["items"].as_array().into_iter().flatten() {
                    say(&line(twin))?;
                }
                cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
                if cursor.is_empty() {
                    return Ok(());
                }
            }
        }
        DeviceCommand::Show { id } => {
            let twin = client.json(client.request(Method::GET, &format!("devices/{id}"))).await?;
            say(&serde_json::to_string_pretty(&twin)?)
        }
        DeviceCommand::Password { id, remove } => {
            let password = if remove { None } else { Some(password()?) };
            client.change_credentials(&id, &json!({ "password": password })).await
        }
        DeviceCommand::Policy { id, policy } => {
            client.change_credentials(&id, &json!({ "policy": policy })).await
        }
        DeviceCommand::Import { file } => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            for (number, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
                let (id, tags) = import_row(row).with_context(|| format!("line {}", number + 1))?;
                let token =
                    client.register(&id, &tags).await.with_context(|| format!("line {}", number + 1))?;
                say(&format!("{id} {token}"))?;
            }
            Ok(())
        }
        DeviceCommand::Remove { id } => {
            client.send(client.request(Method::DELETE, &format!("devices/{id}"))).await?;
            say("removed")
        }
    }
}

/// `statecast search`
pub(super) async fn search(args: SearchArgs, config: &Config) -> Result<()> {
    let client = Client::new(args.remote, config)?;
    if let Some(format) = args.export {
        let format = match format {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
        };
        let query = [
            ("q", args.query.as_str()),
            ("sort", &args.sort),
            ("format", format),
            ("columns", &args.columns),
            ("after", "now"),
        ];
        return print(client.send(client.request(Method::GET, "search/export").query(&query)).await?).await;
    }
    let query = [
        ("q", args.query),
        ("sort", args.sort),
        ("limit", args.limit.to_string()),
        ("after", "now".to_owned()),
    ];
    let found = client.json(client.request(Method::GET, "search").query(&query)).await?;
    for twin in found["items"].as_array().into_iter().flatten() {
        say(&line(twin))?;
    }
    say(&format!("{} found: {}", found["total"], found["sentence"].as_str().unwrap_or_default()))?;
    for hint in found["hints"].as_array().into_iter().flatten() {
        let instead = hint["suggestion"].as_str().map(|text| format!("; {text}?")).unwrap_or_default();
        let place = hint["parameter"].as_str().map(|name| format!("{name}, ")).unwrap_or_default();
        let text = hint["text"].as_str().unwrap_or_default();
        say(&format!("{place}column {}: {text}{instead}", hint["column"]))?;
    }
    match found["did_you_mean"]["query"].as_str() {
        Some(query) => say(&format!("did you mean {query}  ({} found)", found["did_you_mean"]["total"])),
        None => Ok(()),
    }
}

/// Prints a body as it comes. One that breaks off is an error; a reader of ours who goes away is none.
async fn print(response: Response) -> Result<()> {
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        match std::io::stdout().write_all(&chunk.context("the export broke off")?) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("write the export")?,
        }
    }
    Ok(())
}

/// `statecast tail`
pub(super) async fn tail(args: TailArgs, config: &Config) -> Result<()> {
    let client = Client::new(args.remote, config)?;
    let query: Vec<(&str, String)> = args.query.map(|query| ("q", query)).into_iter().collect();
    let response = client.send(client.request(Method::GET, "changes").query(&query)).await?;
    let mut chunks = response.bytes_stream();
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.context("the stream broke off")?);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let row: Vec<u8> = text.drain(..=end).collect();
            if let Some(data) = row.strip_prefix(b"data: ") {
                say(String::from_utf8_lossy(data).trim_end())?;
            }
        }
    }
    Ok(())
}

/// `statecast index`
pub(super) async fn index(args: IndexArgs, config: &Config) -> Result<()> {
    let client = Client::new(args.remote, config)?;
    match args.command {
        IndexCommand::Verify => {
            let verified =
                client.json(client.request(Method::POST, "index/verify").timeout(TIMEOUT * 20)).await?;
            say(&serde_json::to_string_pretty(&verified)?)
        }
        IndexCommand::Rebuild => {
            client.send(client.request(Method::POST, "index/rebuild").timeout(TIMEOUT * 20)).await?;
            say("the index is made anew")
        }
    }
}

/// A line of the standard input: as an argument, others could see it.
fn password() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A line for people: id, and what was reported.
fn line(twin: &Value) -> String {
    let online = if twin["presence"]["online"] == true { "online " } else { "offline" };
    format!("{:32} {online} {}", twin["device"].as_str().unwrap_or_default(), twin["reported"])
}

fn import_row(row: &str) -> Result<(String, Value)> {
    if !row.trim_start().starts_with('{') {
        return Ok((row.trim().to_owned(), json!({})));
    }
    let row: Value = serde_json::from_str(row).context("read JSON")?;
    let id = row["id"].as_str().context("`id` is missing")?;
    Ok((id.to_owned(), row.get("tags").cloned().unwrap_or_else(|| json!({}))))
}

struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    fn new(remote: Remote, config: &Config) -> Result<Self> {
        let base = remote.url.unwrap_or_else(|| format!("http://{}", config.http.listen));
        let http = reqwest::Client::builder().connect_timeout(TIMEOUT).build().context("set up HTTP")?;
        Ok(Self { http, base, key: remote.key })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/{path}", self.base.trim_end_matches('/')));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn register(&self, id: &str, tags: &Value) -> Result<String> {
        let request = self.request(Method::PUT, &format!("devices/{id}")).json(&json!({ "tags": tags }));
        let registered = self.json(request).await?;
        Ok(registered["token"].as_str().unwrap_or("(keeps its token)").to_owned())
    }

    async fn change_credentials(&self, id: &str, change: &Value) -> Result<()> {
        let path = format!("devices/{id}/credentials");
        let known = self.json(self.request(Method::PATCH, &path).json(change)).await?;
        say(&serde_json::to_string_pretty(&known)?)
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value> {
        self.send(request).await?.json().await.context("read the answer")
    }

    /// Sends a request; a problem becomes an error with its words.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response =
            request.send().await.with_context(|| format!("is a service running at {}?", self.base))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem: Value = response.json().await.unwrap_or_default();
        let place =
            problem["column"].as_u64().map(|column| format!(" (column {column})")).unwrap_or_default();
        let expected =
            problem["expected"].as_str().map(|text| format!("; expected {text}")).unwrap_or_default();
        let hint = problem["suggestion"].as_str().map(|hint| format!("; {hint}?")).unwrap_or_default();
        bail!("{status}: {}{place}{expected}{hint}", problem["detail"].as_str().unwrap_or_default())
    }
}
