//! `/v2/uploads`: how the bytes of an image get here.
//!
//! Two protocols lead to the same rows and files: tus 1.0.0 ([`tus`], [`concat`]) for clients that
//! resume by themselves, and a plain `PUT` ([`put`]) for everything else. Whatever way bytes come,
//! [`receive`] writes them: what has been acknowledged is on disk, because bytes are synced before
//! the row that counts them is committed, and the answer is sent after that. A long request is made
//! safe piece by piece, so that little is sent again after a crash; its first bytes are looked at,
//! so that a hopeless image is refused early; and receiving goes on to a safe end even when the
//! client is gone.
//!
//! The protocol: <https://tus.io/protocols/resumable-upload>, version 1.0.0, with the extensions
//! creation, creation-with-upload, creation-defer-length, checksum, checksum-trailer, expiration,
//! termination and concatenation.

mod concat;
mod headers;
mod put;
mod receive;
mod tus;

use std::sync::Arc;

use abbild_api::upload::{PATH, TUS_EXTENSIONS, TUS_VERSION};
use abbild_api::{Quota, Stage};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiError, ApiResult};
use crate::Service;
use crate::db::upload::{self, UploadRow};
use crate::db::{self, image};
use crate::quota;
use crate::uploads::Writing;
use crate::uploads::checksum::ALGORITHMS;
use headers::{TUS_RESUMABLE, set};

pub use concat::resume_all;
pub use headers::metadata_value;

/// Seconds after which another upload may have ended.
const RETRY_AFTER: u64 = 60;

/// The routes. Bodies are streams of any length.
pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(tus::create))
        .routes(routes!(
            tus::head,
            tus::append,
            tus::delete,
            tus::overridden,
            put::put
        ))
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(name_version))
}

/// Every answer names the version of the protocol.
async fn name_version(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let refused = response.status() == StatusCode::PRECONDITION_FAILED;
    let headers = response.headers_mut();
    set(headers, TUS_RESUMABLE, TUS_VERSION);
    if refused {
        set(headers, HeaderName::from_static("tus-version"), TUS_VERSION);
    }
    response
}

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
        let max = service.config.limits.max_upload_size.to_string();
        let headers = response.headers_mut();
        for (name, value) in [
            ("tus-resumable", TUS_VERSION),
            ("tus-version", TUS_VERSION),
            ("tus-extension", TUS_EXTENSIONS),
            ("tus-max-size", &max),
            ("tus-checksum-algorithm", ALGORITHMS),
        ] {
            set(headers, HeaderName::from_static(name), value);
        }
    }
    response
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

/// Removes the file of an upload whose row could not be made. Where that cannot be told or done now,
/// the file is removed later, as any that no row knows.
pub async fn forget_file(service: &Service, id: &str) {
    if matches!(upload::exists(service.db.read(), id).await, Ok(false))
        && let Err(error) = service.uploads.remove_file(id)
    {
        tracing::warn!(%error, "removing the file of an upload failed");
    }
}

/// Ends an upload, and with `reason` the image that waits for it. Returns false while it is being
/// written or imported.
async fn give_up(service: &Service, id: &str, reason: &str) -> db::Result<bool> {
    let Some(_writing) = service.uploads.try_write(id).map_err(sqlx::Error::Io)? else {
        return Ok(false);
    };
    let mut tx = service.db.write().await?;
    if let Some(image) = image::by_upload(&mut tx, id).await? {
        if image.stage()? != Stage::Receiving {
            return Ok(false);
        }
        image::give_up(&mut tx, image.id, reason).await?;
    }
    let ids = upload::delete(&mut tx, id).await?;
    tx.commit().await?;
    for id in ids {
        service.uploads.remove_file(&id).map_err(sqlx::Error::Io)?;
    }
    Ok(true)
}

/// Fails an upload that is worth nothing, and the image that waits for it. The row stays, so that
/// whoever asks learns why; its bytes are removed.
async fn refuse(
    service: &Service,
    id: &str,
    reason: &str,
    report: Option<&abbild_guest::Report>,
) -> anyhow::Result<()> {
    let mut tx = service.db.write().await?;
    if let Some(image) = image::by_upload(&mut tx, id).await?
        && image.stage()? == Stage::Receiving
    {
        if let Some(report) = report {
            crate::import::keep_report(&mut tx, image.id, report).await?;
        }
        image::give_up(&mut tx, image.id, reason).await?;
    }
    upload::fail(&mut tx, id, reason).await?;
    tx.commit().await?;
    service.uploads.remove_file(id)?;
    Ok(())
}

/// An upload of the account.
async fn find(service: &Service, account: i64, id: &str) -> ApiResult<UploadRow> {
    upload::find(service.db.read(), account, id)
        .await?
        .ok_or_else(ApiError::not_found)
}

/// Claims an upload for writing, from whoever writes to it now.
async fn take_over(service: &Service, id: &str) -> ApiResult<Writing> {
    let claimed = service.uploads.take_over(id).await;
    claimed
        .map_err(|error| ApiError::writing(&error))?
        .ok_or_else(|| ApiError::conflict("another request is writing to this upload"))
}

/// Refuses to go on with an upload that was refused.
fn check_not_failed(row: &UploadRow) -> ApiResult<()> {
    match &row.failure {
        Some(reason) => Err(ApiError::unprocessable(reason.clone())),
        None => Ok(()),
    }
}

/// Whether one more upload may begin.
async fn check_limits(service: &Service, tx: &mut db::Tx, account: i64) -> ApiResult<()> {
    quota::check(&service.config.quotas, tx, account, &[(Quota::Uploads, 1)]).await?;
    let all = upload::unfinished(tx).await?;
    if all >= i64::from(service.config.limits.uploads_total) {
        return Err(ApiError::unavailable(
            "the service receives as many uploads as it can; try again in some minutes",
        )
        .with_retry_after(RETRY_AFTER));
    }
    Ok(())
}
