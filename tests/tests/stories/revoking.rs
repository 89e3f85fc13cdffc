//! Whatever is taken away, by whomever, is gone at once: connections and live streams end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Events, Service, Version, Wire};

/// What a connection may take to end.
const AT_ONCE: Duration = Duration::from_secs(1);
/// So often it is tried: the machine may have been busy.
const ATTEMPTS: usize = 5;
/// An administrative action, in version 5.
const ADMINISTRATIVE: Option<u8> = Some(0x98);

async fn change(api: &Api, device: &str, credentials: &Value) -> Result<Value> {
    api.call(Method::PATCH, &format!("/v1/devices/{device}/credentials"), credentials).await
}

/// Waits until it is closed; says whether that was at once.
async fn ends(wire: &mut Wire, since: Instant) -> Result<bool> {
    ensure!(wire.closed().await? == ADMINISTRATIVE, "an administrative action");
    Ok(since.elapsed() < AT_ONCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_ends_what_it_opened() -> Result<()> {
    let service = Service::start_with(&[])?;
    let mut at_once = false;
    for _ in 0..ATTEMPTS {
        let key = service.key("default").await?;
        let api = service.api().with_key(&key);
        let mut wire = Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await?;
        let mut events = Events::open(&api, "/v1/changes", None).await?;
        let list = service.cli(&["key", "list"]).await?.ok()?;
        let id = list.lines().last().and_then(|line| line.split_whitespace().next()).context("an id")?;
        // By another program, straight in the database.
        service.cli(&["key", "revoke", id]).await?.ok()?;
        at_once |= ends(&mut wire, Instant::now()).await?;
        ensure!(events.next().await.is_err_and(|end| end.to_string().contains("ended")), "the stream ends");
        ensure!(api.get("/v1/devices").await?.status() == 401);
        ensure!(Wire::connect(&service.mqtt, Version::V5, "", "key", &key).await.is_err());
    }
    ensure!(at_once, "never within a second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_credential_of_a_device_goes_by_itself() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let token = api.register("a").await?;
    let shown = change(&api, "a", &json!({ "password": "correct horse" })).await?;
    ensure!(shown["token"] == true && shown["password"] == true && !shown.to_string().contains("argon2"));
    let mut by_token = Wire::connect(&service.mqtt, Version::V5, "t", "a", &token).await?;
    let mut by_password = Wire::connect(&service.mqtt, Version::V5, "p", "a", "correct horse").await?;
    let connect = async |secret: &str| Wire::connect(&service.mqtt, Version::V5, "x", "a", secret).await;
    ensure!(connect("correct house").await.is_err(), "another password");

    change(&api, "a", &json!({ "password": "battery staple" })).await?;
    ensure!(by_password.closed().await? == ADMINISTRATIVE);
    by_token.ping().await.context("its token is as it was")?;
    ensure!(connect("correct horse").await.is_err());
    let mut by_password = connect("battery staple").await?;

    change(&api, "a", &json!({ "token": null })).await?;
    ensure!(by_token.closed().await? == ADMINISTRATIVE);
    by_password.ping().await.context("its password is as it was")?;
    ensure!(connect(&token).await.is_err());
    let again = api.call(Method::PUT, "/v1/devices/a", &json!({})).await?;
    ensure!(again["token"].is_null(), "it still has a way in: {again}");

    let shown = change(&api, "a", &json!({ "password": null })).await?;
    ensure!(by_password.closed().await? == ADMINISTRATIVE);
    ensure!(shown["token"] == false && shown["password"] == false, "{shown}");
    ensure!(connect("battery staple").await.is_err());
    for bad in [json!("short"), json!(&token), json!("x".repeat(129))] {
        let answer =
            api.send(Method::PATCH, "/v1/devices/a/credentials", &json!({ "password": bad })).await?;
        ensure!(answer.status() == 400, "{bad}");
    }
    let bad = json!({ "certificates": ["00:11"] });
    ensure!(api.send(Method::PATCH, "/v1/devices/a/credentials", &bad).await?.status() == 400);
    ensure!(api.send(Method::PATCH, "/v1/devices/nobody/credentials", &json!({})).await?.status() == 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_nobody_heard_is_found_out() -> Result<()> {
    let service = Service::start_with(&[])?;
    let key = service.key("default").await?;
    let api = service.api().with_key(&key);
    let (stays, goes) = (api.register("stays").await?, api.register("goes").await?);
    let mut stays = Wire::connect(&service.mqtt, Version::V5, "", "stays", &stays).await?;
    let mut goes = Wire::connect(&service.mqtt, Version::V5, "", "goes", &goes).await?;
    let mut database = service.database().await?;
    // The trigger doesn't speak, and then the connection that hears is cut.
    for statement in [
        "SET session_replication_role = replica",
        "DELETE FROM device_credentials WHERE device = 'goes'",
        "SET session_replication_role = DEFAULT",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
    ] {
        sqlx::query(statement).execute(&mut database).await.context(statement)?;
    }
    ensure!(goes.closed().await? == ADMINISTRATIVE);
    stays.ping().await
}
