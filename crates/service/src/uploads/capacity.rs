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

/// The room on the staging filesystem, in bytes.
#[derive(Debug, Clone, Copy)]
struct Room {
    free: u64,
    /// To uploads and fetches that have not brought it yet.
    promised: u64,
    reserve: u64,
}

impl Room {
    /// With the write lock held, so that two cannot be promised the same.
    async fn now(service: &Service, tx: &mut db::Tx) -> db::Result<Self> {
        Ok(Self {
            free: free(service.uploads.directory()).map_err(sqlx::Error::Io)?,
            promised: from_sql_size(upload::promised(tx).await?),
            reserve: service.config.limits.staging_reserve,
        })
    }

    /// What may still be promised; `None` if it is too much already.
    fn left(self) -> Option<u64> {
        self.free
            .checked_sub(self.promised)?
            .checked_sub(self.reserve)
    }
}

/// Makes sure that an upload of `bytes` fits beside those that were promised their room already.
///
/// # Errors
/// 507 with the numbers, if it does not.
pub async fn check_new(service: &Service, tx: &mut db::Tx, bytes: u64) -> ApiResult<()> {
    let room = Room::now(service, tx).await?;
    let left = room.left().unwrap_or(0);
    if bytes <= left {
        return Ok(());
    }
    let Room {
        free,
        promised,
        reserve,
    } = room;
    Err(ApiError::insufficient_storage(format!(
        "there is no room for an upload of {bytes} bytes: {left} are left, because of {free} free \
         bytes {promised} are promised to other uploads and {reserve} are kept in reserve; try \
         again later, or send the image compressed"
    )))
}

/// Whether what is promised fits, after it was counted in the same transaction.
///
/// # Errors
/// Those of the database and of `statvfs`.
pub async fn holds(service: &Service, tx: &mut db::Tx) -> db::Result<bool> {
    Ok(Room::now(service, tx).await?.left().is_some())
}

/// Makes sure that writing may go on without eating into the reserve.
///
/// # Errors
/// 507, if not; what has been received stays.
pub fn check_running(service: &Service) -> ApiResult<()> {
    let reserve = service.config.limits.staging_reserve;
    match running_short(service).map_err(ApiError::internal)? {
        None => Ok(()),
        Some(free) => Err(ApiError::insufficient_storage(format!(
            "the service has only {free} free bytes left, less than its reserve of {reserve}; what \
             was received is kept: continue the upload later"
        ))),
    }
}

/// The free bytes, if they are fewer than the reserve.
///
/// # Errors
/// Those of `statvfs`.
pub fn running_short(service: &Service) -> io::Result<Option<u64>> {
    let free = free(service.uploads.directory())?;
    Ok((free < service.config.limits.staging_reserve).then_some(free))
}
