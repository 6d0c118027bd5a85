//! Whom `https` endpoints are believed by: the certification authorities that Mozilla trusts, and the operator's own.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// Certification authorities that endpoints are believed by.
#[derive(Clone)]
pub struct Authorities(Arc<ClientConfig>);

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

impl Default for Authorities {
    fn default() -> Self {
        Self::of(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }
}

impl Authorities {
    /// Those that Mozilla trusts, and the certificates in a PEM file.
    ///
    /// # Errors
    /// What is wrong with the file; one without a certificate is.
    pub fn with(pem: &[u8]) -> Result<Self, String> {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let before = store.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("it is no PEM: {error}"))?;
            store.add(certificate).map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
        }
        match store.len() > before {
            true => Ok(Self::of(store)),
            false => Err("there is no certificate in it".to_owned()),
        }
    }

    fn of(store: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the versions that it is built with");
        Self(Arc::new(versions.with_root_certificates(store).with_no_client_auth()))
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Authorities::with(pem.as_bytes()).is_err(), "{pem}");
        }
    }
}
