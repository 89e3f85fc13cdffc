//! Bad requests over HTTP: the right status, and a problem that says what is wrong.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use statecast_tests::{Api, Service};

/// A service that asks for a key, and a client that has one and a device `d`.
async fn service() -> Result<(Service, Api)> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    api.register("d").await?;
    Ok((service, api))
}

/// The problem of a response that must have this status.
async fn problem(response: Response, status: u16) -> Result<Value> {
    let (got, url) = (response.status().as_u16(), response.url().clone());
    let kind = response
        .headers()
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("none")
        .to_owned();
    let text = response.text().await?;
    ensure!(got == status, "{url}: {got}, not {status}: {text}");
    ensure!(kind == "application/problem+json", "{url}: {kind}: {text}");
    let problem: Value = serde_json::from_str(&text).context("read the problem")?;
    ensure!(
        problem["status"] == status && problem["type"].is_string() && problem["detail"].is_string(),
        "{problem}"
    );
    Ok(problem)
}

/// The same, and its detail has these words.
async fn says(response: Response, status: u16, words: &str) -> Result<()> {
    let problem = problem(response, status).await?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains(words), "{words:?} isn't in {problem}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_names() -> Result<()> {
    let (service, api) = service().await?;
    for path in ["/v1/devices", "/v1/devices/d", "/v1/search", "/v1/changes", "/v1/rules", "/v1/usage"] {
        problem(service.api().get(path).await?, 401).await?;
        problem(service.api().with_key("sc_wrong").get(path).await?, 401).await?;
    }
    for open in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        ensure!(service.api().get(open).await?.status() == 200, "{open}");
    }
    says(api.get("/v1/devices/nobody").await?, 404, "no device nobody").await?;
    says(api.get("/v1/devices/a%20b").await?, 400, "a device id").await?;
    says(api.get("/v1/devices/%C3%A9/history").await?, 400, "a device id").await?;
    says(api.send(Method::POST, "/v1/devices/nobody/state", &json!({})).await?, 404, "nobody").await?;
    problem(api.send(Method::PATCH, "/v1/devices/nobody/desired", &json!({})).await?, 404).await?;
    problem(api.send(Method::DELETE, "/v1/devices/nobody", &json!({})).await?, 404).await?;
    for list in ["rules", "receivers"] {
        problem(api.get(&format!("/v1/{list}/01890000-0000-7000-8000-000000000000")).await?, 404).await?;
        problem(api.get(&format!("/v1/{list}/first")).await?, 400).await?;
    }
    problem(api.get("/v1/nothing").await?, 404).await?;
    problem(api.send(Method::DELETE, "/v1/devices", &json!({})).await?, 405).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn documents() -> Result<()> {
    let (_service, api) = service().await?;
    let post = |body: String| api.request(Method::POST, "/v1/devices/d/state").body(body).send();
    says(post("{".into()).await?, 400, "isn't JSON").await?;
    says(post("[]".into()).await?, 400, "an array").await?;
    says(post(r#"{"a":"\u0000"}"#.into()).await?, 400, "u0000").await?;
    says(post(format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9))).await?, 413, "deeper").await?;
    says(post(format!(r#"{{"a":"{}"}}"#, "x".repeat(70_000))).await?, 413, "65536 are allowed").await?;
    problem(post(format!(r#"{{"a":"{}"}}"#, "x".repeat(2_000_000))).await?, 413).await?;
    let put = |body: &'static str| {
        let request = api.request(Method::PUT, "/v1/devices/e").header("content-type", "application/json");
        request.body(body).send()
    };
    problem(put("{").await?, 400).await?;
    let unknown = problem(put(r#"{"tag":{}}"#).await?, 422).await?;
    ensure!(unknown["detail"].to_string().contains("tag"), "{unknown}");
    problem(api.request(Method::PUT, "/v1/devices/e").body("{}").send().await?, 415).await?;
    ensure!(api.json("/v1/devices/e").await.is_err(), "none of them registered it");

    let patch = |path: &str, version: &str| {
        api.request(Method::PATCH, &format!("/v1/devices/d/{path}"))
            .header("If-Match", version)
            .body(r#"{"a":1}"#)
            .send()
    };
    let etag = api.get("/v1/devices/d").await?.headers()["etag"].to_str()?.to_owned();
    for path in ["desired", "tags"] {
        says(patch(path, "\"99\"").await?, 412, "99").await?;
        problem(patch(path, "seven").await?, 400).await?;
    }
    ensure!(patch("desired", &etag).await?.status() == 200, "the version that it has");
    problem(patch("desired", &etag).await?, 412).await?;
    ensure!(patch("desired", "*").await?.status() == 200, "any version");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_rules_and_receivers() -> Result<()> {
    let (_service, api) = service().await?;
    let bad = problem(api.get("/v1/search?q=a%20battery%3C20").await?, 400).await?;
    ensure!(bad["column"] == 10 && bad["type"] == "bad-query", "{bad}");
    ensure!(bad["expected"].is_string() && bad["suggestion"] == "battery:<20", "{bad}");
    let bad = problem(api.get("/v1/changes?q=(a%20OR").await?, 400).await?;
    ensure!(bad["column"].is_u64(), "{bad}");
    for path in ["search?sort=%3F%3F", "search?limit=many", "search?q=a&cursor=x", "search?after=x"] {
        problem(api.get(&format!("/v1/{path}")).await?, 400).await?;
    }
    for path in ["devices?cursor=a%20b", "devices/d/history?cursor=x", "devices/d/history?from=noon"] {
        problem(api.get(&format!("/v1/{path}")).await?, 400).await?;
    }
    for path in ["deliveries?state=lost", "deliveries?cursor=x", "dead-letters?cursor=x", "usage?from=x"] {
        problem(api.get(&format!("/v1/{path}")).await?, 400).await?;
    }
    let resumed = api.request(Method::GET, "/v1/changes").header("Last-Event-ID", "x").send().await?;
    says(resumed, 400, "Last-Event-ID").await?;

    let rule = |change: Value| {
        let mut form = json!({ "name": "low", "query": "battery:<20", "title": "{device}" });
        for (name, value) in change.as_object().into_iter().flatten() {
            form[name] = value.clone();
        }
        form
    };
    let rules = [
        (json!({ "quary": "a" }), 422, "quary"),
        (json!({ "query": "battery<20" }), 400, "column 8"),
        (json!({ "query": "seen:<-1h" }), 400, "relative to now"),
        (json!({ "title": "{device" }), 400, "title, column 1"),
        (json!({ "name": "" }), 400, "name must be"),
        (json!({ "ttl_s": 0 }), 400, "ttl_s must be"),
    ];
    for (change, status, words) in rules {
        says(api.send(Method::POST, "/v1/rules", &rule(change)).await?, status, words).await?;
    }
    let receiver = |url: &str| json!({ "name": "r", "kind": "webhook", "url": url });
    let private =
        ["http://127.0.0.1/", "http://localhost:80/", "http://[::1]/", "http://10.1.2.3/", "http://0x7f.1/"];
    for url in private.iter().chain(&["http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]/"]) {
        says(api.send(Method::POST, "/v1/receivers", &receiver(url)).await?, 400, "private").await?;
    }
    for url in ["ftp://example.org/", "nonsense", "https://me:secret@example.org/"] {
        problem(api.send(Method::POST, "/v1/receivers", &receiver(url)).await?, 400).await?;
    }
    problem(api.send(Method::POST, "/v1/receivers", &json!({ "name": "r", "kind": "webhook" })).await?, 400)
        .await?;
    problem(api.send(Method::POST, "/v1/receivers", &json!({ "name": "r", "kind": "pigeon" })).await?, 422)
        .await?;
    let saved = api.json("/v1/receivers").await?;
    ensure!(saved["items"] == json!([]), "{saved}");
    let fine = api.send(Method::POST, "/v1/receivers", &receiver("https://example.org/hook")).await?;
    ensure!(fine.status() == 201, "{}", fine.status());
    Ok(())
}
