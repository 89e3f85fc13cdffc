//! The other ways in: TLS, with certificates for devices, and WebSocket.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use futures::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use statecast_tests::command::{Ran, run};
use statecast_tests::{Api, Service};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// A CONNECT of 3.1.1 with the client id and the user name `d`, no password.
const CONNECT: &[u8] = b"\x10\x10\0\x04MQTT\x04\x82\0\x3C\0\x01d\0\x01d";

/// A directory with certificates: `ca.pem`, who signed them all, and `NAME.pem` and `NAME.key` for each name.
fn certificates(names: &[&str]) -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "who signs");
    let key = KeyPair::generate()?;
    fs::write(dir.path().join("ca.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    for name in names {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, *name);
        let certificate = params.signed_by(&key, &issuer)?;
        fs::write(dir.path().join(format!("{name}.pem")), certificate.pem())?;
        fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(dir)
}

fn file(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).display().to_string()
}

/// MQTT over TLS with the certificates of a directory.
fn tls_settings(dir: &TempDir) -> String {
    format!(
        "[mqtt.tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
        file(dir, "server.pem"),
        file(dir, "server.key"),
        file(dir, "ca.pem"),
    )
}

/// `mosquitto_pub` of a state of the device `pump`, over TLS.
async fn publish(service: &Service, ca: &str, args: &[&str]) -> Result<Ran> {
    let address = service.mqtts.as_deref().context("TLS is on")?;
    let (_, port) = address.rsplit_once(':').context("a port")?;
    let to = ["-h", "localhost", "-p", port, "--cafile", ca, "-q", "1", "-t", "devices/pump/state"];
    run("mosquitto_pub", &[&to, args].concat()).await.context("is it installed? run `make deps`")
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_tokens_and_certificates() -> Result<()> {
    let (ours, theirs) = (certificates(&["server", "pump", "unknown"])?, certificates(&["pump"])?);
    let (ca, config) = (file(&ours, "ca.pem"), file(&ours, "config.toml"));
    fs::write(&config, tls_settings(&ours))?;
    let service = Service::start_with(&["--config", &config])?;
    let api = service.api().with_key(&service.key("default").await?);
    let token = api.register("pump").await?;

    for (version, tls) in [("mqttv311", "tlsv1.2"), ("mqttv5", "tlsv1.3")] {
        let as_before = ["-V", version, "--tls-version", tls];
        let with_token = [&as_before[..], &["-u", "pump", "-P", &token, "-m", r#"{"by":"token"}"#]].concat();
        publish(&service, &ca, &with_token).await?.ok()?;
        api.twin_when("pump", |twin| twin["reported"] == json!({ "by": "token" })).await?;

        let (certificate, key) = (file(&ours, "pump.pem"), file(&ours, "pump.key"));
        let shown = [&as_before[..], &["--cert", &certificate, "--key", &key]].concat();
        let by = [&shown[..], &["-m", r#"{"by":"certificate"}"#]].concat();
        publish(&service, &ca, &by).await?.ok()?;
        api.twin_when("pump", |twin| twin["reported"] == json!({ "by": "certificate" })).await?;

        let other_name = [&shown[..], &["-u", "other", "-P", &token, "-m", "{}"]].concat();
        let refused = publish(&service, &ca, &other_name).await?;
        ensure!(refused.code != Some(0), "the name isn't that of the certificate: {refused:?}");
    }
    for (dir, name, what) in [(&ours, "unknown", "isn't registered"), (&theirs, "pump", "signed by another")]
    {
        let (certificate, key) = (file(dir, &format!("{name}.pem")), file(dir, &format!("{name}.key")));
        let shown = ["--cert", &certificate, "--key", &key, "-m", r#"{"by":"nobody"}"#];
        let refused = publish(&service, &ca, &shown).await?;
        ensure!(refused.code != Some(0), "{what}: {refused:?}");
    }
    let nothing = publish(&service, &ca, &["-m", r#"{"by":"nobody"}"#]).await?;
    ensure!(nothing.code != Some(0), "no token and no certificate: {nothing:?}");
    ensure!(api.json("/v1/devices/pump").await?["reported"] == json!({ "by": "certificate" }));
    Ok(())
}

/// SHA-256 of a certificate, as it is bound to a device.
fn fingerprint(dir: &TempDir, name: &str) -> Result<String> {
    let pem = fs::read(dir.path().join(format!("{name}.pem")))?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| anyhow!("no certificate {name}"))?;
    Ok(Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_bound_to_devices_of_any_tenant() -> Result<()> {
    let dir = certificates(&["server", "pump", "second"])?;
    let (ca, config) = (file(&dir, "ca.pem"), file(&dir, "config.toml"));
    fs::write(&config, tls_settings(&dir))?;
    let service = Service::start_with(&["--config", &config])?;
    let default = service.api().with_key(&service.key("default").await?);
    let acme = service.api().with_key(&service.key("acme").await?);
    for api in [&default, &acme] {
        api.register("pump").await?;
    }
    let bind = async |api: &Api, certificates: &[String]| {
        let body = json!({ "certificates": certificates });
        api.call(Method::PATCH, "/v1/devices/pump/credentials", &body).await
    };
    let shows = async |name: &str, user: &[&str]| -> Result<bool> {
        let (certificate, key) = (file(&dir, &format!("{name}.pem")), file(&dir, &format!("{name}.key")));
        let args = [&["--cert", &certificate, "--key", &key, "-m", "{}"], user].concat();
        Ok(publish(&service, &ca, &args).await?.code == Some(0))
    };
    let (pump, second) = (fingerprint(&dir, "pump")?, fingerprint(&dir, "second")?);
    let theirs = ["-u", "acme/pump"];
    ensure!(shows("pump", &[]).await?, "it names the device of the default tenant");
    ensure!(!shows("pump", &theirs).await?, "a name isn't enough for another tenant");
    bind(&acme, std::slice::from_ref(&second)).await?;
    ensure!(shows("second", &theirs).await? && !shows("pump", &theirs).await?);
    ensure!(!shows("second", &[]).await? && !shows("second", &["-u", "pump"]).await?, "there it isn't bound");
    ensure!(shows("pump", &[]).await?, "what another tenant binds changes nothing");

    // Bound, the device takes no other certificate, whatever that names.
    bind(&default, std::slice::from_ref(&second)).await?;
    ensure!(!shows("pump", &[]).await? && shows("second", &["-u", "pump"]).await?);
    bind(&default, &[pump, second]).await?;
    ensure!(shows("pump", &[]).await?);
    // A device that is gone takes none.
    default.send(Method::DELETE, "/v1/devices/pump", &json!(null)).await?;
    ensure!(!shows("pump", &[]).await?);
    Ok(())
}

fn request(service: &Service, protocol: Option<&'static str>) -> Result<Request<()>> {
    let mut request = format!("ws://{}/mqtt", service.http).into_client_request()?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    }
    Ok(request)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_stream_of_bytes() -> Result<()> {
    let service = Service::start()?;
    for protocol in ["mqtt", "mqttv3.1"] {
        let (mut socket, answer) = connect_async(request(&service, Some(protocol))?).await?;
        ensure!(answer.headers()["sec-websocket-protocol"] == protocol);
        // A packet in many messages, and two packets in one.
        for byte in CONNECT {
            socket.send(Message::Binary(Bytes::copy_from_slice(&[*byte]))).await?;
        }
        socket.send(Message::Binary(Bytes::from_static(b"\xC0\0\xC0\0"))).await?;
        let mut came = Vec::new();
        while came.len() < 8 {
            let message = socket.next().await.context("the connection is open")??;
            came.extend_from_slice(&message.into_data());
        }
        ensure!(came == b"\x20\x02\0\0\xD0\0\xD0\0", "{came:?}");
        // MQTT is in binary messages.
        socket.send(Message::Text("\u{0}".into())).await?;
        while let Some(Ok(message)) = socket.next().await {
            ensure!(message.is_close(), "{message}");
        }
    }
    ensure!(connect_async(request(&service, None)?).await.is_err(), "not the protocol of MQTT");
    ensure!(connect_async(request(&service, Some("chat"))?).await.is_err(), "not the protocol of MQTT");
    let mut foreign = request(&service, Some("mqtt"))?;
    foreign.headers_mut().insert("origin", HeaderValue::from_static("https://elsewhere.example"));
    ensure!(connect_async(foreign).await.is_err(), "a page from elsewhere, with --dev");
    Ok(())
}
