//! In which regions an image is, was asked for, or is on the way to.

use std::collections::HashMap;

use abbild_api::RegionCopyStatus;
use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Connection, Pool, Result, Tx, from_word, placeholders, word};

/// An image in one region.
#[derive(Debug, Clone, FromRow)]
pub struct ImageRegionRow {
    /// The image.
    pub image_id: i64,
    /// The region.
    pub region: String,
    status: String,
    /// Why it failed.
    pub reason: Option<String>,
}

/// An image in one region as it is shown: with how far the transfer there is, if one is under way.
#[derive(Debug, Clone, FromRow)]
pub struct ShownCopyRow {
    /// The copy itself.
    #[sqlx(flatten)]
    pub row: ImageRegionRow,
    /// Bytes that were transferred.
    pub progress_done: Option<i64>,
    /// Bytes to transfer.
    pub progress_total: Option<i64>,
}

impl ImageRegionRow {
    /// State there.
    pub fn status(&self) -> Result<RegionCopyStatus> {
        from_word(&self.status)
    }
}

/// The regions that were asked for, in that order.
pub async fn regions(db: &Pool, id: i64) -> Result<Vec<ImageRegionRow>> {
    sqlx::query_as("SELECT * FROM image_regions WHERE image_id = $1 ORDER BY position, region")
        .bind(id)
        .fetch_all(db)
        .await
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
        "INSERT INTO image_regions (image_id, region, status, reason, position) \
         VALUES ($1, $2, $3, $4, \
         (SELECT COALESCE(MAX(position), 0) + 1 FROM image_regions WHERE image_id = $1)) \
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

/// The regions of each of these images, in the order in which they were asked for.
pub async fn regions_of_many(
    db: &mut Connection,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<ShownCopyRow>>> {
    let mut found: HashMap<i64, Vec<ShownCopyRow>> = HashMap::new();
    if ids.is_empty() {
        return Ok(found);
    }
    let text = format!(
        "SELECT r.image_id, r.region, r.status, r.reason, a.progress_done, a.progress_total \
         FROM image_regions r LEFT JOIN actions a ON a.id = (SELECT MIN(t.id) FROM actions t \
         WHERE t.resource_type = 'image' AND t.resource_id = r.image_id AND t.kind = 'transfer' \
         AND t.region = r.region AND t.status = 'in-progress') \
         WHERE r.image_id IN ({}) ORDER BY r.position, r.region",
        placeholders(1, ids.len())
    );
    let mut query = sqlx::query_as::<_, ShownCopyRow>(AssertSqlSafe(text));
    for id in ids {
        query = query.bind(id);
    }
    for row in query.fetch_all(db).await? {
        found.entry(row.row.image_id).or_default().push(row);
    }
    Ok(found)
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
