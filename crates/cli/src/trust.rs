//! Which certificates of services are believed: those of the public authorities, or instead those
//! of one file, for a service that signs its own or belongs to a company.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::failure::Failure;

/// The authorities of one file; the public ones without one.
#[derive(Debug, Clone, Default)]
pub struct Trust(Option<Vec<CertificateDer<'static>>>);

impl Trust {
    /// The authorities in `file`, in PEM.
    ///
    /// # Errors
    /// If the file cannot be read or holds no certificate.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file else {
            return Ok(Self(None));
        };
        let reading = || format!("reading the certificates in {}", path.display());
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(reading)?;
        if certificates.is_empty() {
            return Err(
                Failure::new(format!("{} holds no certificate", path.display()))
                    .hint("a file in PEM begins with -----BEGIN CERTIFICATE-----")
                    .into(),
            );
        }
        Ok(Self(Some(certificates)))
    }

    /// For requests.
    pub fn for_requests(&self) -> TlsConfig {
        let config = TlsConfig::builder();
        let config = match &self.0 {
            None => config,
            Some(certificates) => {
                let own = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
                let certificates: Vec<_> = certificates.iter().map(own).collect();
                config.root_certs(RootCerts::new_with_certs(&certificates))
            }
        };
        config.build()
    }

    /// For WebSockets; `None` stands for the public authorities.
    ///
    /// # Errors
    /// If a certificate is none of an authority.
    pub fn for_sockets(&self) -> anyhow::Result<Option<Arc<ClientConfig>>> {
        let Some(certificates) = &self.0 else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(Arc::new(config)))
    }
}
