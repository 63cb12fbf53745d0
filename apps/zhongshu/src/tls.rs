//! TLS for pages, API and devices: one certificate, read again when its files change.
//!
//! A renewed certificate must not need a restart, and a broken one must not take the hub down: the
//! files are looked at once a minute, and what does not load is logged while the old one stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads a PEM chain (the server's own certificate first) and its PEM key.
    ///
    /// # Errors
    /// Which file is wrong and how.
    pub fn read(chain: &Path, key: &Path) -> anyhow::Result<Arc<Self>> {
        let current = RwLock::new(Arc::new(load(chain, key)?));
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current }))
    }

    /// A server with this certificate: TLS 1.3 and 1.2, offering `protocols` by ALPN.
    ///
    /// # Errors
    /// When the cryptography offers no such version.
    pub fn server(self: &Arc<Self>, protocols: &[&[u8]]) -> anyhow::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Reads the files again when they change, until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = self.changed_at();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let changed = self.changed_at();
            if changed == seen {
                continue;
            }
            seen = changed;
            self.renew();
        }
    }

    /// Takes up what the files hold now; the old one stays when they do not load.
    fn renew(&self) {
        match load(&self.chain, &self.key) {
            Ok(certificate) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                tracing::info!(file = %self.chain.display(), "the certificate was renewed");
            }
            Err(e) => {
                tracing::error!(error = %format!("{e:#}"), "the new certificate is not taken; the old one stays")
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [&self.chain, &self.key].map(|file| std::fs::metadata(file).and_then(|m| m.modified()).ok())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn load(chain: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let cannot = |what: &str, file: &Path| format!("failed to read the {what} in {}", file.display());
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .with_context(|| cannot("certificate", chain))?;
    if certificates.is_empty() {
        bail!("{}: no certificate is in it", cannot("certificate", chain));
    }
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| cannot("key", key))?;
    CertifiedKey::from_der(certificates, secret, &ring::default_provider())
        .with_context(|| format!("the key in {} is not that of the certificate", key.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let write = || {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            std::fs::write(&chain, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            made.cert.der().to_vec()
        };
        let first = write();
        let certificate = Certificate::read(&chain, &key).unwrap();
        let current = || certificate.current.read().unwrap().cert[0].to_vec();
        assert_eq!(current(), first);
        assert_eq!(certificate.server(&[b"h2"]).unwrap().alpn_protocols, [b"h2"]);
        let second = write();
        certificate.renew();
        assert_eq!(current(), second);
        for (file, text) in [(&key, "nothing"), (&chain, "")] {
            std::fs::write(file, text).unwrap();
            certificate.renew();
            assert_eq!(current(), second, "{}", file.display());
            let refused = format!("{:#}", Certificate::read(&chain, &key).unwrap_err());
            assert!(refused.contains(&*file.to_string_lossy()) || file == &chain, "{refused}");
        }
        // A key that belongs to another certificate.
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        write();
        std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
        let refused = format!("{:#}", Certificate::read(&chain, &key).unwrap_err());
        assert!(refused.contains("is not that of the certificate"), "{refused}");
    }
}
