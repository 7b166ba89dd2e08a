//! The body of every error answer.

use serde::{Deserialize, Serialize};

/// The stable code of an error, by HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorId {
    /// 400: the request could not be read.
    BadRequest,
    /// 401: no token, or one that is not known.
    Unauthorized,
    /// 403: the token may not do this.
    Forbidden,
    /// 404: absent, or another account's.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 409: not in the present state.
    Conflict,
    /// 412: a precondition such as the tus version does not hold.
    PreconditionFailed,
    /// 413: larger than may be sent.
    PayloadTooLarge,
    /// 415: the wrong content type.
    UnsupportedMediaType,
    /// 422: understood, and wrong.
    UnprocessableEntity,
    /// 429: more requests than the limits allow; `retry-after` says when to go on.
    TooManyRequests,
    /// 460: the checksum of a part of an upload does not match what arrived.
    ChecksumMismatch,
    /// 500: our fault; the request id leads to the log.
    ServerError,
    /// 503: not now; the same request may succeed later.
    ServiceUnavailable,
    /// 507: the operator's disk is full.
    InsufficientStorage,
}

/// The body of every error answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The stable code.
    pub id: ErrorId,
    /// One sentence for people.
    pub message: String,
    /// Also in the header `x-request-id`, and in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
