//! The certificate of gateways that speak TLS, signed by an authority of their own.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// What TLS needs on both sides.
pub(super) struct Tls {
    /// Takes connections, of clients that speak HTTP/2.
    pub(super) acceptor: TlsAcceptor,
    /// Whom a client must trust, as PEM.
    pub(super) authority: String,
}

impl Tls {
    /// A new authority, and a certificate for this address and `localhost`.
    pub(super) fn new(address: IpAddr) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "simulated gateways");
        let key = KeyPair::generate().context("make a key")?;
        let authority = params.self_signed(&key).context("sign the authority")?.pem();
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate().context("make a key")?;
        let params = CertificateParams::new(vec!["localhost".to_owned(), address.to_string()])
            .context("name the certificate")?;
        let certificate = params.signed_by(&key, &issuer).context("sign the certificate")?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .context("set up TLS")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}
