//! The console in a real browser: it shows devices, and the one that is asked for.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use statecast_tests::{Service, wait};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a page may take to come up on a busy machine.
const PAGE_MAX: Duration = Duration::from_secs(60);

/// The document that a browser makes of a page, after its scripts had time to run.
async fn rendered(profile: &Path, url: &str) -> Result<String> {
    let chromium = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--timeout=4000", "--dump-dom", url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PAGE_MAX, chromium).await.context("the browser doesn't end")?;
    let output = output.context("is chromium installed? run `make deps`")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_shown() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let reported = json!({ "type": "boiler", "note": "<b>bold</b>" });
    api.call(Method::POST, "/v1/devices/boiler-1/state", &reported).await?;
    wait::until("the index has it", || async {
        (api.json("/v1/search?q=boiler").await.ok()?["total"] == 1).then_some(())
    })
    .await?;
    let profile = tempfile::tempdir()?;
    let page = rendered(profile.path(), &format!("http://{}/#devices/boiler-1", service.http)).await?;
    ensure!(page.contains(r#"data-device="boiler-1""#), "no row:\n{page}");
    ensure!(page.contains("1 devices, as of position"), "no total:\n{page}");
    ensure!(page.contains(r#"<h2 id="device-name">boiler-1</h2>"#), "no detail:\n{page}");
    ensure!(page.contains("&lt;b&gt;bold") && !page.contains("<b>bold"), "text is not text:\n{page}");
    Ok(())
}
