//! The README is true: every command of it that isn't `make` or `serve` is run as it stands there, with only the
//! addresses, the programs and the secrets put in.

use anyhow::{Context, Result, ensure};
use statecast_tests::Service;
use statecast_tests::command::run;
use statecast_tests::service::program;

const README: &str = include_str!("../../../README.md");

/// The shell block that holds a line.
fn block(line: &str) -> Result<&'static str> {
    let blocks =
        README.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    blocks.into_iter().find(|block| block.contains(line)).with_context(|| format!("no block with {line}"))
}

/// Runs a block as a shell would, against this service.
async fn shell(service: &Service, block: &str) -> Result<String> {
    let statecast = program("statecast")?;
    let block = block
        .replace("target/release/statecast", &statecast.display().to_string())
        .replace("127.0.0.1:8080", &service.http)
        .replace("mosquitto_pub ", &format!("mosquitto_pub -p {} ", service.mqtt_port()))
        .replace("mosquitto_sub ", &format!("timeout 20 mosquitto_sub -p {} ", service.mqtt_port()))
        // It follows until Ctrl-C.
        .replace(
            &format!("{} tail", statecast.display()),
            &format!("! timeout 1 {} tail", statecast.display()),
        )
        .replace("curl ", "curl -sS --fail-with-body ");
    let script = format!("set -eu; export STATECAST_URL=http://{}\n{block}", service.http);
    run("bash", &["-c", &script]).await?.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_things_out() -> Result<()> {
    let service = Service::start()?;
    let said = shell(&service, block("mosquitto_pub -t devices/boiler-1/state")?).await?;
    for expected in ["boiler-1", "1 found", r#"{"desired":{"interval_s":30}"#, r#""kind":"desired""#] {
        ensure!(said.contains(expected), "no {expected} in:\n{said}");
    }
    let said = shell(&service, block("/v1/receivers")?).await?;
    for expected in ["whsec_", r#""on":"enter""#] {
        ensure!(said.contains(expected), "no {expected} in:\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_earnest() -> Result<()> {
    let service = Service::start_with(&[])?;
    let key = service.key("default").await?;
    let lines = block("device add boiler-2")?.replace("sc_…", &key);
    let (add, rest) = lines.split_once("mosquitto_pub").context("a line that publishes")?;
    let added = shell(&service, add).await?;
    let token =
        added.lines().find(|line| line.len() == 64).with_context(|| format!("no token in {added}"))?;
    let rest = format!("export STATECAST_KEY={key}\nmosquitto_pub{}", rest.replace("TOKEN", token));
    let said = shell(&service, &rest).await?;
    ensure!(said.contains("boiler-2") && said.contains("1 found"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_api_is_up_to_date() -> Result<()> {
    let said = run(program("statecast")?, &["openapi"]).await?.ok()?;
    ensure!(said.trim() == include_str!("../../../openapi.json").trim(), "run `make openapi`");
    Ok(())
}
