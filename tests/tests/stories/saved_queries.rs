//! Saved queries: their counts are those of the fleet, whatever happens to it, and whoever follows them is told.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Events, Service};

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_always_current() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    for n in 0..10 {
        state(&api, n, json!({ "x": n })).await?;
    }
    let low = save(&api, "low", "x:<5").await?;
    let all = save(&api, "all", "*").await?;
    let recent = save(&api, "recent", "seen:>-1h").await?;
    ensure!(count(&api, &low).await? == json!(5) && count(&api, &all).await? == json!(10));
    ensure!(count(&api, &recent).await? == json!(10), "it changes by itself, and is counted all the same");

    // What is acknowledged is counted.
    state(&api, 0, json!({ "x": 9 })).await?;
    ensure!(count(&api, &low).await? == json!(4));
    api.request(Method::DELETE, "/v1/devices/d-1").send().await?.error_for_status()?;
    ensure!(count(&api, &low).await? == json!(3) && count(&api, &all).await? == json!(9));
    state(&api, 1, json!({ "x": 1 })).await?;
    ensure!(count(&api, &low).await? == json!(4));
    service.kill()?;
    service.restart()?;
    ensure!(count(&api, &low).await? == json!(4) && count(&api, &all).await? == json!(10));

    let mut events = Events::open(&api, "/v1/queries/live", None).await?;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(events.next().await?.data);
    }
    ensure!(told.contains(&json!({ "id": low["id"], "count": 4 })), "{told:?}");
    ensure!(told.contains(&json!({ "id": recent["id"], "count": 10 })), "{told:?}");
    state(&api, 2, json!({ "x": 7 })).await?;
    let event = events.next().await?;
    ensure!(event.name == "count" && event.data == json!({ "id": low["id"], "count": 3 }), "{event:?}");

    let path = format!("/v1/queries/{}", low["id"].as_str().context("id")?);
    api.call(Method::PUT, &path, &json!({ "name": "lower", "query": "x:<2" })).await?;
    let lower = api.json(&path).await?;
    ensure!(lower["name"] == "lower" && lower["count"] == 1, "{lower}");
    let found = api.json("/v1/search?q=x:%3C2&after=now").await?;
    ensure!(found["total"] == 1, "{found}");
    ensure!(api.request(Method::DELETE, &path).send().await?.status() == 204);
    ensure!(api.get(&path).await?.status() == 404);
    let bad = api.send(Method::POST, "/v1/queries", &json!({ "name": "bad", "query": "x:<" })).await?;
    ensure!(bad.status() == 400, "{}", bad.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_change_by_time_alone() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let just = save(&api, "just", "seen:>-6s").await?;
    let mut events = Events::open(&api, "/v1/queries/live", None).await?;
    state(&api, 1, json!({ "x": 1 })).await?;
    for expected in [0, 1, 0] {
        let told = events.next().await?;
        ensure!(told.data == json!({ "id": just["id"], "count": expected }), "{expected}: {told:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_misspelt_is_hinted_at_when_it_is_saved() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    state(&api, 1, json!({ "battery": 50 })).await?;
    api.json("/v1/search?after=now").await?;
    let hint = json!([{ "column": 1, "text": "no device has batery", "suggestion": "battery" }]);
    let saved = save(&api, "low", "batery:<15").await?;
    ensure!(saved["hints"] == hint, "{saved}");
    let rule = json!({ "name": "low", "query": "batery:<15", "on": "enter", "title": "low" });
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    ensure!(rule["hints"] == hint, "{rule}");
    ensure!(save(&api, "low", "battery:<15").await?.get("hints").is_none());

    let found = api.json("/v1/search?sort=id,%20-batery&facets=batery&stats=battery").await?;
    let hint = |parameter: &str, column: usize| json!({ "parameter": parameter, "column": column, "text": "no device has batery", "suggestion": "battery" });
    ensure!(found["hints"] == json!([hint("sort", 5), hint("facets", 1)]), "{}", found["hints"]);
    let refused = api.get("/v1/search?q=battery:%3C20&sort=-battery,").await?;
    let problem: Value = refused.json().await?;
    ensure!(problem["parameter"] == "sort" && problem["column"] == 10, "{problem}");
    Ok(())
}

async fn state(api: &Api, n: u64, state: Value) -> Result<()> {
    api.call(Method::POST, &format!("/v1/devices/d-{n}/state"), &state).await.map(drop)
}

async fn save(api: &Api, name: &str, query: &str) -> Result<Value> {
    api.call(Method::POST, "/v1/queries", &json!({ "name": name, "query": query })).await
}

async fn count(api: &Api, saved: &Value) -> Result<Value> {
    let list = api.json("/v1/queries").await?;
    let items = list["items"].as_array().context("items")?;
    Ok(items.iter().find(|item| item["id"] == saved["id"]).context("the query")?["count"].clone())
}
