//! The console in a real browser: it shows devices, what they report as text, and changes as they happen.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service, wait};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A browser without a window, driven over WebDriver. Ends with this value.
struct Browser {
    _driver: Child,
    api: Api,
    session: String,
}

impl Browser {
    async fn start() -> Result<Self> {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("is chromedriver installed? run `make deps`")?;
        let mut lines = BufReader::new(driver.stdout.take().context("stdout")?).lines();
        let port = loop {
            let line = lines.next_line().await?.context("chromedriver ended")?;
            if let Some(port) = line.strip_prefix("ChromeDriver was started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let api = Api::new(&format!("127.0.0.1:{port}"));
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let made = api.call(Method::POST, "/session", &wanted).await?;
        let session = made["value"]["sessionId"].as_str().context("no session")?.to_owned();
        Ok(Self { _driver: driver, api, session })
    }

    async fn open(&self, url: &str) -> Result<()> {
        let path = format!("/session/{}/url", self.session);
        self.api.call(Method::POST, &path, &json!({ "url": url })).await.map(drop)
    }

    /// What a script returns.
    async fn run(&self, script: &str) -> Result<Value> {
        let path = format!("/session/{}/execute/sync", self.session);
        let answer = self.api.call(Method::POST, &path, &json!({ "script": script, "args": [] })).await?;
        Ok(answer["value"].clone())
    }

    /// Waits until a script returns true.
    async fn until(&self, script: &str) -> Result<()> {
        wait::until(script, || async { (self.run(script).await.ok()? == true).then_some(()) }).await
    }

    async fn close(self) -> Result<()> {
        self.api.request(Method::DELETE, &format!("/session/{}", self.session)).send().await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_shown_and_change_as_they_do() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let state = "/v1/devices/boiler-1/state";
    api.call(Method::POST, state, &json!({ "type": "boiler", "note": "<b id=bold>bold</b>" })).await?;
    let browser = Browser::start().await?;
    browser.open(&format!("http://{}/#devices/boiler-1", service.http)).await?;
    browser.until("return document.getElementById('device-name').textContent === 'boiler-1'").await?;
    browser.until("return document.querySelectorAll('#rows tr[data-device=boiler-1]').length === 1").await?;
    let injected = browser.run("return document.getElementById('bold') !== null").await?;
    ensure!(injected == false, "what a device reports became part of the page");
    // The live stream is open once the page says so; what changes then is shown without a search.
    browser.until("return document.getElementById('status').textContent.includes('live')").await?;
    let mut temperature = 60;
    wait::until("the row follows", || {
        temperature += 1;
        let (api, browser, reported) = (&api, &browser, json!({ "temperature": temperature }));
        async move {
            api.call(Method::POST, state, &reported).await.ok()?;
            let row = browser.run("return document.querySelector('#rows tr').textContent").await.ok()?;
            row.as_str()?.contains("\"temperature\":").then_some(())
        }
    })
    .await?;
    // A query is told back, with what was perhaps meant.
    browser.run("query.value = 'tipe:boiler'; document.getElementById('search').requestSubmit()").await?;
    let told = "return document.getElementById('sentence').textContent";
    browser
        .until(&format!("{told}.includes('tipe is boiler') && {}.includes('mean type?')", &told[7..]))
        .await?;
    // A query that can't be understood says where.
    browser.run("query.value = 'battery:<'; document.getElementById('search').requestSubmit()").await?;
    browser.until("return document.getElementById('status').textContent.includes('column')").await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_completed_and_what_it_finds_is_summed_up() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    for (device, battery, note) in [("b1", 12, "<i>Bold</i> text"), ("b2", 48, "plain"), ("b3", 90, "bold")] {
        let state = json!({ "kind": "pump", "battery": battery, "note": note });
        api.call(Method::POST, &format!("/v1/devices/{device}/state"), &state).await?;
    }
    api.json("/v1/search?after=now").await?;
    let browser = Browser::start().await?;
    let asked = "query=bold&facets=kind&stats=battery&histograms=battery:10";
    browser.open(&format!("http://{}/?{asked}", service.http)).await?;
    browser.until("return document.querySelectorAll('#rows tr').length === 2").await?;
    browser.until("return document.querySelectorAll('#figures table').length === 3").await?;
    let marked =
        browser.run("return [...document.querySelectorAll('mark')].map((m) => m.textContent)").await?;
    ensure!(marked == json!(["Bold", "bold"]), "{marked}");
    ensure!(browser.run("return document.querySelector('i') === null").await? == true, "markup of a device");

    // The keys of a list that completes.
    browser
        .run(
            "window.key = (key) => query.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
             query.focus(); query.value = 'bold ba'; query.dispatchEvent(new Event('input'))",
        )
        .await?;
    browser.until("return document.querySelectorAll('#completions li').length > 0").await?;
    browser.run("key('ArrowDown'); key('Enter')").await?;
    browser.until("return query.value === 'bold battery:'").await?;
    browser.until("return document.querySelector('#completions li')?.textContent.startsWith('12')").await?;
    browser.run("key('Escape')").await?;
    browser.until("return document.getElementById('completions').hidden").await?;

    // What nothing is found by is corrected when somebody says so.
    browser.run("query.value = 'blod'; document.getElementById('search').requestSubmit()").await?;
    browser.until("return document.querySelector('#meant button')?.textContent === 'bold'").await?;
    browser.run("document.querySelector('#meant button').click()").await?;
    browser.until("return document.querySelectorAll('#rows tr').length === 2").await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_query_shows_how_many_it_finds_and_follows() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    api.call(Method::POST, "/v1/devices/p1/state", &json!({ "battery": 12 })).await?;
    let browser = Browser::start().await?;
    browser.open(&format!("http://{}/?query=battery:<20", service.http)).await?;
    browser.until("return document.querySelectorAll('#rows tr').length === 1").await?;
    browser
        .run("more.open = true; document.getElementById('save-name').value = '<b>low'; document.getElementById('save').click()")
        .await?;
    let count = "return document.querySelector('#saved button')?.textContent === '<b>low 1'";
    browser.until(count).await?;
    api.call(Method::POST, "/v1/devices/p2/state", &json!({ "battery": 3 })).await?;
    browser.until(&count.replace("low 1", "low 2")).await?;
    browser.run("query.value = ''; document.querySelector('#saved button').click()").await?;
    browser.until("return query.value === 'battery:<20'").await?;
    browser.run("document.querySelector('#saved button:last-child').click()").await?;
    browser.until("return document.querySelectorAll('#saved button').length === 0").await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_come_as_they_are_raised_and_are_acknowledged_with_a_button() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let rule = json!({ "name": "hot", "query": "temperature:>80", "title": "t", "severity": "critical" });
    api.call(Method::POST, "/v1/rules", &rule).await?;
    let browser = Browser::start().await?;
    browser.open(&format!("http://{}/#alarms", service.http)).await?;
    browser.until("return document.getElementById('alarm-status').textContent.includes('0 active')").await?;
    api.call(Method::POST, "/v1/devices/boiler-1/state", &json!({ "temperature": 90 })).await?;
    let row = "const row = document.querySelector('#alarm-rows tr')?.textContent ?? '';";
    browser.until(&format!("{row} return row.includes('criticalboiler-1hotactive')")).await?;
    browser.run("[...document.querySelectorAll('.actions button')].find((b) => b.textContent === 'Acknowledge').click()").await?;
    browser.until(&format!("{row} return row.includes('acknowledged by')")).await?;
    browser.run("[...document.querySelectorAll('.actions button')].find((b) => b.textContent.startsWith('Shelve')).click()").await?;
    browser.until(&format!("{row} return row.includes('shelved until')")).await?;
    let alarms = api.json("/v1/alarms?state=active&acknowledged=true").await?;
    ensure!(alarms["items"][0]["shelved_until"].is_string(), "{alarms}");
    browser.close().await
}
