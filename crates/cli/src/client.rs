//! The HTTP client: JSON requests to the service, and the faults that can come of them.
//!
//! Redirects are not followed, because the token must not travel to another host. Requests to a
//! loopback address bypass any proxy of the environment.

use std::io::{self, Read};
use std::time::Duration;

use abbild_api as api;
use abbild_guest::Lang;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use crate::credentials::Credentials;
use crate::print::clean;
use crate::trust::Trust;

/// Whether the certificate of the service was not believed. During the handshake rustls' error is
/// wrapped in one of input and output.
fn is_distrust(error: &ureq::Error) -> bool {
    let inner = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Objects per page of a list; the most that the API allows.
const PER_PAGE: u32 = 200;
/// Longest answer that is read into memory: a page of images with their findings is far smaller.
const MAX_ANSWER: u64 = 32 << 20;
/// Longest part of an answer that is not JSON and is quoted in an error.
const MAX_QUOTE: usize = 200;
/// Longest silence on a connection, in either direction.
const SILENCE: Duration = Duration::from_secs(60);

/// Why a request gave no result. `Display` does not repeat the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no listener.
    #[error("nothing answers at {url}")]
    Refused {
        url: String,
        #[source]
        source: io::Error,
    },
    /// The request did not get through, or no answer came back.
    #[error("the connection to {url} failed")]
    Connection {
        url: String,
        #[source]
        source: ureq::Error,
    },
    /// The service answered that it will not.
    #[error("{message} (HTTP {status}{})", request_id.as_deref().map(|id| format!(", request id {id}")).unwrap_or_default())]
    Answer {
        status: u16,
        message: String,
        request_id: Option<String>,
        /// When the service says that the same request may succeed.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the API documents.
    #[error("the answer to {request} is not understood: {problem}")]
    Malformed { request: String, problem: String },
}

/// Shorthand for results of requests.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long the service asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed in a moment: the network, a restart, a busy service.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Connection { source, .. } => matches!(
                source,
                ureq::Error::Io(_)
                    | ureq::Error::Timeout(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::Protocol(_)
            ),
            // 507 is the operator's full disk: nothing that a moment changes.
            Self::Answer { status, .. } => {
                matches!(status, 408 | 409 | 423 | 429) || (*status >= 500 && *status != 507)
            }
            Self::Malformed { .. } => false,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { url, .. } => Some(format!(
                "is the service running at {url}? `make run` starts one on this machine"
            )),
            Self::Connection { source, .. } if is_distrust(source) => Some(
                "`abbild login URL --ca FILE` trusts the authorities in a file; a service that made its own certificate printed the file's path at its start".into(),
            ),
            Self::Answer { status: 401, .. } => {
                Some("the token is not known there; log in again with `abbild login URL`".into())
            }
            Self::Answer { status: 507, .. } => {
                Some("the operator's disk is full; run the command again when there is room".into())
            }
            Self::Answer { status, .. } if *status >= 500 => {
                Some("the request id leads to the cause in the service's log".into())
            }
            _ => None,
        }
    }

    pub fn malformed(request: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed {
            request: request.into(),
            problem: problem.into(),
        }
    }
}

/// A service, with a token for it.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    url: String,
    /// `None` for somebody who has no token yet.
    authorization: Option<String>,
    lang: Lang,
    trust: Trust,
}

impl Client {
    /// Talks to `credentials.url`, as nobody while the token is empty; sentences in answers shall be in `lang`.
    ///
    /// # Errors
    /// If the file of authorities that the credentials name cannot be used.
    pub fn new(credentials: &Credentials, lang: Lang) -> anyhow::Result<Self> {
        let trust = Trust::load(credentials.ca.as_deref())?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .tls_config(trust.for_requests())
            .user_agent(concat!("abbild/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&credentials.url) {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url: credentials.url.clone(),
            authorization: match credentials.token.as_str() {
                "" => None,
                token => Some(format!("Bearer {token}")),
            },
            lang,
            trust,
        })
    }

    /// Whose certificates the service may have.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the service is reached without a network.
    pub fn is_local(&self) -> bool {
        is_loopback(&self.url)
    }

    /// The value of the `Authorization` header, if there is a token.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// `GET path`.
    ///
    /// # Errors
    /// As [`Error`] says; so for all requests.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.run("GET", path, &[], SendBody::none())?;
        decode("GET", path, response)
    }

    /// `GET path`, the body as a stream of any length.
    pub fn get_stream(&self, path: &str) -> Result<impl Read + use<>> {
        let response = self.run("GET", path, &[], SendBody::none())?;
        let limited = response.into_body().into_with_config().limit(u64::MAX);
        Ok(limited.reader())
    }

    /// `POST path` with a JSON body.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        decode("POST", path, self.post_with(path, &[], body)?)
    }

    /// The same with further headers, and the whole answer.
    pub fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<Response<Body>> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::malformed(format!("POST {path}"), error.to_string()))?;
        let length = body.len().to_string();
        let mut all = vec![
            ("content-type", "application/json"),
            ("content-length", length.as_str()),
        ];
        all.extend(headers);
        let mut body = body.as_slice();
        self.run("POST", path, &all, SendBody::from_reader(&mut body))
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.run("DELETE", path, &[], SendBody::none()).map(drop)
    }

    /// All pages of the list at `path`: `page` gives the objects and the total of one answer.
    pub fn list<L: DeserializeOwned, T>(
        &self,
        path: &str,
        page: impl Fn(L) -> (Vec<T>, api::Meta),
    ) -> Result<Vec<T>> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for number in 1_u32.. {
            let url = format!("{path}{separator}page={number}&per_page={PER_PAGE}");
            let (mut items, meta) = page(self.get(&url)?);
            let last = items.is_empty();
            all.append(&mut items);
            if last || i64::try_from(all.len()).is_ok_and(|have| have >= meta.total) {
                break;
            }
        }
        Ok(all)
    }

    /// Sends any request and returns any answer below 300.
    pub fn run(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: SendBody<'_>,
    ) -> Result<Response<Body>> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("accept-language", self.lang.code());
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(body)
            .map_err(|error| self.connection(error.into()))?;
        let response = self.agent.run(request).map_err(|e| self.connection(e))?;
        if response.status() < StatusCode::MULTIPLE_CHOICES {
            Ok(response)
        } else {
            Err(answer(response))
        }
    }

    fn connection(&self, source: ureq::Error) -> Error {
        let url = self.url.clone();
        match source {
            ureq::Error::Io(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
                Error::Refused { url, source }
            }
            source => Error::Connection { url, source },
        }
    }
}

/// Whether the host of `url` is this machine.
fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    host == "localhost"
        || host.starts_with("localhost:")
        || host.starts_with("[::1]")
        || host
            .split(":")
            .next()
            .and_then(|host| host.parse::<std::net::Ipv4Addr>().ok())
            .is_some_and(|address| address.is_loopback())
}

/// Reads a JSON answer.
///
/// # Errors
/// If it is none of this kind.
pub fn decode<T: DeserializeOwned>(
    method: &str,
    path: &str,
    response: Response<Body>,
) -> Result<T> {
    let mut body = response.into_body();
    let text = body
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_vec()
        .map_err(|error| Error::malformed(format!("{method} {path}"), error.to_string()))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::malformed(format!("{method} {path}"), error.to_string()))
}

/// The error that an answer of 300 and above is.
fn answer(response: Response<Body>) -> Error {
    let (parts, mut body) = response.into_parts();
    let text = body
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_vec()
        .unwrap_or_default();
    refusal(parts.status, &parts.headers, &text)
}

/// The error that `status` and `body` tell of.
pub fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let header = headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .map(clean);
    let (message, request_id) = match serde_json::from_slice::<Loose>(body) {
        Ok(body) => (clean(&body.message), body.request_id.as_deref().map(clean)),
        Err(_) => (quote(body), None),
    };
    let message = if message.is_empty() {
        let reason = status.canonical_reason().unwrap_or("no reason given");
        format!("the service answered: {}", reason.to_lowercase())
    } else {
        message
    };
    Error::Answer {
        status: status.as_u16(),
        message,
        request_id: request_id.or(header),
        retry_after: headers
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs),
    }
}

/// [`api::ErrorBody`] with any `id`: a proxy in front, or a newer service, may use others.
#[derive(serde::Deserialize)]
struct Loose {
    message: String,
    request_id: Option<String>,
}

fn quote(text: &[u8]) -> String {
    let text = clean(&String::from_utf8_lossy(text));
    text.trim().chars().take(MAX_QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_the_host() {
        for url in [
            "http://127.0.0.1:80",
            "http://localhost",
            "http://localhost:1",
            "http://[::1]:80",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "https://localhost.example",
            "https://127.example.org",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn only_faults_that_pass_are_transient() {
        let answer = |status| Error::Answer {
            status,
            message: String::new(),
            request_id: None,
            retry_after: None,
        };
        for status in [429, 500, 502, 503, 409, 423] {
            assert!(answer(status).is_transient(), "{status}");
        }
        for status in [400, 401, 403, 404, 410, 413, 422, 507] {
            assert!(!answer(status).is_transient(), "{status}");
        }
    }
}
