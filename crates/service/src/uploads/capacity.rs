//! Whether there is room for what uploads will bring.
//!
//! Of the bytes that are free on the staging filesystem, those are spoken for that other uploads
//! announced and have not sent yet. A reserve stays free for everybody else on the machine, the
//! database above all.

use std::io;
use std::path::Path;

use crate::Service;
use crate::db::{self, from_sql_size, upload};
use crate::http::{ApiError, ApiResult};

/// Bytes that may still be written to the filesystem of `path` by us.
///
/// # Errors
/// Those of `statvfs`.
pub fn free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes sure that an upload of `bytes` fits beside those that were promised their room already.
/// With the write lock held, so that two cannot be promised the same.
///
/// # Errors
/// 507 with the numbers, if it does not.
pub async fn check_new(service: &Service, tx: &mut db::Tx, bytes: u64) -> ApiResult<()> {
    let free = free(service.uploads.directory()).map_err(ApiError::internal)?;
    let promised = from_sql_size(upload::promised(tx).await?);
    let reserve = service.config.limits.staging_reserve;
    let left = free.saturating_sub(promised).saturating_sub(reserve);
    if bytes <= left {
        return Ok(());
    }
    Err(ApiError::insufficient_storage(format!(
        "there is no room for an upload of {bytes} bytes: {left} are left, because of {free} free \
         bytes {promised} are promised to other uploads and {reserve} are kept in reserve; try \
         again later, or send the image compressed"
    )))
}

/// Makes sure that writing may go on without eating into the reserve.
///
/// # Errors
/// 507, if not; what has been received stays.
pub fn check_running(service: &Service) -> ApiResult<()> {
    let free = free(service.uploads.directory()).map_err(ApiError::internal)?;
    let reserve = service.config.limits.staging_reserve;
    if free >= reserve {
        return Ok(());
    }
    Err(ApiError::insufficient_storage(format!(
        "the service has only {free} free bytes left, less than its reserve of {reserve}; what \
         was received is kept: continue the upload later"
    )))
}
