//! Images, and in which regions they are.

use abbild_api::{RegionCopyStatus, Stage};
use sqlx::{FromRow, SqliteExecutor, SqlitePool};

use super::{Result, Tx, Window, from_word, now, word};

/// One image.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct ImageRow {
    pub id: i64,
    pub account_id: i64,
    pub name: String,
    pub description: String,
    pub distribution: String,
    pub tags: String,
    pub created_at: i64,
    stage: String,
    pub error_message: String,
    pub upload_id: Option<String>,
    pub checksum: Option<String>,
    pub digest: Option<String>,
    pub format: Option<String>,
    pub virtual_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    pub report: Option<String>,
    pub deleted_at: Option<i64>,
}

impl ImageRow {
    /// Where the import stands.
    pub fn stage(&self) -> Result<Stage> {
        from_word(&self.stage)
    }
}

/// An image in one region.
#[derive(Debug, Clone, FromRow)]
pub struct ImageRegionRow {
    /// The region.
    pub region: String,
    status: String,
    /// Why it failed.
    pub reason: Option<String>,
}

impl ImageRegionRow {
    /// State there.
    pub fn status(&self) -> Result<RegionCopyStatus> {
        from_word(&self.status)
    }
}

/// What a new image begins with.
#[derive(Debug)]
pub struct NewImage<'a> {
    /// Owner.
    pub account: i64,
    /// Chosen by the owner.
    pub name: &'a str,
    /// Free text.
    pub description: &'a str,
    /// Of the known list.
    pub distribution: &'a str,
    /// JSON list.
    pub tags: &'a str,
    /// Where its bytes come from.
    pub upload: &'a str,
    /// Expected of those bytes.
    pub checksum: Option<&'a str>,
    /// `receiving` or `queued`.
    pub stage: Stage,
}

/// One page, newest first, and the total. Deleted images are not listed, failed ones are.
pub async fn list(db: &SqlitePool, account: i64, window: Window) -> Result<(Vec<ImageRow>, i64)> {
    let rows = sqlx::query_as(
        "SELECT * FROM images WHERE account_id = $1 AND deleted_at IS NULL \
         ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(account)
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar(
        "SELECT COUNT(*) FROM images WHERE account_id = $1 AND deleted_at IS NULL",
    )
    .bind(account)
    .fetch_one(db)
    .await?;
    Ok((rows, total))
}

/// By id, deleted ones included.
pub async fn find(db: impl SqliteExecutor<'_>, account: i64, id: i64) -> Result<Option<ImageRow>> {
    sqlx::query_as("SELECT * FROM images WHERE account_id = $1 AND id = $2")
        .bind(account)
        .bind(id)
        .fetch_optional(db)
        .await
}

/// By id, with the write lock held.
pub async fn get(tx: &mut Tx, id: i64) -> Result<ImageRow> {
    sqlx::query_as("SELECT * FROM images WHERE id = $1")
        .bind(id)
        .fetch_one(&mut **tx)
        .await
}

/// The regions that were asked for, in that order.
pub async fn regions(db: &SqlitePool, id: i64) -> Result<Vec<ImageRegionRow>> {
    sqlx::query_as("SELECT * FROM image_regions WHERE image_id = $1 ORDER BY rowid")
        .bind(id)
        .fetch_all(db)
        .await
}

/// A new image.
pub async fn insert(tx: &mut Tx, new: &NewImage<'_>) -> Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO images (account_id, name, description, distribution, tags, created_at, \
         stage, upload_id, checksum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
    )
    .bind(new.account)
    .bind(new.name)
    .bind(new.description)
    .bind(new.distribution)
    .bind(new.tags)
    .bind(now())
    .bind(word(new.stage))
    .bind(new.upload)
    .bind(new.checksum)
    .fetch_one(&mut **tx)
    .await
}

/// The image that an upload belongs to.
pub async fn by_upload(tx: &mut Tx, upload: &str) -> Result<Option<ImageRow>> {
    sqlx::query_as("SELECT * FROM images WHERE upload_id = $1")
        .bind(upload)
        .fetch_optional(&mut **tx)
        .await
}

/// Changes what the owner may change.
pub async fn update(tx: &mut Tx, image: &ImageRow) -> Result<()> {
    sqlx::query("UPDATE images SET name = $1, description = $2, distribution = $3 WHERE id = $4")
        .bind(&image.name)
        .bind(&image.description)
        .bind(&image.distribution)
        .bind(image.id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Moves an image that is not deleted to `stage`. Returns false when it is deleted.
pub async fn set_stage(tx: &mut Tx, id: i64, stage: Stage) -> Result<bool> {
    let done = sqlx::query("UPDATE images SET stage = $1 WHERE id = $2 AND deleted_at IS NULL")
        .bind(word(stage))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps what the check found.
pub async fn set_report(
    tx: &mut Tx,
    id: i64,
    format: &str,
    virtual_bytes: Option<i64>,
    report: &str,
) -> Result<()> {
    sqlx::query("UPDATE images SET format = $1, virtual_bytes = $2, report = $3 WHERE id = $4")
        .bind(format)
        .bind(virtual_bytes)
        .bind(report)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The canonical image exists: its name and size.
pub async fn set_canonical(
    tx: &mut Tx,
    id: i64,
    digest: &str,
    virtual_bytes: i64,
    stored_bytes: i64,
) -> Result<()> {
    sqlx::query(
        "UPDATE images SET digest = $1, virtual_bytes = $2, stored_bytes = $3, upload_id = NULL \
         WHERE id = $4",
    )
    .bind(digest)
    .bind(virtual_bytes)
    .bind(stored_bytes)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends an import with a reason; its upload no longer belongs to it.
pub async fn fail(tx: &mut Tx, id: i64, reason: &str) -> Result<()> {
    sqlx::query(
        "UPDATE images SET stage = 'failed', error_message = $1, upload_id = NULL \
         WHERE id = $2 AND deleted_at IS NULL",
    )
    .bind(reason)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE image_regions SET status = 'failed', reason = $1 WHERE image_id = $2")
        .bind("the import failed")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Marks an image as removed by its owner. It is in no region from now on.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query(
        "UPDATE images SET deleted_at = $1, stage = 'deleted', upload_id = NULL WHERE id = $2",
    )
    .bind(now())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM image_regions WHERE image_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The state of an image in one region.
pub async fn region(tx: &mut Tx, id: i64, region: &str) -> Result<Option<ImageRegionRow>> {
    sqlx::query_as("SELECT * FROM image_regions WHERE image_id = $1 AND region = $2")
        .bind(id)
        .bind(region)
        .fetch_optional(&mut **tx)
        .await
}

/// Sets the state of an image in one region, adding the region if need be.
pub async fn set_region(
    tx: &mut Tx,
    id: i64,
    region: &str,
    status: RegionCopyStatus,
    reason: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_regions (image_id, region, status, reason) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (image_id, region) DO UPDATE SET status = excluded.status, \
         reason = excluded.reason",
    )
    .bind(id)
    .bind(region)
    .bind(word(status))
    .bind(reason)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The regions of an image, with the write lock held.
pub async fn regions_of(tx: &mut Tx, id: i64) -> Result<Vec<ImageRegionRow>> {
    sqlx::query_as("SELECT * FROM image_regions WHERE image_id = $1")
        .bind(id)
        .fetch_all(&mut **tx)
        .await
}

/// Moves an image that is in a region, or on the way there, to another state. Returns false when
/// the region was removed.
pub async fn move_region(
    tx: &mut Tx,
    id: i64,
    region: &str,
    status: RegionCopyStatus,
    reason: Option<&str>,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE image_regions SET status = $1, reason = $2 WHERE image_id = $3 AND region = $4",
    )
    .bind(word(status))
    .bind(reason)
    .bind(id)
    .bind(region)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes an image out of a region; the file there is swept.
pub async fn remove_region(tx: &mut Tx, id: i64, region: &str) -> Result<()> {
    sqlx::query("DELETE FROM image_regions WHERE image_id = $1 AND region = $2")
        .bind(id)
        .bind(region)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether anything in `region` still needs the canonical image `digest`: an image that is, or is
/// about to be, available there, or a machine whose disk lies on it.
pub async fn is_needed(db: &SqlitePool, region: &str, digest: &str) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM images i JOIN image_regions r ON r.image_id = i.id \
         WHERE i.digest = $1 AND r.region = $2 AND i.deleted_at IS NULL AND r.status <> 'failed') \
         OR EXISTS (SELECT 1 FROM droplets WHERE digest = $1 AND region = $2 AND on_host = 1)",
    )
    .bind(digest)
    .bind(region)
    .fetch_one(db)
    .await
}
