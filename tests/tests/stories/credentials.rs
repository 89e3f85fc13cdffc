//! Who may connect: the code of the CONNACK, in both versions.

use anyhow::{Context, Result, ensure};
use statecast_tests::wire::packet;
use statecast_tests::{Service, VERSIONS, Version, Wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_is_told_why() -> Result<()> {
    let service = Service::start_with(&[])?;
    let api = service.api().with_key(&service.key("default").await?);
    let token = api.register("door-1").await?;
    let other = api.register("door-2").await?;
    let long = "x".repeat(300);
    for version in VERSIONS {
        let (credentials, id) = match version {
            Version::V3 => (4, 2),
            Version::V5 => (0x86, 0x85),
        };
        let door = |password| Some(("door-1", password));
        let cases = [
            ("the right token", "c", door(token.as_str()), 0),
            ("no client id", "", door(&token), 0),
            ("no credentials", "c", None, credentials),
            ("an empty password", "c", door(""), credentials),
            ("a wrong password", "c", door("wrong"), credentials),
            ("the token of another", "c", door(&other), credentials),
            ("an unknown device", "c", Some(("door-3", token.as_str())), credentials),
            ("not a device id", "c", Some(("door/1", token.as_str())), credentials),
            ("an unknown key", "c", Some(("key", "sc_0000")), credentials),
            ("a token as a key", "c", Some(("key", token.as_str())), credentials),
            ("an unknown token", "c", Some(("door-2", "0".repeat(64).leak() as &str)), credentials),
            ("a password that it hasn't", "c", Some(("door-2", "correct horse")), credentials),
            ("a password of nobody", "c", Some(("door-3", "correct horse")), credentials),
            ("a long client id", long.as_str(), door(&token), id),
        ];
        for (what, client_id, login, expected) in cases {
            let mut wire = Wire::open(&service.mqtt, version).await?;
            let code = wire.hello(client_id, login).await.with_context(|| format!("{what}, {version:?}"))?;
            ensure!(code == expected, "{what}, {version:?}: {code:#x}, not {expected:#x}");
            if code == 0 {
                wire.ping().await.context(what)?;
            } else {
                wire.closed().await.with_context(|| format!("{what}, {version:?}"))?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_is_told_so() -> Result<()> {
    let service = Service::start()?;
    let after_name = [2, 0, 60, 0, 1, b'c'];
    let three_one = packet(0x10, &[&[0, 6][..], b"MQIsdp", &[3], &after_name].concat());
    let six = packet(0x10, &[&[0, 4][..], b"MQTT", &[6], &after_name].concat());
    for (bytes, expected) in [(three_one, 1), (six, 0x84)] {
        let mut wire = Wire::open(&service.mqtt, Version::V3).await?;
        wire.send(&bytes).await?;
        let connack = wire.next().await?;
        ensure!(connack.first == 0x20 && connack.body[1] == expected, "{connack:?}, not {expected:#x}");
        wire.closed().await?;
    }
    Ok(())
}
