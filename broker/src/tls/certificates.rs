//! Certificates and keys, read again when their files change: checked at a handshake, once a second at most. While
//! new files can't be used, the old ones stay in force, and the log says why.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::Tls;

/// How often the files are looked at.
const CHECK_PERIOD: Duration = Duration::from_secs(1);

/// What a handshake needs, as the files have it.
pub(crate) struct Certificates {
    settings: Tls,
    state: Mutex<State>,
}

struct State {
    checked_at: Instant,
    /// What the files looked like when they were read.
    stamps: Vec<Option<Stamp>>,
    config: Arc<ServerConfig>,
}

/// Device, inode, length, and time of the last change: a file that is written or replaced has another one.
type Stamp = (u64, u64, u64, i64, i64);

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file can't be read or used; names it.
    pub(crate) fn open(settings: Tls) -> io::Result<Arc<Self>> {
        let stamps = stamps(&settings);
        let config = load(&settings)?;
        let state = Mutex::new(State { checked_at: Instant::now(), stamps, config });
        Ok(Arc::new(Self { settings, state }))
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.settings.handshake_timeout
    }

    /// What is in force, after a look at the files if it is time for one.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<ServerConfig> {
        let due = {
            let mut state = self.state.lock();
            let due = state.checked_at.elapsed() >= CHECK_PERIOD;
            if due {
                state.checked_at = Instant::now();
            }
            due
        };
        if due {
            let this = Arc::clone(self);
            // A disk may be slow; others go on with what is in force. A panic in there changes nothing.
            tokio::task::spawn_blocking(move || this.check()).await.ok();
        }
        Arc::clone(&self.state.lock().config)
    }

    fn check(&self) {
        // Before the files are read: if they change meanwhile, the next check finds out.
        let stamps = stamps(&self.settings);
        if self.state.lock().stamps == stamps {
            return;
        }
        let loaded = load(&self.settings);
        let mut state = self.state.lock();
        state.stamps = stamps;
        match loaded {
            Ok(config) => {
                state.config = config;
                tracing::info!("new TLS certificates are in force");
            }
            Err(error) => tracing::warn!(%error, "new TLS certificates can't be used; the old ones stay"),
        }
    }
}

fn stamps(settings: &Tls) -> Vec<Option<Stamp>> {
    let (ca, crl) = (settings.client_ca.as_ref(), settings.client_crl.as_ref());
    let files = [Some(&settings.certificate), Some(&settings.key), ca, crl];
    let stamp = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    files.into_iter().flatten().map(|path| stamp(path)).collect()
}

fn load(settings: &Tls) -> io::Result<Arc<ServerConfig>> {
    let certificate = all::<CertificateDer<'static>>(&settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| unusable(&settings.key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &settings.client_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in all::<CertificateDer<'static>>(path)? {
                roots.add(root).map_err(|error| unusable(path, &error))?;
            }
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if let Some(path) = &settings.client_crl {
                // Of those between the device and the root nobody is asked: few publish such a list.
                verifier = verifier
                    .with_crls(all::<CertificateRevocationListDer<'static>>(path)?)
                    .only_check_end_entity_revocation();
            }
            let verifier =
                if settings.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(path, &error))?)
        }
        None if settings.require_client_certificate => {
            let problem = "client certificates are required, but nobody is named who signs them";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        None => builder.with_no_client_auth(),
    };
    let config = builder
        .with_single_cert(certificate, key)
        .map_err(|error| unusable(&settings.certificate, &error))?;
    Ok(Arc::new(config))
}

/// All of a kind in a file, at least one.
fn all<T: PemObject>(path: &Path) -> io::Result<Vec<T>> {
    let read = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>);
    let found = read.map_err(|error| unusable(path, &error))?;
    if found.is_empty() { Err(unusable(path, &"nothing of its kind in it")) } else { Ok(found) }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()))
}
