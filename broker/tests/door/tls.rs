//! TLS: who is let in with which certificate, and who can't keep others waiting.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use statecast_broker::{Broker, Config, Tls};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;

/// Somebody who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, common: Option<&str>, dns: &[&str]) -> Signed {
        let key = KeyPair::generate().unwrap();
        let dns: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(dns).unwrap();
        params.distinguished_name = Default::default();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}

/// The files of a broker under test.
struct Files(tempfile::TempDir);

impl Files {
    fn new(server: &Signed, clients: &Authority) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.replace(server);
        std::fs::write(files.path("clients.pem"), &clients.pem).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn replace(&self, server: &Signed) {
        std::fs::write(self.path("server.pem"), &server.certificate).unwrap();
        std::fs::write(self.path("server.key"), &server.key).unwrap();
    }

    fn config(&self, required: bool) -> Config {
        let tls = Tls {
            listen: ([127, 0, 0, 1], 0).into(),
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: Some(self.path("clients.pem")),
            require_client_certificate: required,
            handshake_timeout: Duration::from_secs(2),
        };
        Config { tls: Some(tls), ..config() }
    }
}

/// Makes a TLS connection, as one that trusts `root` and shows `own`.
async fn dial(
    broker: &Broker,
    root: &Authority,
    own: Option<&Signed>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let stream = TcpStream::connect(broker.tls_address().unwrap()).await?;
    let name = "localhost".try_into().unwrap();
    soon("the handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[tokio::test]
async fn both_versions_carry_everything() {
    let authority = Authority::new();
    let files = Files::new(&authority.sign(None, &["localhost"]), &authority);
    let mut door = Door::open(files.config(false)).await;
    for (version, name) in [(&version::TLS12, "old"), (&version::TLS13, "new")] {
        let mut raw = Raw::over(dial(&door.broker, &authority, None, &[version]).await.unwrap());
        raw.connect(Connect { name, id: name, v5: true, ..Connect::default() }).await;
        assert_eq!(door.presence().await, format!("{name} connected"));
        let payload = "x".repeat(200_000);
        raw.publish("devices/d/state", &payload, 1, 3).await;
        let (_, received, receipt) = door.publish().await;
        assert!(received == payload);
        receipt.accept();
        assert_eq!(raw.ack(PUBACK).await, 3);
        raw.subscribe(&[("chat/room", 0)]).await;
        raw.publish("chat/room", &payload, 0, 0).await;
        assert_eq!(raw.packet().await.published().2.len(), payload.len() + 1);
        door.broker.disconnect("r", name);
        raw.ended(Some(0x98)).await;
        assert_eq!(door.presence().await, format!("{name} administrative"));
    }
    let mut plain = door.client("plain").await;
    plain.nothing_came().await;
}

#[tokio::test]
async fn a_certificate_says_who_it_is() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::new(&authority.sign(None, &["localhost"]), &clients);
    let door = Door::open(files.config(true)).await;
    let cases = [(Some("pump-7"), &["other"][..], "pump-7"), (None, &["pump-8", "x"][..], "pump-8")];
    for (common, dns, name) in cases {
        let own = clients.sign(common, dns);
        let mut raw = Raw::over(dial(&door.broker, &authority, Some(&own), &BOTH).await.unwrap());
        raw.connect(Connect { id: name, ..Connect::default() }).await;
        assert_eq!(
            door.house.certificate.lock().as_ref().map(|name| name.as_str().to_owned()),
            Some(name.into())
        );
    }
    let nobody = clients.sign(None, &[]);
    let stranger = Authority::new().sign(Some("pump-7"), &[]);
    for (own, what) in [(None, "none"), (Some(&nobody), "no name"), (Some(&stranger), "wrong authority")] {
        // With TLS 1.3 the client learns of it when it reads.
        if let Ok(mut stream) = dial(&door.broker, &authority, own, &BOTH).await {
            let mut rest = Vec::new();
            soon("the end", stream.read_to_end(&mut rest)).await.ok();
            assert!(rest.is_empty(), "{what}");
        }
    }
    until("only the good ones are left", || door.broker.connections() <= 2).await;
    assert!(dial(&door.broker, &clients, None, &BOTH).await.is_err(), "the client trusts another");
}

#[tokio::test]
async fn half_open_handshakes_and_silent_connections_keep_nobody_waiting() {
    const EACH: usize = 1_000;
    let authority = Authority::new();
    let files = Files::new(&authority.sign(None, &["localhost"]), &authority);
    let config = Config { connect_timeout: Duration::from_secs(3), ..files.config(false) };
    let door = Door::open(config).await;
    let mut silent = Vec::new();
    for address in [door.broker.tls_address().unwrap(), door.broker.address()] {
        for _ in 0..EACH {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
    }
    let begun = Instant::now();
    let mut plain = door.client("plain").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let mut raw = Raw::over(dial(&door.broker, &authority, None, &BOTH).await.unwrap());
    raw.connect(Connect::default()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for mut stream in silent {
        let mut rest = Vec::new();
        soon("the deadline", stream.read_to_end(&mut rest)).await.ok();
        assert!(rest.is_empty());
    }
    raw.nothing_came().await;
    plain.nothing_came().await;
}

#[tokio::test]
async fn new_files_are_in_force_without_a_restart_and_broken_ones_never() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new(&old.sign(None, &["localhost"]), &old);
    let door = Door::open(files.config(false)).await;
    let mut stays = Raw::over(dial(&door.broker, &old, None, &BOTH).await.unwrap());
    stays.connect(Connect { id: "stays", ..Connect::default() }).await;

    let broken = Signed { certificate: "nothing".into(), key: "at all".into() };
    files.replace(&broken);
    let begun = Instant::now();
    // Longer than the time between two looks at the files.
    while begun.elapsed() < Duration::from_millis(2_500) {
        dial(&door.broker, &old, None, &BOTH).await.unwrap();
    }
    files.replace(&new.sign(None, &["localhost"]));
    soon("the new ones are in force", async {
        while dial(&door.broker, &new, None, &BOTH).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(dial(&door.broker, &old, None, &BOTH).await.is_err());
    stays.nothing_came().await;
}

#[tokio::test]
async fn files_that_are_wrong_at_the_start_stop_it() {
    let authority = Authority::new();
    let server = authority.sign(None, &["localhost"]);
    let files = Files::new(&server, &authority);
    let (sender, _deliveries) = tokio::sync::mpsc::channel(1);
    let house = Arc::new(House::default());
    let start = |config| Broker::start(config, house.clone(), house.clone(), sender.clone());
    let mut nobody_signs = files.config(true);
    nobody_signs.tls.as_mut().unwrap().client_ca = None;
    assert!(start(nobody_signs).await.is_err());
    let other_key = Signed { key: authority.sign(None, &[]).key, ..server };
    files.replace(&other_key);
    let error = start(files.config(false)).await.err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("server.pem")), "the error names the file");
}
