//! Who is told, when, and why not: people, their quiet hours and mutes, live first, grouped, and every step explained.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, future, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection as _;
use statecast_tests::{Api, Events, Hook, Service, Version, Wire, wait};

use crate::agreement::report;

/// Alarms of the story that counts.
const ALARMS: usize = 10_000;
/// Calls at the same time, where there are thousands.
const CALLS: usize = 16;
/// Alarms that come at once.
const AT_ONCE: usize = 50;
/// How long the phone waits for the app that follows live.
const LIVE_FIRST: Duration = Duration::from_secs(3);

/// Makes a person, and gives what the app of that person calls with.
async fn person(api: &Api, id: &str, form: &Value) -> Result<Api> {
    api.call(Method::PUT, &format!("/v1/people/{id}"), form).await?;
    let key = json!({ "name": format!("app of {id}"), "scopes": ["receive"], "person": id });
    let made = api.call(Method::POST, "/v1/keys", &key).await?;
    Ok(api.clone().with_key(made["key"].as_str().context("a key")?))
}

/// Gives a person a phone, and what that is told.
async fn phone(app: &Api, name: &str) -> Result<Hook> {
    let hook = Hook::start().await?;
    let form = json!({ "kind": "webhook", "url": hook.url });
    app.call(Method::PUT, &format!("/v1/me/receivers/{name}"), &form).await?;
    Ok(hook)
}

async fn rule(api: &Api, changes: &Value) -> Result<String> {
    let mut rule = json!({ "name": "alarm", "query": "alarm:true", "title": "{device} has an alarm" });
    rule.as_object_mut().context("a rule")?.extend(changes.as_object().context("changes")?.clone());
    let made = api.call(Method::POST, "/v1/rules", &rule).await?;
    Ok(made["id"].as_str().context("id")?.to_owned())
}

/// The deliveries about a device, once there are as many as that, none of them waiting.
async fn settled(api: &Api, device: &str, count: usize) -> Result<Vec<Value>> {
    let path = format!("/v1/deliveries?device={device}");
    wait::until(&format!("{count} deliveries about {device} to be done"), || async {
        let items = api.json(&path).await.ok()?["items"].as_array()?.clone();
        let done = items.len() >= count && items.iter().all(|item| item["state"] != "waiting");
        done.then_some(items)
    })
    .await
}

/// The codes of the explanation of the alarm that a delivery or a decision is about.
async fn explained(api: &Api, alarm: &str, person: &str) -> Result<Vec<String>> {
    let found = api.json(&format!("/v1/alarms/{alarm}/explain?person={person}")).await?;
    let steps = found["steps"].as_array().context("steps")?;
    Ok(steps.iter().filter_map(|step| step["code"].as_str().map(str::to_owned)).collect())
}

async fn alarm_of(service: &Service, device: &str) -> Result<String> {
    let mut database = service.database().await?;
    let sql = "SELECT id::text FROM alarms WHERE tenant = 'default' AND device = $1";
    let id: String = sqlx::query_scalar(sql).bind(device).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_does_not_want_is_held_or_not_told_and_that_is_explained() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let always = json!([{ "from": "00:00", "to": "00:00" }]);
    let quiet = person(&api, "quiet", &json!({ "quiet": always })).await?;
    let muted = person(&api, "muted", &json!({ "mutes": [{ "query": "site:lab" }] })).await?;
    let calm = person(&api, "calm", &json!({ "least_severity": "major" })).await?;
    person(&api, "alone", &json!({})).await?;
    let mut quiet_phone = phone(&quiet, "phone").await?;
    let mut muted_phone = phone(&muted, "phone").await?;
    let _calm_phone = phone(&calm, "phone").await?;
    let levels = json!([{ "severity": "critical", "query": "fire:true" }]);
    let people = json!(["quiet", "muted", "calm", "alone", "nobody"]);
    rule(&api, &json!({ "people": people, "levels": levels, "ttl_s": 604_800 })).await?;

    // Not told: each for a reason of its own.
    report(&api, "a", &json!({ "alarm": true, "site": "lab" })).await?;
    let alarm = alarm_of(&service, "a").await?;
    for (person, code) in [
        ("quiet", "quiet"),
        ("muted", "muted"),
        ("calm", "below_severity"),
        ("alone", "no_receiver"),
        ("nobody", "no_receiver"),
    ] {
        let codes = explained(&api, &alarm, person).await?;
        ensure!(codes == ["matched", code], "{person}: {codes:?}");
    }
    // Told: who muted another site, and what is critical is told at any time.
    report(&api, "b", &json!({ "alarm": true, "site": "roof" })).await?;
    ensure!(muted_phone.next().await?.json()?["device"] == "b");
    report(&api, "c", &json!({ "alarm": true, "fire": true, "site": "lab" })).await?;
    let told = quiet_phone.next().await?.json()?;
    ensure!(told["device"] == "c" && told["alarm"]["severity"] == "critical", "{told}");

    // Who has no quiet hours any more is told.
    quiet.call(Method::PATCH, "/v1/me", &json!({ "quiet": [] })).await?;
    report(&api, "d", &json!({ "alarm": true })).await?;
    ensure!(quiet_phone.next().await?.json()?["device"] == "d");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_alarms_of_one_person_become_few_notifications() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let anna = person(&api, "anna", &json!({})).await?;
    let mut phone = phone(&anna, "phone").await?;
    rule(&api, &json!({ "people": ["anna"] })).await?;
    for n in 0..AT_ONCE {
        report(&api, &format!("d{n}"), &json!({ "alarm": true })).await?;
    }
    let (mut calls, mut told) = (0, 0);
    while told < AT_ONCE {
        let body = phone.next().await?.json()?;
        told += usize::try_from(body["group"]["count"].as_u64().unwrap_or(1))?;
        calls += 1;
    }
    ensure!(told == AT_ONCE, "{told} were told of {AT_ONCE}");
    ensure!(calls <= 5, "{calls} notifications for {AT_ONCE} alarms");
    for n in 0..AT_ONCE {
        let done = settled(&api, &format!("d{n}"), 1).await?;
        ensure!(
            ["delivered", "grouped"].contains(&done[0]["state"].as_str().unwrap_or_default()),
            "{done:?}"
        );
    }
    // What went with another was received with it.
    let grouped = api.json("/v1/deliveries?state=grouped&limit=1").await?["items"][0].clone();
    let leader = grouped["leader"].as_str().context("a leader")?;
    let received = anna.send(Method::POST, &format!("/v1/deliveries/{leader}/received"), &json!({})).await?;
    ensure!(received.status() == StatusCode::NO_CONTENT);
    let device = grouped["device"].as_str().context("a device")?;
    ensure!(settled(&api, device, 1).await?[0]["received_at"].is_string());
    let codes = explained(&api, grouped["alarm"].as_str().context("an alarm")?, "anna").await?;
    ensure!(codes.contains(&"grouped".to_owned()) && codes.contains(&"received".to_owned()), "{codes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_is_told_first_and_the_phone_only_if_that_is_not_confirmed() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let anna = person(&api, "anna", &json!({})).await?;
    let mut phone = phone(&anna, "phone").await?;
    anna.call(Method::PUT, "/v1/me/receivers/app", &json!({ "kind": "live" })).await?;
    rule(&api, &json!({ "people": ["anna"] })).await?;
    let mut live = Events::open(&anna, "/v1/me/live", None).await?;

    report(&api, "seen", &json!({ "alarm": true })).await?;
    let first = live.next().await?;
    ensure!((first.name.as_str(), &first.data["device"]) == ("notification", &json!("seen")), "{first:?}");
    let id = first.data["id"].as_str().context("id")?;
    let confirmed = anna.send(Method::POST, &format!("/v1/deliveries/{id}/received"), &json!({})).await?;
    ensure!(confirmed.status() == StatusCode::NO_CONTENT);
    let mut states: Vec<Value> =
        settled(&api, "seen", 2).await?.into_iter().map(|item| item["state"].clone()).collect();
    states.sort_by_key(Value::to_string);
    ensure!(states == ["confirmed", "delivered"], "{states:?}");

    let begun = Instant::now();
    report(&api, "unseen", &json!({ "alarm": true })).await?;
    ensure!(live.next().await?.data["device"] == "unseen");
    let told = phone.next().await?.json()?;
    ensure!(told["device"] == "unseen", "what was confirmed is not told: {told}");
    ensure!(begun.elapsed() >= LIVE_FIRST, "{:?}", begun.elapsed());

    // Who comes back is told what it missed.
    drop(live);
    report(&api, "missed", &json!({ "alarm": true })).await?;
    let mut live = Events::open(&anna, "/v1/me/live", Some(&first.id)).await?;
    ensure!(live.next().await?.data["device"] == "unseen");
    ensure!(live.next().await?.data["device"] == "missed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_by_mqtt_is_told_first_too() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let anna = person(&api, "anna", &json!({})).await?;
    let mut phone = phone(&anna, "phone").await?;
    let app = json!({ "name": "app", "kind": "mqtt", "topic": "people/anna", "person": "anna" });
    api.call(Method::POST, "/v1/receivers", &app).await?;
    let mut app = Wire::connect(&service.mqtt, Version::V5, "app", "app", "").await?;
    app.subscribe("people/anna", 1).await?;
    rule(&api, &json!({ "people": ["anna"] })).await?;

    report(&api, "seen", &json!({ "alarm": true })).await?;
    let told: Value = serde_json::from_slice(&app.message().await?.payload)?;
    ensure!(told["device"] == "seen", "{told}");
    let (id, ticket) = (told["id"].as_str().context("id")?, told["token"].as_str().context("a ticket")?);
    let holder = api.clone().with_key(ticket);
    let confirmed = holder.send(Method::POST, &format!("/v1/deliveries/{id}/received"), &json!({})).await?;
    ensure!(confirmed.status() == StatusCode::NO_CONTENT, "{}", confirmed.status());
    let done = settled(&api, "seen", 2).await?;
    ensure!(done.iter().any(|item| item["state"] == "confirmed"), "{done:?}");

    report(&api, "unseen", &json!({ "alarm": true })).await?;
    let told = phone.next().await?.json()?;
    ensure!(told["device"] == "unseen", "what was confirmed is not told: {told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_person_shows_nobody_else() -> Result<()> {
    let service = Service::start_with(&[])?;
    let admin = service.api().with_key(&service.key("default").await?);
    let anna = person(&admin, "anna", &json!({ "name": "Anna" })).await?;
    let ben = person(&admin, "ben", &json!({})).await?;
    let me = anna.json("/v1/me").await?;
    ensure!((&me["id"], &me["receivers"]) == (&json!("anna"), &json!([])), "{me}");

    // The same name is another receiver for another person; the same again is the same.
    let form = json!({ "kind": "live" });
    let first = anna.call(Method::PUT, "/v1/me/receivers/phone", &form).await?;
    let again = anna.call(Method::PUT, "/v1/me/receivers/phone", &form).await?;
    let other = ben.call(Method::PUT, "/v1/me/receivers/phone", &form).await?;
    ensure!(first["id"] == again["id"] && first["id"] != other["id"]);
    ensure!(anna.send(Method::DELETE, "/v1/me/receivers/phone", &json!({})).await?.status() == 204);
    ensure!(ben.json("/v1/me").await?["receivers"].as_array().map(Vec::len) == Some(1));

    for path in [
        "/v1/people",
        "/v1/people/anna",
        "/v1/receivers",
        "/v1/rules",
        "/v1/devices",
        "/v1/deliveries",
        "/v1/keys",
        "/v1/deliveries/live",
    ] {
        let answer = anna.get(path).await?;
        ensure!(answer.status() == StatusCode::FORBIDDEN, "{path}: {}", answer.status());
    }
    // Who says more than what it may about itself is refused, and so is who is nobody.
    for (path, body) in [
        ("/v1/me", json!({ "tags": { "team": "ops" } })),
        ("/v1/me", json!({ "time_zone": "Nowhere" })),
        ("/v1/me/receivers/x", json!({ "kind": "live", "person": "ben" })),
        ("/v1/me/receivers/x", json!({ "kind": "mqtt", "topic": "a" })),
    ] {
        let method = if path == "/v1/me" { Method::PATCH } else { Method::PUT };
        let answer = anna.send(method, path, &body).await?;
        ensure!(answer.status().is_client_error(), "{path} {body}: {}", answer.status());
    }
    ensure!(admin.get("/v1/me").await?.status() == StatusCode::FORBIDDEN);
    for key in [json!({ "scopes": ["receive"] }), json!({ "scopes": ["read"], "person": "anna" })] {
        let mut key = key;
        key["name"] = json!("odd");
        ensure!(admin.send(Method::POST, "/v1/keys", &key).await?.status() == StatusCode::BAD_REQUEST);
    }

    // Nobody else's notification can be confirmed.
    rule(&admin, &json!({ "people": ["ben"] })).await?;
    admin.call(Method::PUT, "/v1/devices/d", &json!({})).await?;
    report(&admin, "d", &json!({ "alarm": true })).await?;
    let told = settled(&admin, "d", 1).await?;
    let path = format!("/v1/deliveries/{}/received", told[0]["id"].as_str().context("id")?);
    ensure!(anna.send(Method::POST, &path, &json!({})).await?.status() == StatusCode::NOT_FOUND);
    ensure!(ben.send(Method::POST, &path, &json!({})).await?.status() == StatusCode::NO_CONTENT);

    // With the person its keys go.
    ensure!(admin.send(Method::DELETE, "/v1/people/anna", &json!({})).await?.status() == 204);
    wait::until("the key of a removed person to be worthless", || async {
        let answer = anna.get("/v1/me").await.ok()?;
        (answer.status() == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_candidate_is_sent_or_explained() -> Result<()> {
    // What one claim finds is grouped: twenty groups, so they mustn't be far apart.
    let settings = tempfile::NamedTempFile::new()?;
    std::fs::write(&settings, "[push]\ngroup_interval_ms = 500\n")?;
    let service = Service::start_with(&["--dev", "--config", &settings.path().display().to_string()])?;
    let api = service.api();
    let always = json!([{ "from": "00:00", "to": "00:00" }]);
    let anna = person(&api, "anna", &json!({ "tags": { "team": "ops" } })).await?;
    let quiet = person(&api, "quiet", &json!({ "quiet": always, "tags": { "team": "ops" } })).await?;
    let muted =
        person(&api, "muted", &json!({ "mutes": [{ "query": "n:<500" }], "tags": { "team": "ops" } }))
            .await?;
    person(&api, "alone", &json!({ "tags": { "team": "ops" } })).await?;
    let _anna = phone(&anna, "phone").await?;
    anna.call(Method::PUT, "/v1/me/receivers/app", &json!({ "kind": "live" })).await?;
    let _quiet = phone(&quiet, "phone").await?;
    let _muted = phone(&muted, "phone").await?;
    rule(&api, &json!({ "audience": "team:ops", "ttl_s": 3_600 })).await?;
    let reports = (0..ALARMS).map(|n| {
        let api = api.clone();
        async move { report(&api, &format!("d{n}"), &json!({ "alarm": true, "n": n })).await }
    });
    stream::iter(reports).buffer_unordered(CALLS).try_for_each(|_| future::ok(())).await?;
    wait::until("nothing to wait", || async {
        let waiting = api.json("/v1/deliveries?state=waiting&limit=1").await.ok()?;
        waiting["items"].as_array()?.is_empty().then_some(())
    })
    .await?;

    let mut database = service.database().await?;
    let alarms: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM alarms").fetch_all(&mut database).await?;
    ensure!(alarms.len() == ALARMS, "{} alarms", alarms.len());
    let asked = alarms.iter().map(|alarm| {
        let (api, path) = (api.clone(), format!("/v1/alarms/{alarm}/explain"));
        async move { api.json(&path).await }
    });
    let (mut candidates, mut sent, mut explained) = (0, 0, 0);
    let mut answers = stream::iter(asked).buffer_unordered(CALLS);
    while let Some(found) = answers.try_next().await? {
        let count = |name: &str| found[name].as_i64().with_context(|| format!("{name} in {found}"));
        ensure!(count("waiting")? == 0 && found["truncated"] == false, "{found}");
        (candidates, sent, explained) =
            (candidates + count("candidates")?, sent + count("sent")?, explained + count("explained")?);
    }
    // Two ways of anna, and three who have one or none.
    ensure!(candidates == 5 * i64::try_from(ALARMS)?, "{candidates} candidates");
    ensure!(sent + explained == candidates, "{sent} sent, {explained} explained, {candidates} candidates");
    let (pushed, delivered, decided): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM pushes), (SELECT count(*) FROM pushes WHERE state = 'delivered'),
             (SELECT count(*) FROM decisions)",
    )
    .fetch_one(&mut database)
    .await?;
    eprintln!("{candidates} candidates: {sent} sent, {explained} explained");
    ensure!(pushed + decided == candidates && delivered == sent, "{pushed} {delivered} {decided}");
    database.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_acknowledges_its_alarm_and_the_other_phone_is_told() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let anna = person(&api, "anna", &json!({})).await?;
    let (mut phone, mut tablet) = (phone(&anna, "phone").await?, self::phone(&anna, "tablet").await?);
    rule(&api, &json!({ "people": ["anna"], "severity": "critical" })).await?;
    report(&api, "a", &json!({ "alarm": true })).await?;
    report(&api, "b", &json!({ "alarm": true })).await?;
    let told = phone.next().await?.json()?;
    let token = told["token"].as_str().context("a ticket")?.to_owned();
    let holder = api.clone().with_key(&token);
    let (alarm, version) = (told["alarm"]["id"].as_str().context("an alarm")?, &told["alarm"]["version"]);
    let device = told["device"].as_str().context("a device")?;
    let (first, second) = (tablet.next().await?.json()?, tablet.next().await?.json()?);
    let other = if first["device"] == device { &second } else { &first };

    // It is for this alarm and its device, and for nothing else.
    let other_alarm = other["alarm"]["id"].as_str().context("an alarm")?;
    let ack = json!({ "version": version, "note": "on my way" });
    let refused = holder.send(Method::POST, &format!("/v1/alarms/{other_alarm}/ack"), &ack).await?;
    ensure!(refused.status() == StatusCode::FORBIDDEN, "{}", refused.status());
    let forged = api.clone().with_key(&format!("{token}A"));
    let refused = forged.send(Method::POST, &format!("/v1/alarms/{alarm}/ack"), &ack).await?;
    ensure!(refused.status() == StatusCode::UNAUTHORIZED, "{}", refused.status());
    let elsewhere = format!("/v1/devices/{}/desired", other["device"].as_str().context("a device")?);
    ensure!(
        holder.send(Method::PATCH, &elsewhere, &json!({ "on": false })).await?.status()
            == StatusCode::FORBIDDEN
    );
    holder.call(Method::PATCH, &format!("/v1/devices/{device}/desired"), &json!({ "on": false })).await?;
    ensure!(api.json(&format!("/v1/devices/{device}")).await?["desired"]["on"] == false);

    let acknowledged = holder.call(Method::POST, &format!("/v1/alarms/{alarm}/ack"), &ack).await?;
    ensure!(acknowledged["acknowledged_by"] == "anna", "{acknowledged}");
    let update = tablet.next().await?.json()?;
    ensure!(update["type"] == "alarm.acknowledged" && update["alarm"]["id"] == alarm, "{update}");
    let codes = explained(&api, alarm, "anna").await?;
    ensure!(codes.contains(&"acknowledged".to_owned()), "{codes:?}");
    let found = api.json(&format!("/v1/alarms/{alarm}/explain")).await?;
    ensure!(!found.to_string().contains(&token), "what lets somebody act is not kept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_not_sent_once_somebody_took_note() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let anna = person(&api, "anna", &json!({})).await?;
    let _phone = phone(&anna, "phone").await?;
    anna.call(Method::PUT, "/v1/me/receivers/app", &json!({ "kind": "live" })).await?;
    rule(&api, &json!({ "people": ["anna"] })).await?;
    report(&api, "d", &json!({ "alarm": true })).await?;
    let alarm = alarm_of(&service, "d").await?;
    // Within the moment in which only the app is told. The update is for the app: the phone was never told.
    anna.call(Method::POST, &format!("/v1/alarms/{alarm}/ack"), &json!({ "version": 1 })).await?;
    let mut states: Vec<String> = settled(&api, "d", 4)
        .await?
        .iter()
        .map(|item| item["state"].as_str().unwrap_or_default().to_owned())
        .collect();
    states.sort();
    ensure!(states == ["delivered", "delivered", "needless", "superseded"], "{states:?}");
    Ok(())
}
