//! Certificates and keys out of files in PEM.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};

use super::{Identity, TlsError};

/// The primitives.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A mistake in a file.
pub(super) fn wrong(file: &Path, what: impl fmt::Display) -> TlsError {
    TlsError {
        file: file.to_owned(),
        what: what.to_string(),
    }
}

/// A certificate with its key.
///
/// # Errors
/// Which of the files is wrong, and what about it.
pub(super) fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, TlsError> {
    let Identity { certificate, key } = identity;
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let what = "has no private key in PEM; write a file that begins with -----BEGIN PRIVATE KEY-----";
        unreadable(key, &error, what)
    })?;
    let certified = CertifiedKey::from_der(chain, private, &provider());
    certified.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(
            key,
            format!("is not the key of the certificate in {}", certificate.display()),
        ),
        error => wrong(key, format!("cannot be used: {error}")),
    })
}

/// Those who are trusted, from a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(file, format!("has a certificate that cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const NONE: &str = "has no certificate in PEM; write a file that begins with -----BEGIN CERTIFICATE-----";
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(wrong(file, NONE)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(file, &error, NONE)),
    }
}

fn unreadable(file: &Path, error: &PemError, none: &str) -> TlsError {
    match error {
        PemError::Io(error) => wrong(file, format!("cannot be read: {error}")),
        PemError::NoItemsFound => wrong(file, none),
        error => wrong(file, format!("is not PEM: {error}")),
    }
}

/// Those who vouch for others; each file, and the system's, is read once.
#[derive(Default)]
pub(super) struct Trust {
    read: HashMap<Option<PathBuf>, Arc<RootCertStore>>,
}

impl Trust {
    /// From a file, or whom the system trusts.
    ///
    /// # Errors
    /// What is wrong with the file, or that the system trusts nobody.
    pub fn roots(&mut self, file: Option<&Path>) -> Result<Arc<RootCertStore>, TlsError> {
        let key = file.map(Path::to_owned);
        if let Some(known) = self.read.get(&key) {
            return Ok(Arc::clone(known));
        }
        let roots = Arc::new(match file {
            Some(file) => roots(file)?,
            None => system(),
        });
        self.read.insert(key, Arc::clone(&roots));
        Ok(roots)
    }
}

/// Whom the system trusts. Where that is nobody, every handshake says so.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "the system trusts no certificate authority: connections over TLS need trunk.tls_ca or agent.ca"
        );
    }
    roots
}

/// The same certificate for whoever asks for one.
#[derive(Debug)]
pub(super) struct Always(pub Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
