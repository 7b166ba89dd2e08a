//! Conditional requests (RFC 9110, section 13): a client that names the version it knows is told
//! that nothing changed, or kept from overwriting what somebody else did meanwhile.
//!
//! A version is an entity tag: a digest of the very answer that the client got.

use std::convert::Infallible;
use std::str::FromStr as _;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::VARY;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum_extra::headers::{self, ETag, HeaderMapExt as _, IfNoneMatch};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{ApiError, ApiResult};

/// An entity tag of `text`, which consists of letters, digits and `-`.
pub fn tag(text: &str) -> ETag {
    let quoted = format!("\"{text}\"");
    ETag::from_str(&quoted).unwrap_or_else(|_| unreachable!("letters and digits: {quoted}"))
}

/// The entity tag of an answer with this body.
pub fn tag_of(body: &impl Serialize) -> ApiResult<ETag> {
    let json = serde_json::to_vec(body).map_err(ApiError::internal)?;
    Ok(tag(&hex::encode(&Sha256::digest(json)[..16])))
}

/// The versions of which one must be the present one, if the client names any.
#[derive(Debug)]
pub struct IfMatch(Option<headers::IfMatch>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.typed_get()))
    }
}

impl IfMatch {
    /// Whether anything is to be checked.
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Refuses to go on unless the client knows the present version.
    ///
    /// # Errors
    /// 412 when it names other versions only.
    pub fn check(&self, present: &ETag) -> ApiResult<()> {
        match &self.0 {
            Some(wanted) if !wanted.precondition_passes(present) => {
                Err(ApiError::precondition_failed(
                    "it changed since you looked: `If-Match` does not name its present version; \
                     get it again, and repeat the request if that is still right",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the client has the version already.
pub fn is_known(headers: &HeaderMap, present: &ETag) -> bool {
    headers
        .typed_get::<IfNoneMatch>()
        .is_some_and(|known| !known.precondition_passes(present))
}

/// 200 with the body and its entity tag, or 304 if the client has it already.
pub fn answer(headers: &HeaderMap, body: &impl Serialize) -> ApiResult<Response> {
    let tag = tag_of(body)?;
    let mut response = match is_known(headers, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(body).into_response(),
    };
    response.headers_mut().typed_insert(tag);
    let vary = HeaderValue::from_static("accept-language");
    response.headers_mut().insert(VARY, vary);
    Ok(response)
}
