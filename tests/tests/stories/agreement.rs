//! What several stories end with: the index says what the table says.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service, wait};

/// Compares the index with the table, and counts the devices in both.
pub(crate) async fn index_agrees(service: &Service, devices: usize) -> Result<()> {
    let api = service.api();
    ready(&api).await?;
    let verified = api.call(Method::POST, "/v1/index/verify", &json!({})).await?;
    for fault in ["missing", "extra", "different"] {
        ensure!(verified[fault] == 0, "{verified}");
    }
    ensure!(verified["checked"] == devices, "{verified}, expected {devices}");
    let found = api.json("/v1/search?limit=1").await?;
    ensure!(found["total"] == devices, "{} found, expected {devices}", found["total"]);
    Ok(())
}

/// Waits until the service says that it is ready: the database answers, the index follows.
pub(crate) async fn ready(api: &Api) -> Result<()> {
    wait::until("readyz", || async {
        let answer = api.get("/readyz").await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await
}

/// Reports state over HTTP; gives the position.
pub(crate) async fn report(api: &Api, device: &str, state: &Value) -> Result<u64> {
    let answer = api.send(Method::POST, &format!("/v1/devices/{device}/state"), state).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let position = answer.headers().get("Statecast-Position").context("no position")?;
    Ok(position.to_str()?.parse()?)
}

/// The value of a metric, all its labels together; 0 when it was never counted. `name` may go on with a label, as in
/// `statecast_mqtt_dropped_total{reason="slow"`.
pub(crate) async fn metric(api: &Api, name: &str) -> Result<f64> {
    let text = api.get("/metrics").await?.text().await?;
    let lines = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', ',', '}'])));
    lines.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<f64>()?)).sum()
}
