//! `Idempotency-Key`: a `POST` that is sent again has its effect once.
//!
//! A client that got no answer cannot know whether its request was carried out. With a key of its
//! own choice it may send the same request again: within 24 hours the first answer is repeated, with
//! `idempotency-replayed: true`. In detail:
//!
//! - The same key with another method, path, body or token is refused with 422.
//! - While the first request runs, a second one is refused with 409 and `retry-after`.
//! - An answer that is an error frees the key, because an error means that nothing was done.
//! - After a crash the request is carried out again if it had no effect yet. If it had one and the
//!   answer is lost, the key answers 409 and says so, until it is forgotten.
//! - An answer with a secret (`Cache-Control: no-store`, or a cookie) is not kept: repeating it
//!   answers 409.
//! - The bytes of uploads have offsets of their own and are not looked at: of `POST /v2/uploads` the
//!   tus headers count in place of the body.
//!
//! Based on the IETF draft `draft-ietf-httpapi-idempotency-key-header`.

use std::collections::BTreeMap;
use std::sync::Arc;

use abbild_api::upload;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::{ApiError, ApiResult, MAX_BODY_BYTES};
use crate::auth::Caller;
use crate::db::idempotency::{self, KeyRow, PATIENCE};
use crate::{Service, db};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key, in bytes.
const MAX_KEY: usize = 255;
/// Seconds after which a request is likely to have ended.
const SOON: u64 = 1;

/// The headers of an answer that are repeated with it.
static KEPT: [HeaderName; 6] = [
    CONTENT_TYPE,
    LOCATION,
    ETAG,
    HeaderName::from_static("tus-resumable"),
    HeaderName::from_static("upload-expires"),
    HeaderName::from_static("upload-offset"),
];

/// The headers that say what an upload shall be.
const UPLOAD_HEADERS: [&str; 4] = [
    "upload-length",
    "upload-defer-length",
    "upload-metadata",
    "upload-concat",
];

/// The layer that honours the header.
pub async fn once(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let uploading = request.uri().path().strip_prefix(upload::PATH);
    let applies = request.method() == Method::POST
        && request.headers().contains_key(IDEMPOTENCY_KEY)
        && !uploading.is_some_and(|rest| rest.starts_with('/'));
    if !applies {
        return next.run(request).await;
    }
    handle(service, request, next)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn handle(service: Arc<Service>, request: Request, next: Next) -> ApiResult<Response> {
    let (mut parts, body) = request.into_parts();
    let key = key(&parts.headers);
    let Ok(Caller(account)) = Caller::from_request_parts(&mut parts, &service).await else {
        // Whatever is wrong, the handler says it better.
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let (content, body) = if parts.uri.path() == upload::PATH {
        (Bytes::new(), body)
    } else {
        let content = to_bytes(body, MAX_BODY_BYTES)
            .await
            .map_err(|_| too_large_or_broken_off())?;
        (content.clone(), Body::from(content))
    };
    // Only now: an answer before the body was read costs the client its connection.
    let key = key?;
    let digest = digest(&parts, &content);
    let attempt = match begin(&service, account.id, &key, &digest).await? {
        Begun::Now(attempt) => attempt,
        Begun::Before(answer) => return Ok(answer),
    };
    // A task of its own, because this future is dropped when the client gives up waiting, and a
    // request is either carried out or not.
    let work = carry_out(service, attempt, Request::from_parts(parts, body), next);
    tokio::spawn(work.in_current_span())
        .await
        .map_err(ApiError::internal)
}

fn key(headers: &HeaderMap) -> ApiResult<String> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = values
        .next()
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
        .filter(|key| (1..=MAX_KEY).contains(&key.len()));
    match (key, values.next()) {
        (Some(key), None) => Ok(key.to_owned()),
        _ => Err(ApiError::bad_request(format!(
            "the header `Idempotency-Key` must be there once, with 1 to {MAX_KEY} visible ASCII characters"
        ))),
    }
}

fn too_large_or_broken_off() -> ApiError {
    ApiError::too_large(format!(
        "the body broke off, or has more than {MAX_BODY_BYTES} bytes"
    ))
}

/// What makes two requests the same, in hexadecimal.
fn digest(parts: &Parts, content: &[u8]) -> String {
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map_or(&b""[..], HeaderValue::as_bytes)
    };
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(header("authorization"));
    field(parts.method.as_str().as_bytes());
    field(target.as_bytes());
    if parts.uri.path() == upload::PATH {
        for name in UPLOAD_HEADERS {
            field(header(name));
        }
    }
    field(content);
    hex::encode(hash.finalize())
}

/// What became of a key.
enum Begun {
    /// The request may be carried out, by this attempt.
    Now(String),
    /// It was, and this was the answer.
    Before(Response),
}

/// Takes the key for this request, in one transaction.
async fn begin(service: &Service, account: i64, key: &str, digest: &str) -> ApiResult<Begun> {
    let mut tx = service.db.write().await?;
    if let Some(row) = idempotency::find(&mut tx, account, key).await?
        && let Some(answer) = known(row, digest)?
    {
        return Ok(Begun::Before(answer));
    }
    let attempt = uuid::Uuid::new_v4().to_string();
    idempotency::begin(&mut tx, account, key, digest, &attempt).await?;
    tx.commit().await?;
    Ok(Begun::Now(attempt))
}

/// The answer that is known; `None` when the request was abandoned before it had an effect.
fn known(row: KeyRow, digest: &str) -> ApiResult<Option<Response>> {
    if row.request != digest {
        return Err(ApiError::unprocessable(
            "this `Idempotency-Key` was used for another request; a new request needs a new key",
        ));
    }
    if let Some(status) = row.status {
        return replay(status, row.headers, row.body).map(Some);
    }
    if db::now() < row.begun_at + PATIENCE {
        let error = ApiError::conflict(
            "the request with this `Idempotency-Key` is being carried out; ask again for its answer",
        );
        return Err(error.with_retry_after(SOON));
    }
    if row.effective != 0 {
        return Err(ApiError::conflict(
            "the request with this `Idempotency-Key` was carried out, but its answer was lost when the service stopped; look at what there is now, and use a new key for a new request",
        ));
    }
    Ok(None)
}

fn replay(status: i64, headers: Option<String>, body: Option<String>) -> ApiResult<Response> {
    let Some((headers, body)) = headers.zip(body) else {
        return Err(ApiError::conflict(format!(
            "the request with this `Idempotency-Key` was answered with {status}; the answer held a secret, which is shown once, or was too long to be kept"
        )));
    };
    let status = u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| ApiError::internal(format!("a kept answer has the status {status}")))?;
    let mut response = (status, body).into_response();
    response.headers_mut().remove(CONTENT_TYPE);
    let headers: BTreeMap<String, String> = db::from_json(&headers)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(ApiError::internal)?;
        let value = HeaderValue::try_from(value).map_err(ApiError::internal)?;
        response.headers_mut().insert(name, value);
    }
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert(REPLAYED, yes);
    Ok(response)
}

async fn carry_out(
    service: Arc<Service>,
    attempt: String,
    request: Request,
    next: Next,
) -> Response {
    let response = idempotency::on_behalf(attempt.clone(), next.run(request)).await;
    let (response, kept) = kept(response).await;
    // What was done is done: the answer is given even if it cannot be kept.
    if let Err(error) = conclude(&service, &attempt, response.status(), kept).await {
        tracing::error!(%error, "keeping the answer of a request with an idempotency key failed");
    }
    response
}

/// The answer, and its headers and body as far as they may be kept.
async fn kept(response: Response) -> (Response, Option<(String, String)>) {
    let headers = response.headers();
    let secret = headers.contains_key(SET_COOKIE)
        || headers
            .get(CACHE_CONTROL)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("no-store"));
    let length = response.body().size_hint().upper();
    let short = length.is_some_and(|length| length <= MAX_BODY_BYTES as u64);
    if secret || !short || !response.status().is_success() {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let Ok(content) = to_bytes(body, MAX_BODY_BYTES).await else {
        let error = ApiError::internal("an answer broke off before it was sent");
        return (error.into_response(), None);
    };
    let headers: BTreeMap<&str, &str> = KEPT
        .iter()
        .filter_map(|name| Some((name.as_str(), parts.headers.get(name)?.to_str().ok()?)))
        .collect();
    let kept = str::from_utf8(&content)
        .ok()
        .map(|content| (db::to_json(&headers), content.to_owned()));
    (Response::from_parts(parts, Body::from(content)), kept)
}

async fn conclude(
    service: &Service,
    attempt: &str,
    status: StatusCode,
    kept: Option<(String, String)>,
) -> db::Result<()> {
    let mut tx = service.db.write().await?;
    if status.is_client_error() || status.is_server_error() {
        // After a fault of ours with an effect nobody knows how far it went.
        idempotency::release(&mut tx, attempt, status.is_client_error()).await?;
    } else {
        let kept = kept.as_ref().map(|(h, b)| (h.as_str(), b.as_str()));
        idempotency::finish(&mut tx, attempt, status.as_u16(), kept).await?;
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(begun_at: i64, effective: i64) -> KeyRow {
        KeyRow {
            request: "digest".to_owned(),
            begun_at,
            effective,
            status: None,
            headers: None,
            body: None,
        }
    }

    fn status(known: ApiResult<Option<Response>>) -> Option<u16> {
        match known {
            Ok(answer) => answer.map(|answer| answer.status().as_u16()),
            Err(error) => Some(error.into_response().status().as_u16()),
        }
    }

    #[test]
    fn an_unanswered_request_runs_was_lost_or_can_be_made_again() {
        let long_ago = db::now() - PATIENCE;
        let running = known(row(db::now(), 0), "digest").unwrap_err();
        let running = running.into_response();
        assert_eq!(running.status(), 409);
        assert_eq!(running.headers()["retry-after"], "1");
        assert_eq!(status(known(row(long_ago, 1), "digest")), Some(409), "lost");
        assert_eq!(status(known(row(long_ago, 0), "digest")), None, "again");
        assert_eq!(status(known(row(long_ago, 0), "other")), Some(422));
    }

    #[tokio::test]
    async fn secrets_are_not_kept() {
        for (name, value) in [
            (CACHE_CONTROL, "private, no-store"),
            (SET_COOKIE, "session=x"),
        ] {
            let response = (StatusCode::CREATED, [(name, value)], "secret").into_response();
            let (response, kept) = kept(response).await;
            assert_eq!(kept, None);
            let body = to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, "secret", "it is shown once");
        }
        let repeated = KeyRow {
            status: Some(201),
            ..row(db::now(), 1)
        };
        assert_eq!(status(known(repeated, "digest")), Some(409));
        let (_, kept) = kept((StatusCode::CREATED, "open").into_response()).await;
        assert!(kept.is_some());
    }
}
