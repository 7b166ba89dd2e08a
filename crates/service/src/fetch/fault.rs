//! Why an attempt to fetch ended, and what follows from it.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// What is said of a full disk.
pub const NO_ROOM: &str = "the service has no room left for the file";

/// The end of an attempt.
#[derive(Debug)]
pub enum Fault {
    /// Trying again would change nothing.
    Final(String),
    /// Its first bytes show that it cannot become an image; the reason is that of the report.
    Hopeless(String),
    /// It may pass; the server may have said after what time.
    Passing {
        /// For the owner of the image.
        reason: String,
        /// How long the server wants to be left alone.
        wait: Option<Duration>,
    },
    /// What was received so far is not the beginning of what the server has now.
    StartOver(String),
    /// Somebody else carries out this job now, or nobody should any longer: there is nothing left
    /// to do here.
    Lost,
}

impl Fault {
    /// A fault that may pass.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self::Passing {
            reason: reason.into(),
            wait: None,
        }
    }

    /// What went wrong while talking to `host`.
    pub fn of_request(error: reqwest::Error, host: &str) -> Self {
        // The URL may hold secrets.
        let error = error.without_url();
        if let Some(refused) = cause::<Unreachable>(&error) {
            return Self::Final(refused.sentence(host));
        }
        if let Some(tls) = cause::<rustls::Error>(&error) {
            let reason = format!("the TLS connection to {host} failed: {tls}");
            return match tls {
                rustls::Error::InvalidCertificate(_) => Self::Final(reason),
                _ => Self::passing(reason),
            };
        }
        let what = if error.is_connect() {
            "connecting to"
        } else {
            "the connection to"
        };
        let end = if error.is_timeout() {
            "took too long"
        } else {
            "failed"
        };
        Self::passing(format!("{what} {host} {end}: {}", root(&error)))
    }

    /// What went wrong while received bytes were written.
    pub fn of_writing(error: &io::Error) -> Self {
        tracing::error!(%error, "writing what was fetched failed");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::passing(NO_ROOM),
            _ => Self::Final("the service could not write what it received".to_owned()),
        }
    }
}

impl From<sqlx::Error> for Fault {
    /// A database that is away may come back.
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "recording what was fetched failed");
        Self::passing("the service could not record what it received")
    }
}

/// A name that leads to an address which may not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("it is at {what}")]
pub struct Unreachable {
    /// What the address is.
    pub what: &'static str,
    /// For the operator's log only: an answer would tell how the network is laid out.
    pub address: IpAddr,
}

impl Unreachable {
    fn sentence(&self, host: &str) -> String {
        tracing::warn!(host, address = %self.address, "an import wanted an address that is closed");
        format!("{host} is at {}, which imports do not reach", self.what)
    }
}

/// The first error of type `T` in the chain of causes.
fn cause<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        // What an I/O error wraps is no part of its chain.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .and_then(|inner| cause::<T>(inner as &(dyn Error + 'static)));
        if let Some(found) = error.downcast_ref::<T>().or(wrapped) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What the chain of causes begins with, which says more than what it led to.
fn root(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
