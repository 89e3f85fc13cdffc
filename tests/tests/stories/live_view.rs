//! A query as a live view: whoever follows it, however often it has to come back, sees each state of each device
//! that is in it, once and in order, and ends up with what a search finds.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Events, Service, wait};

/// `x:<5 -tags.site:lab`
const QUERY: &str = "x:%3C5%20-tags.site:lab";
const DEVICES: usize = 5;
const WRITES: usize = 400;
const FOLLOWERS: u64 = 3;

/// What was told of a device, or should be: the name of each event, and the version of the twin.
type Told = BTreeMap<String, Vec<(String, u64)>>;

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_come_and_go_miss_nothing() -> Result<()> {
    let seed = rand::random::<u64>();
    let mut random = StdRng::seed_from_u64(seed);
    let mut service = Service::start()?;
    let api = service.api();
    let followers: Vec<_> =
        (0..FOLLOWERS).map(|n| tokio::spawn(follow(api.clone(), StdRng::seed_from_u64(seed ^ n)))).collect();

    let mut fleet = vec![Device::default(); DEVICES];
    let mut expected = Told::new();
    for n in 0..WRITES {
        if n == WRITES / 3 || n == WRITES * 2 / 3 {
            service.kill()?;
            service.restart()?;
        }
        let number = random.random_range(0..DEVICES);
        let name = format!("d-{number}");
        let device = &mut fleet[number];
        let was = device.matches();
        if device.version > 0 && random.random_ratio(1, 4) {
            device.lab = random.random_bool(0.5);
            let site = if device.lab { json!("lab") } else { Value::Null };
            api.call(Method::PATCH, &format!("/v1/devices/{name}/tags"), &json!({ "site": site })).await?;
        } else {
            let x = random.random_range(0..10_u64);
            device.x = Some(x);
            let state = json!({ "x": x, "deep": { "n": n } });
            api.call(Method::POST, &format!("/v1/devices/{name}/state"), &state).await?;
        }
        device.version += 1;
        let event = match (was, device.matches()) {
            (false, true) => "enter",
            (true, false) => "leave",
            (true, true) => "change",
            (false, false) => continue,
        };
        expected.entry(name).or_default().push((event.to_owned(), device.version));
    }
    api.call(Method::POST, "/v1/devices/end/state", &json!({ "x": 0 })).await?;

    let found = api.json(&format!("/v1/search?q={QUERY}&after=now&sort=id")).await?;
    let found: Vec<&str> =
        found["items"].as_array().context("items")?.iter().filter_map(|t| t["device"].as_str()).collect();
    for follower in followers {
        let told = follower.await??;
        ensure!(told == expected, "seed {seed}\n told {told:?}\n not {expected:?}");
        let within = told.iter().filter(|(_, told)| told.last().is_some_and(|(name, _)| name != "leave"));
        let within: Vec<&str> = within.map(|(name, _)| name.as_str()).chain(["end"]).collect();
        ensure!(within == found, "{within:?} but a search finds {found:?}");
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Device {
    version: u64,
    x: Option<u64>,
    lab: bool,
}

impl Device {
    fn matches(&self) -> bool {
        self.x.is_some_and(|x| x < 5) && !self.lab
    }
}

/// Follows, reads some events, goes away, comes back for the rest, until the device `end` enters.
async fn follow(api: Api, mut random: StdRng) -> Result<Told> {
    let path = format!("/v1/changes?q={QUERY}&snapshot=true");
    let (mut told, mut last) = (Told::new(), None::<String>);
    loop {
        let mut events = wait::until("the stream opens", || async {
            Events::open(&api, &path, last.as_deref()).await.ok()
        })
        .await?;
        for _ in 0..random.random_range(1..40) {
            let Ok(event) = events.next().await else { break };
            let device = event.data["device"].as_str().unwrap_or_default();
            match event.name.as_str() {
                "ready" => {}
                "enter" | "leave" | "change" if device == "end" => return Ok(told),
                "enter" | "leave" | "change" => {
                    let version = event.data["version"].as_u64().context("version")?;
                    let of_device = told.entry(device.to_owned()).or_default();
                    of_device.push((event.name.clone(), version));
                    let twin = &event.data["twin"]["version"];
                    ensure!(*twin == version, "{event:?}");
                }
                _ => bail!("unexpected: {event:?}"),
            }
            last = events.last_id().map(str::to_owned).or(last);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_first() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    for n in 0..12 {
        api.call(Method::POST, &format!("/v1/devices/d-{n}/state"), &json!({ "x": n })).await?;
    }
    let mut events = Events::open(&api, &format!("/v1/changes?q={QUERY}&snapshot=true"), None).await?;
    let mut first = Vec::new();
    loop {
        let event = events.next().await?;
        if event.name == "ready" {
            ensure!(event.id.parse().ok() == event.data["position"].as_u64(), "{event:?}");
            break;
        }
        ensure!(event.name == "enter" && event.id.is_empty(), "{event:?}");
        first.push(event.data["twin"]["reported"]["x"].as_u64().context("x")?);
    }
    ensure!(first == [0, 1, 2, 3, 4], "{first:?}");
    api.call(Method::POST, "/v1/devices/d-3/state", &json!({ "x": 9 })).await?;
    let leave = events.next().await?;
    ensure!(leave.name == "leave" && leave.data["device"] == "d-3", "{leave:?}");

    // Nobody can be shown everything in nothing.
    ensure!(api.get("/v1/changes?snapshot=true").await?.status() == 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_before_anything_was_told_misses_nothing() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let path = format!("/v1/changes?q={QUERY}");
    let last = Events::open(&api, &path, None).await?.mark().await?;
    for x in [9, 1] {
        api.call(Method::POST, "/v1/devices/d/state", &json!({ "x": x })).await?;
    }
    let mut events = Events::open(&api, &path, Some(&last)).await?;
    let enter = events.next().await?;
    ensure!(enter.name == "enter" && enter.data["device"] == "d", "{enter:?}");

    // While nothing happens within the query, the client learns how far it is all the same.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let position = api.call(Method::POST, "/v1/devices/e/state", &json!({ "x": 9 })).await?;
    let mark = events.mark().await?;
    ensure!(mark.parse::<u64>()? > enter.id.parse()?, "{mark} {position}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_breaks_off_begins_again() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    for n in 0..5 {
        api.call(Method::POST, &format!("/v1/devices/d-{n}/state"), &json!({ "x": n })).await?;
    }
    let path = format!("/v1/changes?q={QUERY}&snapshot=true");
    // A position of another database: what followed it can't be told.
    let far = "999999999999";
    for _ in 0..2 {
        let mut events = Events::open(&api, &path, Some(far)).await?;
        ensure!(events.next().await?.name == "reset" && events.next().await?.name == "enter");
        ensure!(events.last_id().is_none(), "who comes back must be reset again: {:?}", events.last_id());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_busy_fleet_becomes_what_a_search_finds() -> Result<()> {
    // Three pages of a snapshot.
    const DEVICES: u64 = 1_200;
    const WRITERS: u64 = 4;
    let seed = rand::random::<u64>();
    let service = Service::start()?;
    let api = service.api();
    let write = |from: StdRng, writes: u64| {
        let (api, mut random) = (api.clone(), from);
        async move {
            for _ in 0..writes {
                let path = format!("/v1/devices/d-{}", random.random_range(0..DEVICES));
                if random.random_ratio(1, 10) {
                    api.request(Method::DELETE, &path).send().await?;
                } else {
                    let state = json!({ "x": random.random_range(0..10) });
                    api.call(Method::POST, &format!("{path}/state"), &state).await?;
                }
            }
            anyhow::Ok(())
        }
    };
    let all = |writes: u64| {
        let writers =
            (0..WRITERS).map(|n| tokio::spawn(write(StdRng::seed_from_u64(seed ^ writes ^ n), writes)));
        futures::future::try_join_all(writers)
    };
    all(600).await?.into_iter().collect::<Result<Vec<_>>>()?;

    let mut views = Vec::new();
    let writing = tokio::spawn(all(400));
    for _ in 0..3 {
        views.push(View::shown(&api).await?);
    }
    writing.await??.into_iter().collect::<Result<Vec<_>>>()?;
    api.call(Method::POST, "/v1/devices/end/state", &json!({ "x": 0 })).await?;
    let (mut found, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let path = format!("/v1/search?q={QUERY}&after=now&sort=id&limit=200&cursor={cursor}");
        let page = api.json(&path).await?;
        let items = page["items"].as_array().context("items")?;
        found.extend(items.iter().filter_map(|twin| twin["device"].as_str().map(str::to_owned)));
        page["next_cursor"].as_str().unwrap_or_default().clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    for mut view in views {
        while !view.within.contains("end") {
            view.next().await?;
        }
        let within = view.within;
        ensure!(within == found, "seed {seed}: {:?}", within.symmetric_difference(&found));
    }
    Ok(())
}

/// Devices that are within the query, as one who follows it knows them.
struct View {
    events: Events,
    within: BTreeSet<String>,
}

impl View {
    /// After the whole snapshot.
    async fn shown(api: &Api) -> Result<Self> {
        let events = Events::open(api, &format!("/v1/changes?q={QUERY}&snapshot=true"), None).await?;
        let mut view = Self { events, within: BTreeSet::new() };
        while view.next().await? != "ready" {}
        Ok(view)
    }

    async fn next(&mut self) -> Result<String> {
        let event = self.events.next().await?;
        let device = event.data["device"].as_str().unwrap_or_default().to_owned();
        match event.name.as_str() {
            "enter" | "change" => self.within.insert(device),
            "leave" => self.within.remove(&device),
            "ready" => true,
            _ => bail!("unexpected: {event:?}"),
        };
        Ok(event.name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_come_and_go_by_the_passing_of_time() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    // Six seconds: long enough for a slow machine to open the stream, short enough to wait for.
    let path = "/v1/changes?q=seen:%3E-6s";
    let mut events = Events::open(&api, path, None).await?;
    ensure!(events.next().await?.name == "ready");
    api.call(Method::POST, "/v1/devices/d/state", &json!({ "x": 1 })).await?;
    let enter = events.next().await?;
    ensure!(enter.name == "enter" && enter.data["device"] == "d", "{enter:?}");
    let leave = events.next().await?;
    ensure!(leave.name == "leave" && leave.data["twin"]["reported"]["x"] == 1, "{leave:?}");
    ensure!(leave.data.get("position").is_none() && leave.id == enter.id, "{leave:?}");
    let spoken = enter.data["twin"]["received_at"].as_str().context("received_at")?;
    let silent = leave.data["at"].as_str().context("at")?;
    let silence =
        chrono::DateTime::parse_from_rfc3339(silent)? - chrono::DateTime::parse_from_rfc3339(spoken)?;
    ensure!(silence.num_milliseconds() >= 6_000, "{silence}");

    let mut again = Events::open(&api, path, Some(&leave.id)).await?;
    ensure!(again.next().await?.name == "reset" && again.next().await?.name == "ready");
    Ok(())
}
