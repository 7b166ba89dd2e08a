//! `/metrics`, which must not become public by accident.
//!
//! Where `[metrics]` has a `listen`, it is there and nowhere else. Where it has a `token`, it is
//! on every listener for those who send it. With neither it is for this machine: asked for by a
//! loopback address, at a loopback address, and only while nothing says that a proxy stands
//! before the service.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, FORWARDED, HOST};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::{ApiError, ApiResult, health};
use crate::config::Config;
use crate::{Service, telemetry};

/// Prometheus' text format 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the listener of `[metrics]` serves.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/metrics", get(unguarded))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(service)
}

async fn unguarded(State(service): State<Arc<Service>>) -> ApiResult<Response> {
    let text = telemetry::render(&service).await?;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}

/// `GET /metrics` on the listeners of the API. For others it does not exist.
pub async fn show(State(service): State<Arc<Service>>, request: Request) -> ApiResult<Response> {
    if !may_see(&service.config, &request) {
        return Err(ApiError::not_found());
    }
    unguarded(State(service)).await
}

fn may_see(config: &Config, request: &Request) -> bool {
    let headers = request.headers();
    if let Some(token) = &config.metrics.token {
        return bears(headers, token.expose());
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let forwarded = headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for");
    config.metrics.listen.is_none()
        && config.public_url.is_none()
        && !forwarded
        && peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback())
        && host(headers, request.uri()).is_some_and(is_loopback)
}

/// Compared as digests, so that the time tells nothing of the token.
fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    given.is_some_and(|given| Sha256::digest(given) == Sha256::digest(token))
}

/// The host that the client named; HTTP/2 has it in the URI.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = headers.get(HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| uri.authority().map(|a| a.as_str()))
}

fn is_loopback(host: &str) -> bool {
    let bare = match host.parse::<axum::http::uri::Authority>() {
        Ok(authority) => authority.host().to_owned(),
        Err(_) => return false,
    };
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(config: &Config, peer: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        may_see(config, &request)
    }

    #[test]
    fn without_settings_only_this_machine_may_see_them() {
        let config = Config::default();
        let local = ("host", "127.0.0.1:8080");
        assert!(asked(&config, "127.0.0.1:9", &[local]));
        assert!(asked(&config, "[::1]:9", &[("host", "localhost")]));
        assert!(asked(&config, "[::1]:9", &[("host", "[::1]:8080")]));
        assert!(!asked(&config, "192.0.2.1:9", &[local]));
        assert!(!asked(
            &config,
            "127.0.0.1:9",
            &[("host", "images.example.org")]
        ));
        assert!(!asked(&config, "127.0.0.1:9", &[]));
        let via = ("x-forwarded-for", "192.0.2.1");
        assert!(!asked(&config, "127.0.0.1:9", &[local, via]));
        let config = Config {
            public_url: Some("https://images.example.org".to_owned()),
            ..config
        };
        assert!(!asked(&config, "127.0.0.1:9", &[local]));
    }

    #[test]
    fn a_token_is_needed_where_there_is_one() {
        let mut config = Config::default();
        config.metrics.token = Some("sesame".to_owned().into());
        let local = ("host", "127.0.0.1:8080");
        assert!(!asked(&config, "127.0.0.1:9", &[local]));
        assert!(!asked(
            &config,
            "127.0.0.1:9",
            &[local, ("authorization", "Bearer x")]
        ));
        assert!(asked(
            &config,
            "192.0.2.1:9",
            &[("authorization", "Bearer sesame")]
        ));
    }

    #[test]
    fn with_a_listener_of_their_own_they_are_there_alone() {
        let mut config = Config::default();
        config.metrics.listen = Some(([127, 0, 0, 1], 9464).into());
        assert!(!asked(&config, "127.0.0.1:9", &[("host", "localhost")]));
    }
}
