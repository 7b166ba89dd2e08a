//! What every request leaves behind: an id, a span that its log lines are in, and metrics.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, histogram};
use tracing::{Instrument, info_span};

use crate::telemetry::{REQUEST_SECONDS, REQUESTS};

/// The header that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids of clients are not taken over.
const MAX_ID_LENGTH: usize = 128;

/// The id under which a request is logged and answered; an extension of every request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// The client's or proxy's own, so that both logs can be put together, or else a new one.
    fn of(request: &Request) -> Self {
        let sane = |id: &&str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            !id.is_empty() && id.len() <= MAX_ID_LENGTH && id.bytes().all(allowed)
        };
        let given = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(sane);
        Self(given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
    }
}

/// The outermost layer.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(&request);
    let span = info_span!(
        "request",
        request.id = id.0,
        http.method = %request.method(),
        http.path = request.uri().path()
    );
    let header = HeaderValue::from_str(&id.0);
    request.extensions_mut().insert(id);
    let mut response = answer(request, next).instrument(span).await;
    if let Ok(value) = header {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn answer(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let response = next.run(request).await;
    let (status, took) = (response.status(), begun.elapsed());
    let code = status.as_str().to_owned();
    counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => code).increment(1);
    histogram!(REQUEST_SECONDS, "method" => method, "route" => route).record(took);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if is_routine(method, status) {
        tracing::debug!(http.status = status.as_u16(), duration_ms, "answered");
    } else {
        tracing::info!(http.status = status.as_u16(), duration_ms, "answered");
    }
    response
}

/// Clients may send any word as a method; labels must be few.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Whether nothing changed and nothing went wrong: clients poll.
fn is_routine(method: &str, status: StatusCode) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS") && !status.is_server_error()
}
