//! Concatenation: an upload made of others that were sent beside each other.
//!
//! The parts must be complete; then the whole is put together after the answer. The first part's
//! file becomes that of the whole, and each further part is appended to it: by sharing its blocks
//! where the filesystem can, by copying otherwise. After each part the file is synced, the bytes
//! are counted and the part's file is emptied, so that at most one part is there twice. After a
//! crash it goes on where it was counted.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use abbild_api::upload::{PATH, TUS_CONCAT_FINAL};

use super::super::{ApiError, ApiResult};
use super::{refuse, tus};
use crate::Service;
use crate::db::upload::{self, UploadRow};
use crate::db::{self, sql_size};
use crate::uploads::ledger::Entry;
use crate::uploads::sink::sync_directory;

/// How long to wait before trying again.
const PAUSE: Duration = Duration::from_secs(2);

/// Makes the upload that `concat`, a header, describes, and returns its id. The parts now belong to
/// it.
pub async fn begin(
    service: &Arc<Service>,
    account: i64,
    concat: &str,
    metadata: &str,
) -> ApiResult<String> {
    let ids = part_ids(concat)?;
    let mut tx = service.db.write().await?;
    let mut length: u64 = 0;
    let mut parts = Vec::new();
    for id in &ids {
        let part = upload::find(&mut *tx, account, id).await?;
        let part = part.ok_or_else(|| ApiError::bad_request(format!("there is no part `{id}`")))?;
        check_part(&part)?;
        length = length.saturating_add(part.received());
        parts.push(part.id);
    }
    let id = tus::insert_final(service, &mut tx, account, length, metadata, concat).await?;
    for part in &parts {
        upload::claim_part(&mut tx, part, &id).await?;
    }
    tx.commit().await?;
    let row = super::find(service, account, &id).await?;
    tokio::spawn(join_reporting(service.clone(), row));
    Ok(id)
}

fn check_part(part: &UploadRow) -> ApiResult<()> {
    let id = &part.id;
    if !part.is_partial() {
        return Err(ApiError::bad_request(format!(
            "upload `{id}` was not made with `Upload-Concat: partial`"
        )));
    }
    if !part.is_complete() {
        return Err(ApiError::bad_request(format!(
            "part `{id}` is not complete: {} bytes of it are here; send the rest first",
            part.received()
        )));
    }
    if part.part_of.is_some() {
        return Err(ApiError::conflict(format!(
            "part `{id}` belongs to another upload already"
        )));
    }
    Ok(())
}

/// The ids in `final;/v2/uploads/a https://host/v2/uploads/b`.
fn part_ids(concat: &str) -> ApiResult<Vec<&str>> {
    let urls = concat.strip_prefix(TUS_CONCAT_FINAL).unwrap_or_default();
    let mut ids = Vec::new();
    for url in urls.split_ascii_whitespace() {
        let id = url
            .split_once(PATH)
            .and_then(|(_, rest)| rest.strip_prefix('/'))
            .filter(|id| !id.is_empty() && !id.contains(['/', '?', '#']));
        let id = id.ok_or_else(|| {
            ApiError::bad_request(format!(
                "`Upload-Concat` names `{url}`, which is not the URL of an upload"
            ))
        })?;
        if ids.contains(&id) {
            return Err(ApiError::bad_request(format!(
                "`Upload-Concat` names the part `{id}` twice"
            )));
        }
        ids.push(id);
    }
    if ids.is_empty() {
        return Err(ApiError::bad_request(
            "`Upload-Concat: final;` names no parts",
        ));
    }
    Ok(ids)
}

/// Goes on with everything that a stop of the service, or of another process, interrupted.
pub async fn resume_all(service: &Arc<Service>) -> db::Result<()> {
    for row in upload::unfinished_finals(service.db.read()).await? {
        tokio::spawn(join_reporting(service.clone(), row));
    }
    Ok(())
}

/// Why parts could not be put together.
enum Trouble {
    /// It may pass: the disk is full, the database does not answer, the service is stopping.
    Passing(anyhow::Error),
    /// A part is lost.
    Final(anyhow::Error),
}

impl Trouble {
    fn of_disk(error: io::Error) -> Self {
        use io::ErrorKind::{Interrupted, QuotaExceeded, StorageFull};
        match error.kind() {
            Interrupted | QuotaExceeded | StorageFull => Self::Passing(error.into()),
            _ => Self::Final(error.into()),
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Passing(error.into())
    }
}

/// Puts an upload together, however often it takes.
async fn join_reporting(service: Arc<Service>, row: UploadRow) {
    let writing = match service.uploads.try_write(&row.id) {
        Ok(Some(writing)) => writing,
        // Another process is at it.
        Ok(None) => return,
        Err(error) => {
            tracing::error!(upload.id = row.id, %error, "locking an upload failed");
            return;
        }
    };
    loop {
        let trouble = tokio::select! {
            joined = join(&service, &row.id, row.account_id) => match joined {
                Ok(()) => return,
                Err(trouble) => trouble,
            },
            // Its owner gives it up.
            () = writing.wanted() => return,
        };
        match trouble {
            Trouble::Passing(error) => {
                tracing::warn!(upload.id = row.id, %error, "putting an upload together is interrupted");
                tokio::time::sleep(PAUSE).await;
            }
            Trouble::Final(error) => {
                tracing::error!(upload.id = row.id, %error, "an upload cannot be put together");
                let reason = format!("the parts of the upload cannot be put together: {error:#}");
                match refuse(&service, &row.id, &reason, None).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%error, "recording the failure failed"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn join(service: &Arc<Service>, id: &str, account: i64) -> Result<(), Trouble> {
    let uploads = &service.uploads;
    let whole = uploads.path(id);
    let lost = |what: String| Trouble::Final(anyhow::Error::msg(what));
    let Some(row) = upload::find(service.db.read(), account, id).await? else {
        return Ok(());
    };
    let parts = part_ids(&row.concat).map_err(|e| lost(e.message().to_owned()))?;
    let mut counted = row.received_bytes;
    let mut end = 0;
    for part in parts {
        let part = upload::find(service.db.read(), account, part)
            .await?
            .ok_or_else(|| lost(format!("part `{part}` is gone")))?;
        let (start, len) = (end, part.received());
        end += len;
        if end <= row.received() {
            continue;
        }
        let (from, to) = (uploads.path(&part.id), whole.clone());
        uploads
            .on_disk(move || match start {
                0 => take_first(&from, &to),
                _ => append(&from, &to, start, len),
            })
            .await
            .map_err(Trouble::of_disk)?;
        let before = std::mem::replace(&mut counted, sql_size(end));
        let entry = Entry {
            id: row.id.clone(),
            before,
            received: sql_size(end),
            length: None,
            complete: row.length() == Some(end),
        };
        let recorded = uploads.ledger.record(service, entry).await;
        recorded.map_err(Trouble::Passing)?;
        // Counted in the whole, it is needed here no longer.
        uploads.remove_file(&part.id).map_err(Trouble::of_disk)?;
    }
    let mut tx = service.db.write().await?;
    let ids = upload::delete_parts(&mut tx, id).await?;
    tx.commit().await?;
    for id in ids {
        uploads.remove_file(&id).map_err(Trouble::of_disk)?;
    }
    Ok(())
}

/// The first part's file becomes that of the whole, unless that was done before a crash.
fn take_first(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
        result => result?,
    }
    File::open(to)?.sync_all()?;
    sync_directory(to)
}

/// Writes the `len` bytes of `from` into `to` at `start`, where the bytes before are safe.
fn append(from: &Path, to: &Path, start: u64, len: u64) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::options().write(true).open(to)?;
    to.set_len(start)?;
    io::Seek::seek(&mut to, io::SeekFrom::Start(start))?;
    // On Linux this is copy_file_range, which shares blocks where it can.
    let copied = io::copy(&mut from, &mut to)?;
    if copied != len {
        let what = format!("a part has {copied} bytes instead of {len}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_by_absolute_and_relative_urls() {
        let ids = part_ids("final;/v2/uploads/a https://h:1/v2/uploads/b").unwrap();
        assert_eq!(ids, ["a", "b"]);
        for bad in [
            "final;",
            "final; ",
            "final;/v2/images/a",
            "final;/v2/uploads/",
            "final;/v2/uploads/a/b",
            "final;/v2/uploads/a /v2/uploads/a",
        ] {
            assert!(part_ids(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_joined_and_joining_can_be_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a"), b"first").unwrap();
        std::fs::write(path("b"), b"second").unwrap();
        for _ in 0..2 {
            take_first(&path("a"), &path("whole")).unwrap();
            append(&path("b"), &path("whole"), 5, 6).unwrap();
            assert_eq!(std::fs::read(path("whole")).unwrap(), b"firstsecond");
        }
        assert!(append(&path("b"), &path("whole"), 5, 7).is_err());
    }
}
