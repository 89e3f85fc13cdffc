//! The command line: what it prints, and what it returns.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use statecast_tests::Service;
use statecast_tests::command::{Ran, run};
use statecast_tests::service::program;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

async fn statecast(args: &[&str]) -> Result<Ran> {
    run(program("statecast")?, args).await
}

/// It failed, returned this, and complained with these words.
fn failed(ran: &Ran, code: i32, words: &[&str]) -> Result<()> {
    ensure!(ran.code == Some(code) && ran.out.is_empty(), "{ran:?}");
    ensure!(words.iter().all(|words| ran.err.contains(words)), "{words:?} isn't in {}", ran.err);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_and_usage() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("statecast.toml");
    let path = file.display().to_string();
    std::fs::write(&file, "[http]\nbody_bytes_max = 1000\n\n[mqtt]\nlissen = \"127.0.0.1:1\"\n")?;
    let ran = statecast(&["config", "check", "--config", &path]).await?;
    failed(&ran, 1, &[&path, "line 5", "lissen", "did you mean `listen`?"])?;
    std::fs::write(
        &file,
        "[http]\nbody_bytes_max = 1000\n\n[database]\nurl = \"postgres://me:secret@db/x\"\n",
    )?;
    ensure!(statecast(&["config", "check", "--config", &path]).await?.ok()?.contains("is right"));
    let shown = statecast(&["config", "show", "--config", &path, "--data-dir", "/elsewhere"]).await?.ok()?;
    ensure!(
        shown.contains("body_bytes_max = 1000") && shown.contains("data_dir = \"/elsewhere\""),
        "{shown}"
    );
    ensure!(shown.contains("postgres://me:***@db/x") && !shown.contains("secret"), "{shown}");
    std::fs::write(&file, shown)?;
    statecast(&["config", "check", "--config", &path]).await?.ok().context("what it shows, it reads")?;
    failed(&statecast(&["config", "check", "--config", "/nowhere.toml"]).await?, 1, &["/nowhere.toml"])?;
    failed(&statecast(&["serve", "--dev", "--mqtt", "0.0.0.0:0"]).await?, 1, &["loopback"])?;
    failed(&statecast(&["serv"]).await?, 2, &["serve"])?;
    failed(&statecast(&[]).await?, 2, &["Usage"])?;
    failed(
        &statecast(&["search", "a", "--url", "http://127.0.0.1:1"]).await?,
        1,
        &["is a service running at"],
    )?;
    ensure!(statecast(&["--version"]).await?.ok()?.starts_with("statecast "));
    for shell in ["bash", "zsh", "fish"] {
        let completions = statecast(&["completions", shell]).await?.ok()?;
        ensure!(completions.contains("serve") && completions.contains("rebuild"), "{shell}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_the_schema() -> Result<()> {
    let mut service = Service::start_with(&[])?;
    let key = service.cli(&["key", "create", "console"]).await?.ok()?;
    let api = service.api().with_key(key.trim());
    ensure!(key.trim().len() == 67 && api.get("/v1/devices").await?.status() == 200, "{key}");
    let list = service.cli(&["key", "list"]).await?.ok()?;
    ensure!(list.lines().count() == 1 && list.contains("console") && !list.contains(key.trim()), "{list}");
    ensure!(service.cli(&["key", "list", "--tenant", "other"]).await?.ok()?.is_empty());
    let id = list.split_whitespace().next().context("an id")?;
    failed(&service.cli(&["key", "revoke", id, "--tenant", "other"]).await?, 1, &["no key"])?;
    ensure!(service.cli(&["key", "revoke", id]).await?.ok()?.contains("revoked"));
    ensure!(api.get("/v1/devices").await?.status() == 401, "a revoked key is worthless at once");
    failed(&service.cli(&["key", "revoke", id]).await?, 1, &["no key"])?;
    failed(&service.cli(&["key", "create", "x", "--tenant", "A B"]).await?, 1, &["a tenant"])?;

    let schema = service.cli(&["db", "status"]).await?.ok()?;
    ensure!(!schema.is_empty() && schema.lines().all(|line| line.starts_with("applied ")), "{schema}");
    // Also while no service runs: the database is started and stopped for it.
    ensure!(service.stop()?, "it stops well");
    ensure!(service.cli(&["db", "migrate"]).await?.ok()? == schema);
    ensure!(service.postgres_pid().is_err(), "its database was left running");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_search_and_index() -> Result<()> {
    let service = Service::start()?;
    let url = format!("http://{}", service.http);
    let cli = async |args: &[&str]| statecast(&[args, &["--url", &url]].concat()).await;
    let token = cli(&["device", "add", "m-1", "--tag", "site=lab", "--tag", "floor=2"]).await?.ok()?;
    ensure!(token.trim().len() == 64, "{token}");
    ensure!(cli(&["device", "add", "m-1"]).await?.ok()?.contains("keeps its token"));
    failed(&cli(&["device", "add", "m 1"]).await?, 1, &["400", "a device id"])?;
    failed(&cli(&["device", "add", "m-2", "--tag", "site"]).await?, 1, &["name=value"])?;
    let file = service.dir().join("devices.txt");
    std::fs::write(&file, "m-2\n\n{\"id\":\"m-3\",\"tags\":{\"site\":\"roof\"}}\n")?;
    let file = file.display().to_string();
    let imported = cli(&["device", "import", &file]).await?.ok()?;
    ensure!(imported.lines().map(|line| line.len()).collect::<Vec<_>>() == [68, 68], "{imported}");
    std::fs::write(&file, "m-4\n{\"tags\":{}}\n")?;
    let ran = cli(&["device", "import", &file]).await?;
    ensure!(
        ran.code == Some(1) && ran.err.contains("line 2") && ran.err.contains("`id` is missing"),
        "{ran:?}"
    );

    let list = cli(&["device", "list"]).await?.ok()?;
    let ids: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(ids == ["m-1", "m-2", "m-3", "m-4"], "{list}");
    let shown: Value = serde_json::from_str(&cli(&["device", "show", "m-1"]).await?.ok()?)?;
    ensure!(shown["tags"] == json!({ "site": "lab", "floor": "2" }), "{shown}");
    ensure!(cli(&["device", "remove", "m-4"]).await?.ok()?.contains("removed"));
    failed(&cli(&["device", "show", "m-4"]).await?, 1, &["404", "no device m-4"])?;
    failed(&cli(&["device", "remove", "m-4"]).await?, 1, &["404"])?;

    let verified: Value = serde_json::from_str(&cli(&["index", "verify"]).await?.ok()?)?;
    ensure!(verified["checked"] == 3 && verified["missing"] == 0 && verified["extra"] == 0, "{verified}");
    ensure!(cli(&["index", "rebuild"]).await?.ok()?.contains("made anew"));
    let found = cli(&["search", "tags.site:roof", "--sort", "-id"]).await?.ok()?;
    ensure!(found.starts_with("m-3 ") && found.ends_with("1 found: tags.site is roof\n"), "{found}");
    let others = cli(&["search", "-tags.site:roof", "--limit", "1"]).await?.ok()?;
    ensure!(others.starts_with("m-1 ") && others.contains("\n2 found: "), "{others}");
    failed(&cli(&["search", "battery<20"]).await?, 1, &["400", "column 8", "colon"])?;
    let printed: Value = serde_json::from_str(&statecast(&["openapi"]).await?.ok()?)?;
    ensure!(
        printed == service.api().json("/openapi.json").await? && printed["paths"]["/v1/search"].is_object()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows() -> Result<()> {
    let service = Service::start()?;
    let url = format!("http://{}", service.http);
    let mut tail = Command::new(program("statecast")?)
        .args(["tail", "battery:<20", "--url", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(tail.stdout.take().context("stdout")?).lines();
    // It doesn't say when it has begun to follow, so changes are made until it shows one.
    let api = service.api();
    let line = async {
        for n in 0.. {
            let report = json!({ "battery": if n % 2 == 0 { 10 } else { 90 } });
            api.call(reqwest::Method::POST, "/v1/devices/m-1/state", &report).await?;
            if let Ok(line) = timeout(Duration::from_millis(100), lines.next_line()).await {
                return line?.context("tail ended");
            }
        }
        anyhow::bail!("tail shows nothing");
    };
    let line: Value = serde_json::from_str(&timeout(Duration::from_secs(60), line).await??)?;
    ensure!(line["device"] == "m-1" && line["twin"]["reported"]["battery"].is_u64(), "{line}");
    Ok(())
}
