//! `/v2/uploads`: tus 1.0.0 with creation, termination and expiration.
//!
//! What has been acknowledged is on disk: bytes are synced before the row that counts them is
//! committed, and the answer is sent after that. A long `PATCH` is made safe piece by piece, so
//! that little is sent again after a crash. Receiving goes on to a safe end even when the client
//! is gone.
//!
//! The protocol: <https://tus.io/protocols/resumable-upload>, version 1.0.0.

use std::sync::Arc;

use abbild_api::Stage;
use abbild_api::upload::{OFFSET_OCTET_STREAM, PATH, TUS_EXTENSIONS, TUS_VERSION};
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::openapi::Binary;
use super::{ApiError, ApiResult, BaseUrl};
use crate::Service;
use crate::auth::Caller;
use crate::db::upload::{self, UploadRow};
use crate::db::{self, from_sql_size, image, sql_size};
use crate::uploads::Writing;

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// How much may have to be sent again after a crash.
const CHECKPOINT_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 1 << 20;
const MAX_METADATA_BYTES: usize = 4096;

/// Adds to the answers to `OPTIONS` what the server can do. A layer, because the layer for CORS
/// answers every `OPTIONS` itself.
pub async fn announce(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request.method() == Method::OPTIONS && request.uri().path().starts_with(PATH);
    let mut response = next.run(request).await;
    if asked {
        let headers = response.headers_mut();
        set(headers, TUS_RESUMABLE, TUS_VERSION);
        set(headers, HeaderName::from_static("tus-version"), TUS_VERSION);
        set(
            headers,
            HeaderName::from_static("tus-extension"),
            TUS_EXTENSIONS,
        );
        let max = service.config.limits.max_upload_size.to_string();
        set(headers, HeaderName::from_static("tus-max-size"), &max);
    }
    response
}

/// Begins an upload
#[utoipa::path(
    post,
    path = "/v2/uploads",
    tag = "Uploads",
    params(
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
        ("upload-length" = u64, Header, description = "Bytes in all"),
        ("upload-metadata" = Option<String>, Header, description = "Kept and given back by `HEAD`"),
    ),
    responses(
        (
            status = 201,
            description = "The upload",
            headers(
                ("location" = String, description = "Its URL"),
                ("upload-expires" = String, description = "When it is removed unless continued"),
                ("tus-resumable" = String, description = "`1.0.0`"),
            )
        ),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
        (status = 413, description = "An upload may not be that long"),
        (status = 507, description = "The service has no room left"),
    ),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
) -> ApiResult<Response> {
    check_version(&headers)?;
    let length = number(&headers, &UPLOAD_LENGTH)?;
    let max = service.config.limits.max_upload_size;
    if length > max {
        return Err(ApiError::too_large(format!(
            "an upload may have at most {max} bytes, not {length}"
        )));
    }
    let metadata = headers.get(UPLOAD_METADATA).map_or(Ok(""), |v| v.to_str());
    let metadata = metadata
        .ok()
        .filter(|text| text.len() <= MAX_METADATA_BYTES)
        .ok_or_else(|| {
            ApiError::bad_request("`Upload-Metadata` must be at most 4096 ASCII characters")
        })?;
    let id = uuid::Uuid::new_v4().to_string();
    // The file comes first: a file without a row is removed at the next start.
    service
        .uploads
        .create_file(&id)
        .map_err(|e| ApiError::writing(&e))?;
    let mut tx = service.db.write().await?;
    upload::insert(&mut tx, account.id, &id, sql_size(length), metadata).await?;
    tx.commit().await?;
    let mut response = tus(StatusCode::CREATED);
    set(
        response.headers_mut(),
        LOCATION,
        &format!("{base}{PATH}/{id}"),
    );
    set_expires(&service, response.headers_mut(), db::now());
    Ok(response)
}

/// Says where to continue an upload
#[utoipa::path(
    head,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier"),
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
    ),
    responses(
        (
            status = 200,
            description = "How far it is",
            headers(
                ("upload-offset" = u64, description = "Bytes that are safe here"),
                ("upload-length" = u64, description = "Bytes in all"),
                ("upload-metadata" = String, description = "As it was sent"),
                ("upload-expires" = String, description = "When it is removed unless continued"),
                ("tus-resumable" = String, description = "`1.0.0`"),
            )
        ),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
    ),
)]
pub async fn head(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    check_version(&headers)?;
    let row = find(&service, account.id, &id).await?;
    let mut response = tus(StatusCode::OK);
    let headers = response.headers_mut();
    set(headers, UPLOAD_OFFSET, &row.received_bytes.to_string());
    set(headers, UPLOAD_LENGTH, &row.length_bytes.to_string());
    if !row.metadata.is_empty() {
        set(headers, UPLOAD_METADATA, &row.metadata);
    }
    set(headers, CACHE_CONTROL, "no-store");
    set_expires(&service, headers, row.updated_at);
    Ok(response)
}

/// Appends to an upload
///
/// What is acknowledged is on disk.
#[utoipa::path(
    patch,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier"),
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
        ("upload-offset" = u64, Header, description = "Bytes that are here: the upload continues there"),
    ),
    request_body(
        content = inline(Binary),
        content_type = "application/offset+octet-stream",
        description = "The bytes from `Upload-Offset` on",
    ),
    responses(
        (
            status = 204,
            description = "They are safe",
            headers(
                ("upload-offset" = u64, description = "Bytes that are safe here"),
                ("upload-expires" = String, description = "When it is removed unless continued"),
                ("tus-resumable" = String, description = "`1.0.0`"),
            )
        ),
        (status = 409, description = "`Upload-Offset` is not where the upload continues, or another request is writing"),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
        (status = 413, description = "The body goes beyond the upload's length"),
        (status = 415, description = "`Content-Type` is not `application/offset+octet-stream`"),
        (status = 507, description = "The service has no room left"),
    ),
)]
pub async fn append(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    check_version(&headers)?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if content_type != Some(OFFSET_OCTET_STREAM) {
        return Err(ApiError::unsupported_media_type(format!(
            "`Content-Type` must be {OFFSET_OCTET_STREAM}"
        )));
    }
    let offset = number(&headers, &UPLOAD_OFFSET)?;
    let writing = service
        .uploads
        .try_write(&id)
        .ok_or_else(|| ApiError::conflict("another request is writing to this upload"))?;
    let row = find(&service, account.id, &id).await?;
    if offset != from_sql_size(row.received_bytes) {
        return Err(ApiError::conflict(format!(
            "`Upload-Offset` is {offset}, but the upload continues at {}",
            row.received_bytes
        )));
    }
    // A task of its own, because this future is dropped when the connection breaks.
    let task = receive(service.clone(), row, body.into_data_stream(), writing);
    let received = tokio::spawn(task).await.map_err(ApiError::internal)??;
    let mut response = tus(StatusCode::NO_CONTENT);
    set(response.headers_mut(), UPLOAD_OFFSET, &received.to_string());
    set_expires(&service, response.headers_mut(), db::now());
    Ok(response)
}

/// Writes a body to the file, making it safe every so often and at the end. What arrived before
/// an error is kept.
async fn receive(
    service: Arc<Service>,
    row: UploadRow,
    mut body: BodyDataStream,
    _writing: Writing,
) -> ApiResult<u64> {
    let mut received = from_sql_size(row.received_bytes);
    let length = from_sql_size(row.length_bytes);
    let file = service
        .uploads
        .open_at(&row.id, received)
        .await
        .map_err(|e| ApiError::writing(&e))?;
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut safe = received;
    let mut outcome = Ok(());
    while let Some(chunk) = body.next().await {
        outcome = write(chunk, &mut file, &mut received, length).await;
        if outcome.is_err() {
            break;
        }
        if received - safe >= CHECKPOINT_BYTES {
            checkpoint(&service, &row.id, &mut file, received, length).await?;
            safe = received;
        }
    }
    checkpoint(&service, &row.id, &mut file, received, length).await?;
    outcome.map(|()| received)
}

async fn write(
    chunk: Result<Bytes, axum::Error>,
    file: &mut BufWriter<File>,
    received: &mut u64,
    length: u64,
) -> ApiResult<()> {
    let chunk = chunk.map_err(|e| ApiError::bad_request(format!("the body broke off: {e}")))?;
    let end = *received + chunk.len() as u64;
    if end > length {
        return Err(ApiError::too_large(format!(
            "the body goes beyond the upload's length of {length} bytes"
        )));
    }
    file.write_all(&chunk)
        .await
        .map_err(|e| ApiError::writing(&e))?;
    *received = end;
    Ok(())
}

/// Syncs the file, then counts the bytes; with the last one the import may begin.
async fn checkpoint(
    service: &Service,
    id: &str,
    file: &mut BufWriter<File>,
    received: u64,
    length: u64,
) -> ApiResult<()> {
    file.flush().await.map_err(|e| ApiError::writing(&e))?;
    file.get_ref()
        .sync_data()
        .await
        .map_err(|e| ApiError::writing(&e))?;
    let mut tx = service.db.write().await?;
    if !upload::advance(&mut tx, id, sql_size(received)).await? {
        return Err(ApiError::not_found());
    }
    let mut ready = false;
    if received == length
        && let Some(image) = image::by_upload(&mut tx, id).await?
        && image.stage()? == Stage::Receiving
    {
        image::set_stage(&mut tx, image.id, Stage::Queued).await?;
        db::action::make_ready(&mut tx, image.id, "create").await?;
        ready = true;
    }
    tx.commit().await?;
    if ready {
        service.announce("image");
    }
    Ok(())
}

/// Gives an upload up
///
/// An image that waits for it fails.
#[utoipa::path(
    delete,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier"),
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "It is being written or imported"),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
    ),
)]
pub async fn delete(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    check_version(&headers)?;
    find(&service, account.id, &id).await?;
    if !give_up(&service, &id, "its upload was given up").await? {
        return Err(ApiError::conflict(
            "the upload is being written or imported",
        ));
    }
    Ok(tus(StatusCode::NO_CONTENT))
}

/// Does what `X-HTTP-Method-Override` says
///
/// For clients behind proxies that know neither `PATCH` nor `DELETE`.
#[utoipa::path(
    post,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier"),
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
        ("x-http-method-override" = String, Header, description = "`PATCH`, `DELETE` or `HEAD`"),
        ("upload-offset" = Option<u64>, Header, description = "As for `PATCH`"),
    ),
    request_body(
        content = inline(Binary),
        content_type = "application/offset+octet-stream",
        description = "As for `PATCH`",
    ),
    responses(
        (status = 200, description = "As for `HEAD`"),
        (status = 204, description = "As for `PATCH` and `DELETE`"),
        (status = 405, description = "The header names no method of uploads"),
        (status = 409, description = "As for `PATCH` and `DELETE`"),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
        (status = 413, description = "As for `PATCH`"),
        (status = 415, description = "As for `PATCH`"),
        (status = 507, description = "As for `PATCH`"),
    ),
)]
pub async fn overridden(
    state: State<Arc<Service>>,
    caller: Caller,
    path: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let method = headers
        .get("x-http-method-override")
        .and_then(|v| v.to_str().ok());
    match method.map(str::to_ascii_uppercase).as_deref() {
        Some("PATCH") => append(state, caller, path, headers, body).await,
        Some("DELETE") => delete(state, caller, path, headers).await,
        Some("HEAD") => head(state, caller, path, headers).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Removes uploads that nobody has continued for long.
pub async fn expire(service: &Service) -> anyhow::Result<()> {
    let hours = i64::from(service.config.limits.upload_idle_hours);
    for id in upload::idle_since(service.db.read(), db::now() - hours * 3600).await? {
        let reason = format!("its upload was not continued for {hours} hours");
        give_up(service, &id, &reason).await?;
    }
    Ok(())
}

/// Ends an upload, and with `reason` the image that waits for it. Returns false while it is being
/// written or imported.
async fn give_up(service: &Service, id: &str, reason: &str) -> db::Result<bool> {
    let Some(_writing) = service.uploads.try_write(id) else {
        return Ok(false);
    };
    let mut tx = service.db.write().await?;
    if let Some(image) = image::by_upload(&mut tx, id).await? {
        if image.stage()? != Stage::Receiving {
            return Ok(false);
        }
        image::fail(&mut tx, image.id, reason).await?;
        db::action::fail_open(&mut tx, "image", image.id, reason).await?;
    }
    upload::delete(&mut tx, id).await?;
    tx.commit().await?;
    service.uploads.remove_file(id).map_err(sqlx::Error::Io)?;
    Ok(true)
}

async fn find(service: &Service, account: i64, id: &str) -> ApiResult<UploadRow> {
    upload::find(service.db.read(), account, id)
        .await?
        .ok_or_else(ApiError::not_found)
}

fn check_version(headers: &HeaderMap) -> ApiResult<()> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version == TUS_VERSION => Ok(()),
        _ => Err(ApiError::precondition_failed(format!(
            "the header `Tus-Resumable: {TUS_VERSION}` is required"
        ))),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> ApiResult<u64> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| ApiError::bad_request(format!("the header `{name}` must be a whole number")))
}

fn tus(status: StatusCode) -> Response {
    let mut response = status.into_response();
    set(response.headers_mut(), TUS_RESUMABLE, TUS_VERSION);
    response
}

fn set_expires(service: &Service, headers: &mut HeaderMap, updated_at: i64) {
    let hours = i64::from(service.config.limits.upload_idle_hours);
    let at = jiff::Timestamp::from_second(updated_at + hours * 3600).unwrap_or_default();
    if let Ok(date) = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at) {
        set(headers, UPLOAD_EXPIRES, &date);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
