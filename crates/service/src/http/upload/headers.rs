//! The headers of tus: names, and values read strictly.

use abbild_api::upload::{TUS_CONCAT_FINAL, TUS_VERSION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::{ApiError, ApiResult};
use crate::Service;
use crate::db::upload::PARTIAL;
use crate::uploads::checksum::Checksum;

pub const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");

const MAX_METADATA_BYTES: usize = 4096;
/// Room for the URLs of a hundred parts.
const MAX_CONCAT_BYTES: usize = 16 << 10;

/// The version of the protocol that the client speaks must be ours.
pub fn check_version(headers: &HeaderMap) -> ApiResult<()> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version == TUS_VERSION => Ok(()),
        _ => Err(ApiError::precondition_failed(format!(
            "the header `Tus-Resumable: {TUS_VERSION}` is required"
        ))),
    }
}

/// The text of a header, if it is there.
pub fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> ApiResult<Option<&'h str>> {
    headers
        .get(name)
        .map(HeaderValue::to_str)
        .transpose()
        .map_err(|_| ApiError::bad_request(format!("the header `{name}` must be ASCII")))
}

/// A whole number, if the header is there.
pub fn maybe_number(headers: &HeaderMap, name: &HeaderName) -> ApiResult<Option<u64>> {
    let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let value = value.to_str().ok().filter(digits);
    let number = value.and_then(|value| value.parse().ok());
    number.map(Some).ok_or_else(|| not_a_number(name))
}

/// A whole number.
pub fn number(headers: &HeaderMap, name: &HeaderName) -> ApiResult<u64> {
    maybe_number(headers, name)?.ok_or_else(|| not_a_number(name))
}

fn not_a_number(name: &HeaderName) -> ApiError {
    ApiError::bad_request(format!("the header `{name}` must be a whole number"))
}

/// `Upload-Length`, or `None` if the client defers it.
pub fn length(headers: &HeaderMap) -> ApiResult<Option<u64>> {
    let length = maybe_number(headers, &UPLOAD_LENGTH)?;
    let deferred = text(headers, &UPLOAD_DEFER_LENGTH)?;
    match (length, deferred) {
        (Some(length), None) => Ok(Some(length)),
        (None, Some("1")) => Ok(None),
        (None, Some(_)) => Err(ApiError::bad_request(
            "the header `Upload-Defer-Length` must be 1 if it is there",
        )),
        (Some(_), Some(_)) => Err(ApiError::bad_request(
            "`Upload-Length` and `Upload-Defer-Length` exclude each other",
        )),
        (None, None) => Err(ApiError::bad_request(
            "the header `Upload-Length`, or `Upload-Defer-Length: 1`, is required",
        )),
    }
}

/// `Upload-Metadata` as it came, which is kept, or an empty text.
pub fn metadata(headers: &HeaderMap) -> ApiResult<&str> {
    let text = text(headers, &UPLOAD_METADATA)?.unwrap_or_default();
    if text.len() > MAX_METADATA_BYTES {
        return Err(ApiError::bad_request(format!(
            "`Upload-Metadata` must have at most {MAX_METADATA_BYTES} characters"
        )));
    }
    let mut keys = Vec::new();
    for (key, _) in pairs(text) {
        if key.is_empty() || keys.contains(&key) {
            return Err(ApiError::bad_request(format!(
                "`Upload-Metadata` must consist of different keys; `{key}` is empty or comes twice"
            )));
        }
        keys.push(key);
    }
    if let Some((key, _)) = pairs(text).find(|(_, value)| STANDARD.decode(value).is_err()) {
        return Err(ApiError::bad_request(format!(
            "the value of `{key}` in `Upload-Metadata` is not base64"
        )));
    }
    if let Some(value) = metadata_value(text, "sha256") {
        let hex = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex {
            return Err(ApiError::bad_request(
                "`sha256` in `Upload-Metadata` must be 64 hexadecimal digits",
            ));
        }
    }
    Ok(text)
}

/// A value in `Upload-Metadata` that is text.
pub fn metadata_value(metadata: &str, key: &str) -> Option<String> {
    let (_, value) = pairs(metadata).find(|(name, _)| *name == key)?;
    String::from_utf8(STANDARD.decode(value).ok()?).ok()
}

fn pairs(metadata: &str) -> impl Iterator<Item = (&str, &str)> {
    metadata
        .split(',')
        .filter(|_| !metadata.is_empty())
        .map(|pair| {
            let pair = pair.trim_matches(' ');
            pair.split_once(' ').unwrap_or((pair, ""))
        })
}

/// `Upload-Concat` as it came, or an empty text.
pub fn concat(headers: &HeaderMap) -> ApiResult<&str> {
    let text = text(headers, &UPLOAD_CONCAT)?.unwrap_or_default();
    let known = text.is_empty() || text == PARTIAL || text.starts_with(TUS_CONCAT_FINAL);
    if !known || text.len() > MAX_CONCAT_BYTES {
        return Err(ApiError::bad_request(
            "`Upload-Concat` must be `partial`, or `final;` and the URLs of the parts",
        ));
    }
    Ok(text)
}

/// `Upload-Checksum`, from the headers or the trailers.
pub fn checksum(headers: &HeaderMap) -> ApiResult<Option<Checksum>> {
    text(headers, &UPLOAD_CHECKSUM)?
        .map(Checksum::parse)
        .transpose()
        .map_err(ApiError::bad_request)
}

/// An answer without a body.
pub fn tus(status: StatusCode) -> Response {
    let mut response = status.into_response();
    set(response.headers_mut(), TUS_RESUMABLE, TUS_VERSION);
    response
}

/// Says until when the upload may be continued.
pub fn set_expires(service: &Service, headers: &mut HeaderMap, updated_at: i64) {
    let hours = i64::from(service.config.limits.upload_idle_hours);
    let at = jiff::Timestamp::from_second(updated_at + hours * 3600).unwrap_or_default();
    if let Ok(date) = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at) {
        set(headers, UPLOAD_EXPIRES, &date);
    }
}

/// Sets a header to text of ours.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
