//! The certificate of the TLS listener: the operator's, or one of our own for loopback.
//!
//! It is read again when the process gets SIGHUP and when its files change, so that renewing it
//! needs no restart. A pair that cannot be used changes nothing: the old one stays, and the log
//! says why. Our own is renewed before it expires ([`own`]).

mod own;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};

use crate::Config;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// Where the certificate comes from.
#[derive(Debug)]
enum Source {
    /// The operator's files.
    Files(Pair),
    /// Our own authority, in this directory.
    Own(PathBuf),
}

/// Two files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// The certificate at work; cheap to clone.
#[derive(Clone)]
pub struct Tls {
    source: Arc<Source>,
    served: RustlsConfig,
}

impl Tls {
    /// The certificate that `config` asks for; one of our own is made if need be.
    ///
    /// # Errors
    /// When it cannot be read, made or used.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let source = match (&config.tls.certificate, &config.tls.key) {
            (Some(certificate), Some(key)) => Source::Files(Pair {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => Source::Own(config.data.join("tls")),
        };
        let served = RustlsConfig::from_config(read(&source)?);
        let source = Arc::new(source);
        Ok(Self { source, served })
    }

    /// What the listener serves, now and after each change.
    pub fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// The authority that clients must trust, if it is our own.
    pub fn authority(&self) -> Option<PathBuf> {
        match &*self.source {
            Source::Files(_) => None,
            Source::Own(directory) => Some(own::authority(directory)),
        }
    }

    /// Reads the certificate again.
    fn reload(&self) {
        match read(&self.source) {
            Ok(config) => {
                self.served.reload_from_config(config);
                tracing::info!("the TLS certificate was read again");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the new TLS certificate cannot be used; the old one stays"
                );
            }
        }
    }

    /// Whether the certificate must be read again, given when its files changed last.
    fn is_due(&self, seen: &mut [Option<SystemTime>; 2]) -> bool {
        match &*self.source {
            Source::Files(pair) => {
                let now = [&pair.certificate, &pair.key].map(|path| changed(path));
                let due = now != *seen && now.iter().all(Option::is_some);
                if due {
                    *seen = now;
                }
                due
            }
            Source::Own(directory) => !own::is_good(directory),
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|file| file.modified())
        .ok()
}

/// Reads the certificate whenever that is due, as long as the service runs. SIGHUP does no harm
/// without TLS either.
pub async fn watch(tls: Option<Tls>) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be watched; restart to change the TLS certificate");
            return;
        }
    };
    let mut seen = [None, None];
    if let Some(tls) = &tls {
        tls.is_due(&mut seen);
    }
    loop {
        let asked = tokio::select! {
            _ = hangups.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        if let Some(tls) = &tls
            && (tls.is_due(&mut seen) || asked)
        {
            tls.reload();
        }
    }
}

/// The provider of cryptography, the same everywhere.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(source: &Source) -> anyhow::Result<Arc<ServerConfig>> {
    let pair = match source {
        Source::Files(pair) => pair.clone(),
        Source::Own(directory) => own::renew(directory)?,
    };
    let certificate = pair.certificate.display().to_string();
    let chain = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading the certificate in {certificate}"))?;
    ensure!(!chain.is_empty(), "{certificate} holds no certificate");
    let key = PrivateKeyDer::from_pem_file(&pair.key)
        .with_context(|| format!("reading the key in {}", pair.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            let key = pair.key.display();
            format!("using the certificate in {certificate} with the key in {key}")
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Has requests trust the authorities in `file`, PEM, beside the system's. `setting` names it.
///
/// # Errors
/// When the file cannot be read, or is no PEM.
pub fn trust_also(
    builder: reqwest::ClientBuilder,
    setting: &str,
    file: Option<&Path>,
) -> anyhow::Result<reqwest::ClientBuilder> {
    let Some(path) = file else {
        return Ok(builder);
    };
    let pem =
        std::fs::read(path).with_context(|| format!("`{setting}`: reading {}", path.display()))?;
    let authorities = reqwest::Certificate::from_pem_bundle(&pem)
        .with_context(|| format!("`{setting}`: {} is not PEM", path.display()))?;
    Ok(builder.tls_certs_merge(authorities))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(certificate: &Path, key: &Path) -> Config {
        let mut config = Config::default();
        config.tls.certificate = Some(certificate.to_owned());
        config.tls.key = Some(key.to_owned());
        config
    }

    #[test]
    fn a_pair_that_does_not_match_keeps_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("1"), directory.path().join("2"));
        let (pair, stranger) = (own::renew(&one).unwrap(), own::renew(&other).unwrap());
        let tls = Tls::open(&of(&pair.certificate, &pair.key)).unwrap();
        assert!(tls.authority().is_none());
        let before = tls.served.get_inner();

        std::fs::copy(&stranger.key, &pair.key).unwrap();
        tls.reload();
        assert!(Arc::ptr_eq(&before, &tls.served.get_inner()));
        std::fs::write(&pair.key, "no key").unwrap();
        tls.reload();
        assert!(Arc::ptr_eq(&before, &tls.served.get_inner()));

        std::fs::copy(&stranger.key, &pair.key).unwrap();
        std::fs::copy(&stranger.certificate, &pair.certificate).unwrap();
        tls.reload();
        assert!(!Arc::ptr_eq(&before, &tls.served.get_inner()));
    }

    #[test]
    fn files_are_due_once_they_have_changed() {
        let directory = tempfile::tempdir().unwrap();
        let pair = own::renew(directory.path()).unwrap();
        let tls = Tls::open(&of(&pair.certificate, &pair.key)).unwrap();
        let mut seen = [None, None];
        assert!(tls.is_due(&mut seen));
        assert!(!tls.is_due(&mut seen));
        let file = std::fs::File::options().write(true).open(&pair.key);
        let later = SystemTime::now() + Duration::from_secs(5);
        file.unwrap().set_modified(later).unwrap();
        assert!(tls.is_due(&mut seen));
        std::fs::remove_file(&pair.key).unwrap();
        assert!(!tls.is_due(&mut seen));
    }

    #[test]
    fn what_is_missing_is_named() {
        let nowhere = Path::new("/nonexistent/certificate.pem");
        let error = format!("{:#}", Tls::open(&of(nowhere, nowhere)).err().unwrap());
        assert!(error.contains("/nonexistent/certificate.pem"), "{error}");
    }
}
