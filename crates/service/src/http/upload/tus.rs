//! tus 1.0.0: creation, appending, asking, termination.

use std::sync::Arc;

use abbild_api::upload::{OFFSET_OCTET_STREAM, PATH};
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRAILER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::super::openapi::Binary;
use super::super::{ApiError, ApiResult, BaseUrl};
use super::headers::{
    UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET,
    check_version, maybe_number, number, set, set_expires, text, tus,
};
use super::receive::{Terms, receive};
use super::{check_limits, check_not_failed, concat, find, give_up, headers, take_over};
use crate::Service;
use crate::auth::Caller;
use crate::db::upload::{self, LENGTH_UNKNOWN, NewUpload, PARTIAL, UploadRow};
use crate::db::{self, from_sql_size, sql_size};
use crate::uploads::capacity;

/// Begins an upload
///
/// With `Content-Type: application/offset+octet-stream` the body holds its first bytes. With
/// `Upload-Concat: final;…` it is made of complete uploads that were begun with
/// `Upload-Concat: partial`; they belong to it from then on, and are put together after the answer.
#[utoipa::path(
    post,
    path = "/v2/uploads",
    tag = "Uploads",
    params(
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
        ("upload-length" = Option<u64>, Header, description = "Bytes in all"),
        ("upload-defer-length" = Option<u8>, Header, description = "`1` if the length is not known yet"),
        ("upload-metadata" = Option<String>, Header, description = "Kept and given back by `HEAD`; `sha256`, the digest of the whole file in hexadecimal, is verified before the import"),
        ("upload-checksum" = Option<String>, Header, description = "Algorithm and digest of the body: sha256, sha1, sha512, md5 or crc32c, and base64"),
        ("upload-concat" = Option<String>, Header, description = "`partial`, or `final;` and the URLs of the parts"),
    ),
    request_body(
        content = inline(Option<Binary>),
        content_type = "application/offset+octet-stream",
        description = "The first bytes, if any",
    ),
    responses(
        (
            status = 201,
            description = "The upload",
            headers(
                ("location" = String, description = "Its URL"),
                ("upload-offset" = u64, description = "Bytes that are safe here"),
                ("upload-expires" = String, description = "When it is removed unless continued"),
                ("tus-resumable" = String, description = "`1.0.0`"),
            )
        ),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
        (status = 413, description = "An upload may not be that long"),
        (status = 422, description = "The first bytes show that it cannot become an image"),
        (status = 460, description = "The body does not have the checksum; the upload is there, and empty"),
        (status = 503, description = "The service receives as many uploads as it can"),
        (status = 507, description = "There is no room for it"),
    ),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    BaseUrl(base): BaseUrl,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    check_version(&headers)?;
    let concat = headers::concat(&headers)?;
    let metadata = headers::metadata(&headers)?;
    let (id, received) = if concat.is_empty() || concat == PARTIAL {
        let length = headers::length(&headers)?;
        let with_upload = content_type(&headers) == Some(OFFSET_OCTET_STREAM);
        let terms = with_upload.then(|| terms(&headers)).transpose()?;
        let id = begin(&service, account.id, length, metadata, concat).await?;
        let received = match terms {
            Some(terms) => first_bytes(&service, account.id, &id, body, terms, length).await?,
            None => 0,
        };
        (id, received)
    } else {
        (
            concat::begin(&service, account.id, concat, metadata).await?,
            0,
        )
    };
    let mut response = tus(StatusCode::CREATED);
    let headers = response.headers_mut();
    set(headers, LOCATION, &format!("{base}{PATH}/{id}"));
    set_expires(&service, headers, db::now());
    set(headers, UPLOAD_OFFSET, &received.to_string());
    Ok(response)
}

/// The body of a creation, if it has one. That it broke off is no reason to fail: the client learns
/// how far it came, and a creation it was.
async fn first_bytes(
    service: &Arc<Service>,
    account: i64,
    id: &str,
    body: Body,
    terms: Terms,
    length: Option<u64>,
) -> ApiResult<u64> {
    let row = find(service, account, id).await?;
    if body.is_end_stream() && length != Some(0) {
        return Ok(0);
    }
    let writing = take_over(service, id).await?;
    receive(service, row, body, terms, writing).await
}

/// Makes an upload, if there is room for it, and returns its id.
async fn begin(
    service: &Service,
    account: i64,
    length: Option<u64>,
    metadata: &str,
    concat: &str,
) -> ApiResult<String> {
    let mut tx = service.db.write().await?;
    let new = NewUpload {
        account,
        length: length.map_or(LENGTH_UNKNOWN, sql_size),
        metadata,
        name: None,
        concat,
    };
    let id = insert(service, &mut tx, &new, length.unwrap_or(0)).await?;
    tx.commit().await?;
    Ok(id)
}

/// An upload made of parts, for which there is room already.
pub async fn insert_final(
    service: &Service,
    tx: &mut db::Tx,
    account: i64,
    length: u64,
    metadata: &str,
    concat: &str,
) -> ApiResult<String> {
    let new = NewUpload {
        account,
        length: sql_size(length),
        metadata,
        name: None,
        concat,
    };
    insert(service, tx, &new, 0).await
}

/// Inserts an upload that needs room for `bytes`, and returns its id.
pub async fn insert(
    service: &Service,
    tx: &mut db::Tx,
    new: &NewUpload<'_>,
    bytes: u64,
) -> ApiResult<String> {
    let max = service.config.limits.max_upload_size;
    let length = from_sql_size(new.length);
    if length > max {
        return Err(too_large(max, length));
    }
    check_limits(service, tx, new.account).await?;
    capacity::check_new(service, tx, bytes).await?;
    let id = uuid::Uuid::new_v4().to_string();
    if new.length == 0 {
        // Nobody will ever write to it, but an import reads it. Without a row, it is removed at the
        // next start.
        let file = std::fs::File::create_new(service.uploads.path(&id));
        file.map_err(|e| ApiError::writing(&e))?;
    }
    upload::insert(tx, &id, new).await?;
    Ok(id)
}

/// 413, with the limit.
pub fn too_large(max: u64, length: u64) -> ApiError {
    ApiError::too_large(format!(
        "an upload may have at most {max} bytes, not {length}"
    ))
}

/// Says where to continue an upload
///
/// For an upload that was begun by `PUT`, the header `Tus-Resumable` is not needed.
#[utoipa::path(
    head,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier, or the name that it was given by `PUT`"),
        ("tus-resumable" = Option<String>, Header, description = "The version of the protocol: `1.0.0`; needed unless the upload was begun by `PUT`"),
    ),
    responses(
        (
            status = 200,
            description = "How far it is",
            headers(
                ("upload-offset" = Option<u64>, description = "Bytes that are safe here"),
                ("upload-length" = Option<u64>, description = "Bytes in all, if that is known"),
                ("upload-defer-length" = Option<u8>, description = "`1` if it is not"),
                ("upload-metadata" = Option<String>, description = "As it was sent"),
                ("upload-concat" = Option<String>, description = "As it was sent"),
                ("upload-expires" = String, description = "When it is removed unless continued"),
                ("tus-resumable" = String, description = "`1.0.0`"),
            )
        ),
        (status = 410, description = "It was refused"),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
    ),
)]
pub async fn head(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let row = find(&service, account.id, &id).await;
    // What was made by `PUT` may be asked for by a client that does not know tus.
    if row.as_ref().is_ok_and(|row| row.name.is_none()) || row.is_err() {
        check_version(&headers)?;
    }
    let row = row?;
    let gone = row.failure.is_some();
    let mut response = tus(if gone {
        StatusCode::GONE
    } else {
        StatusCode::OK
    });
    let headers = response.headers_mut();
    set(headers, CACHE_CONTROL, "no-store");
    if gone {
        return Ok(response);
    }
    // How far a concatenation has come is nobody's place to continue.
    if !row.is_final() || row.is_complete() {
        set(headers, UPLOAD_OFFSET, &row.received().to_string());
    }
    match row.length() {
        Some(length) => set(headers, UPLOAD_LENGTH, &length.to_string()),
        None => set(headers, UPLOAD_DEFER_LENGTH, "1"),
    }
    if !row.metadata.is_empty() {
        set(headers, UPLOAD_METADATA, &row.metadata);
    }
    if !row.concat.is_empty() {
        set(headers, UPLOAD_CONCAT, &row.concat);
    }
    set_expires(&service, headers, row.updated_at);
    Ok(response)
}

/// Appends to an upload
///
/// What is acknowledged is on disk. A newer request takes over from one whose connection hangs.
#[utoipa::path(
    patch,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier"),
        ("tus-resumable" = String, Header, description = "The version of the protocol: `1.0.0`"),
        ("upload-offset" = u64, Header, description = "Bytes that are here: the upload continues there"),
        ("upload-length" = Option<u64>, Header, description = "Bytes in all, if that was not known before"),
        ("upload-checksum" = Option<String>, Header, description = "Algorithm and digest of the body; it may also follow it as a trailer"),
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
        (status = 403, description = "It is made of parts"),
        (status = 409, description = "`Upload-Offset` is not where the upload continues, or another request is writing"),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
        (status = 413, description = "The body goes beyond the upload's length"),
        (status = 415, description = "`Content-Type` is not `application/offset+octet-stream`"),
        (status = 422, description = "What is here shows that it cannot become an image; the message is that of the report"),
        (status = 460, description = "The body does not have the checksum; nothing of it was kept"),
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
    if content_type(&headers) != Some(OFFSET_OCTET_STREAM) {
        return Err(ApiError::unsupported_media_type(format!(
            "`Content-Type` must be {OFFSET_OCTET_STREAM}"
        )));
    }
    let offset = number(&headers, &UPLOAD_OFFSET)?;
    let mut terms = terms(&headers)?;
    let row = find(&service, account.id, &id).await?;
    if row.is_final() {
        return Err(ApiError::forbidden(
            "this upload is made of parts; nothing can be appended to it",
        ));
    }
    let writing = take_over(&service, &row.id).await?;
    // Only now nobody else moves it.
    let row = find(&service, account.id, &row.id).await?;
    check_not_failed(&row)?;
    check_offset(&row, offset)?;
    terms.length = new_length(&service, &row, &headers).await?;
    check_content_length(&row, &terms, &headers)?;
    let received = receive(&service, row, body, terms, writing).await?;
    let mut response = tus(StatusCode::NO_CONTENT);
    set(response.headers_mut(), UPLOAD_OFFSET, &received.to_string());
    set_expires(&service, response.headers_mut(), db::now());
    Ok(response)
}

/// The client must know where the upload stands.
pub fn check_offset(row: &UploadRow, offset: u64) -> ApiResult<()> {
    if offset == row.received() {
        return Ok(());
    }
    Err(ApiError::conflict(format!(
        "the bytes begin at {offset}, but the upload continues at {}",
        row.received()
    )))
}

/// The length that this request says of an upload whose length was deferred.
async fn new_length(
    service: &Service,
    row: &UploadRow,
    headers: &HeaderMap,
) -> ApiResult<Option<u64>> {
    let Some(length) = maybe_number(headers, &UPLOAD_LENGTH)? else {
        return Ok(None);
    };
    let max = service.config.limits.max_upload_size;
    match row.length() {
        Some(known) if known == length => Ok(None),
        Some(known) => Err(ApiError::bad_request(format!(
            "`Upload-Length` is {length}, but it was {known} before and cannot change"
        ))),
        None if length > max => Err(too_large(max, length)),
        None if length < row.received() => Err(ApiError::bad_request(format!(
            "`Upload-Length` is {length}, but {} bytes are here already",
            row.received()
        ))),
        None => {
            let mut tx = service.db.write().await?;
            capacity::check_new(service, &mut tx, length - row.received()).await?;
            Ok(Some(length))
        }
    }
}

/// Refuses a body that is too long before it is sent.
fn check_content_length(row: &UploadRow, terms: &Terms, headers: &HeaderMap) -> ApiResult<()> {
    let Some(length) = row.length().or(terms.length) else {
        return Ok(());
    };
    let body = maybe_number(headers, &CONTENT_LENGTH)?.unwrap_or(0);
    if body > length - row.received().min(length) {
        return Err(ApiError::too_large(format!(
            "the body goes beyond the upload's length of {length} bytes"
        )));
    }
    Ok(())
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok())
}

fn terms(headers: &HeaderMap) -> ApiResult<Terms> {
    let checksum = headers::checksum(headers)?;
    let trailers = text(headers, &TRAILER)?.unwrap_or_default();
    let checksum_follows = trailers
        .split(',')
        .any(|name| name.trim().eq_ignore_ascii_case("upload-checksum"));
    Ok(Terms {
        checksum_follows: checksum_follows && checksum.is_none(),
        checksum,
        ..Terms::default()
    })
}

/// Gives an upload up
///
/// An image that waits for it fails.
#[utoipa::path(
    delete,
    path = "/v2/uploads/{id}",
    tag = "Uploads",
    params(
        ("id" = String, Path, description = "The upload's identifier, or the name that it was given by `PUT`"),
        ("tus-resumable" = Option<String>, Header, description = "The version of the protocol: `1.0.0`; needed unless the upload was begun by `PUT`"),
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
    let row = find(&service, account.id, &id).await?;
    if row.name.is_none() {
        check_version(&headers)?;
    }
    // Whoever still sends is told to stop.
    drop(
        service
            .uploads
            .take_over(&row.id)
            .await
            .map_err(ApiError::internal)?,
    );
    if !give_up(&service, &row.id, "its upload was given up").await? {
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
        ("x-http-method-override" = String, Header, pattern = "^(PATCH|DELETE|HEAD)$", description = "`PATCH`, `DELETE` or `HEAD`"),
        ("upload-offset" = Option<u64>, Header, description = "As for `PATCH`"),
        ("upload-length" = Option<u64>, Header, description = "As for `PATCH`"),
        ("upload-checksum" = Option<String>, Header, description = "As for `PATCH`"),
    ),
    request_body(
        content = inline(Binary),
        content_type = "application/offset+octet-stream",
        description = "As for `PATCH`",
    ),
    responses(
        (status = 200, description = "As for `HEAD`"),
        (status = 204, description = "As for `PATCH` and `DELETE`"),
        (status = 403, description = "As for `PATCH`"),
        (status = 405, description = "The header names no method of uploads"),
        (status = 409, description = "As for `PATCH` and `DELETE`"),
        (status = 410, description = "As for `HEAD`"),
        (status = 412, description = "`Tus-Resumable` is missing, or another version"),
        (status = 413, description = "As for `PATCH`"),
        (status = 415, description = "As for `PATCH`"),
        (status = 422, description = "As for `PATCH`"),
        (status = 460, description = "As for `PATCH`"),
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
