//! Error answers. Handlers return [`ApiError`]; the body is written by [`finish`], the outermost
//! layer, because only there is the request id known. Faults of ours are logged once, with that
//! id, and shown without their cause.

use abbild_api::{ErrorBody, ErrorId};
use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::observe::RequestId;

/// The longest message that is taken over from the framework.
const MAX_MESSAGE_BYTES: usize = 4096;

/// An error answer in the making.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    id: ErrorId,
    message: String,
    /// Seconds after which the same request may succeed.
    retry_after: Option<u64>,
    /// What happened, for the log only.
    cause: Option<String>,
}

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, id: ErrorId, message: impl Into<String>) -> Self {
        Self {
            status,
            id,
            message: message.into(),
            retry_after: None,
            cause: None,
        }
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorId::BadRequest, message)
    }

    /// 401
    pub fn unauthorized() -> Self {
        Self::unauthorized_because("Unable to authenticate you.")
    }

    /// 401
    pub fn unauthorized_because(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorId::Unauthorized, message)
    }

    /// 403
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorId::Forbidden, message)
    }

    /// 404
    pub fn not_found() -> Self {
        let message = "The resource you were accessing could not be found.";
        Self::new(StatusCode::NOT_FOUND, ErrorId::NotFound, message)
    }

    /// 405
    pub fn method_not_allowed() -> Self {
        let message = "This path does not support the method.";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorId::MethodNotAllowed,
            message,
        )
    }

    /// 409
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorId::Conflict, message)
    }

    /// 412
    pub fn precondition_failed(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            ErrorId::PreconditionFailed,
            message,
        )
    }

    /// 413
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorId::PayloadTooLarge,
            message,
        )
    }

    /// 415
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorId::UnsupportedMediaType,
            message,
        )
    }

    /// 422
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            ErrorId::UnprocessableEntity,
            message,
        )
    }

    /// 429, with the seconds after which to try again
    pub fn too_many_requests(message: impl Into<String>, retry_after: u64) -> Self {
        let id = ErrorId::TooManyRequests;
        Self::new(StatusCode::TOO_MANY_REQUESTS, id, message).with_retry_after(retry_after)
    }

    /// Says in how many seconds the same request may succeed.
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 460, a status of tus: the checksum of the body does not match.
    pub fn checksum_mismatch(message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, ErrorId::ChecksumMismatch, message)
    }

    /// 503
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorId::ServiceUnavailable,
            message,
        )
    }

    /// 507
    pub fn insufficient_storage(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            ErrorId::InsufficientStorage,
            message,
        )
    }

    /// The same error, which says in front what it is about.
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// 503, of what was going on when the service was told to stop
    pub fn stopping() -> Self {
        let message = "the service is being stopped; what arrived is kept, continue in a moment";
        Self::unavailable(message).with_retry_after(2)
    }

    /// 500
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let message = "The service failed; its operator finds the cause under the request id.";
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorId::ServerError,
            message,
        );
        error.cause = Some(format!("{cause:#}"));
        error
    }

    /// 507, or 500 for any other failure to write what was received.
    pub fn writing(error: &std::io::Error) -> Self {
        if matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ) {
            let message = "The service has no room left; continue the upload later.";
            return Self::insufficient_storage(message);
        }
        Self::internal(error)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every answer a complete content type, and every error its body.
pub async fn finish(request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    let error = match response.extensions_mut().remove::<ApiError>() {
        None => foreign(&mut response).await,
        own => own,
    };
    if let Some(error) = error {
        if let Some(cause) = &error.cause {
            tracing::error!(cause, "a request failed");
        }
        let body = Json(ErrorBody {
            id: error.id,
            message: error.message,
            request_id: request_id.map(|id| id.0),
        });
        let mut headers = std::mem::take(response.headers_mut());
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_TYPE);
        response = (error.status, body).into_response();
        response.headers_mut().extend(headers);
    }
    // Some clients read a JSON body without a charset as Latin-1.
    if let Some(content_type) = response.headers_mut().get_mut(CONTENT_TYPE)
        && content_type == "application/json"
    {
        *content_type = HeaderValue::from_static("application/json; charset=utf-8");
    }
    response
}

/// The error in an answer that is none of ours, such as what the framework says of a parameter
/// that cannot be read.
async fn foreign(response: &mut Response) -> Option<ApiError> {
    let status = response.status();
    let id = match status.as_u16() {
        404 => return Some(ApiError::not_found()),
        405 => return Some(ApiError::method_not_allowed()),
        409 => ErrorId::Conflict,
        412 => ErrorId::PreconditionFailed,
        413 => ErrorId::PayloadTooLarge,
        415 => ErrorId::UnsupportedMediaType,
        422 => ErrorId::UnprocessableEntity,
        400..500 => ErrorId::BadRequest,
        500.. => ErrorId::ServerError,
        _ => return None,
    };
    let body = std::mem::take(response.body_mut());
    let text = to_bytes(body, MAX_MESSAGE_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    if id == ErrorId::ServerError {
        return Some(ApiError::internal(text));
    }
    Some(ApiError::new(status, id, text))
}
