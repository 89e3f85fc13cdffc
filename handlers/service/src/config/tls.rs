//! The settings of MQTT over TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use statecast_broker::Tls;

use super::mqtt::duration;

/// MQTT over TLS. The files are PEM, and are read again when they change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttTls {
    /// Address for MQTT 3.1.1 and 5 over TLS 1.2 and 1.3.
    pub listen: SocketAddr,
    /// File with the certificate of the server, followed by those between it and the root.
    pub certificate: PathBuf,
    /// File with the private key of the certificate.
    pub key: PathBuf,
    /// File with the certificates of those who sign the certificates of devices; without it, devices show none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Only who shows a certificate is let in on this address.
    pub require_client_certificate: bool,
    /// Seconds that a handshake may take.
    pub handshake_timeout_s: u16,
}

impl Default for MqttTls {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8883).into(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: None,
            require_client_certificate: false,
            handshake_timeout_s: 10,
        }
    }
}

impl MqttTls {
    /// Looks for what is missing.
    pub(super) fn check(&self) -> Result<()> {
        for (key, path) in [("certificate", &self.certificate), ("key", &self.key)] {
            ensure!(!path.as_os_str().is_empty(), "mqtt.tls.{key} isn't set: TLS needs the file");
        }
        ensure!(
            !self.require_client_certificate || self.client_ca.is_some(),
            "mqtt.tls.require_client_certificate needs mqtt.tls.client_ca: who signs the certificates"
        );
        Ok(())
    }

    /// The same as the broker understands it.
    pub(super) fn for_broker(&self) -> Tls {
        Tls {
            listen: self.listen,
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
            require_client_certificate: self.require_client_certificate,
            handshake_timeout: duration(self.handshake_timeout_s),
        }
    }
}
