//! The sections `[tls]`, `[metrics]` and `[log]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Issues, Secret};

/// The listener for TLS.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Where it listens; nowhere when absent.
    pub listen: Option<SocketAddr>,
    /// The certificate and those between it and its root, in PEM. With neither this nor a key, the
    /// service makes a certificate for loopback.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
}

/// Where metrics are served, and to whom.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// A listener of their own, plain HTTP without a token.
    pub listen: Option<SocketAddr>,
    /// With it, they are on the listeners of the API for those who send it.
    pub token: Option<Secret>,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl TlsConfig {
    pub(super) fn check(&self, issues: &mut Issues) {
        let both = self.certificate.is_some() == self.key.is_some();
        let missing = match self.key {
            Some(_) => "certificate",
            None => "key",
        };
        issues.require(both, "tls", || {
            format!("`tls.certificate` and `tls.key` belong together; set `tls.{missing}`")
        });
        let used = self.listen.is_some() || self.certificate.is_none();
        issues.require(used, "tls.certificate", || {
            "the certificate is of no use without `tls.listen`, such as \"0.0.0.0:443\"".to_owned()
        });
        if let Some(listen) = self.listen {
            let valid = self.certificate.is_some() || listen.ip().is_loopback();
            issues.require(valid, "tls.listen", || {
                format!(
                    "the certificate that the service makes is for loopback only; for {listen} set `tls.certificate` and `tls.key`"
                )
            });
        }
    }
}
