//! Rows that are old enough to go, and that nothing refers to.
//!
//! Each function removes at most [`BATCH`] rows, so that the write lock is never held for long, and
//! says which.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Result, Tx, placeholders};

/// Rows removed in one transaction.
pub const BATCH: i64 = 200;

/// An image whose time is over.
#[derive(Debug, FromRow)]
pub struct OldImage {
    /// The image.
    pub id: i64,
    /// Its owner.
    pub account_id: i64,
    /// For people.
    pub name: String,
}

/// Images that failed before `before` and have no machine.
pub async fn failed_images(tx: &mut Tx, before: i64) -> Result<Vec<OldImage>> {
    sqlx::query_as(
        "SELECT i.id, i.account_id, i.name FROM images i \
         WHERE i.stage = 'failed' AND i.deleted_at IS NULL AND i.created_at < $1 \
         AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.resource_type = 'image' \
         AND a.resource_id = i.id AND (a.status = 'in-progress' OR a.completed_at >= $2)) \
         AND NOT EXISTS (SELECT 1 FROM droplets d WHERE d.image_id = i.id \
         AND (d.on_host = 1 OR d.deleted_at IS NULL)) ORDER BY i.id LIMIT $3",
    )
    .bind(before)
    .bind(before)
    .bind(BATCH)
    .fetch_all(&mut **tx)
    .await
}

/// Forgets what the check found in an image.
pub async fn forget_report(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE images SET report = NULL WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Removes actions that ended before `before`. The end of a machine stays as long as its host has it.
pub async fn remove_actions(tx: &mut Tx, before: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "DELETE FROM actions WHERE id IN (SELECT a.id FROM actions a \
         WHERE a.status <> 'in-progress' AND a.completed_at < $1 AND NOT EXISTS \
         (SELECT 1 FROM droplets d WHERE a.resource_type = 'droplet' AND a.kind = 'destroy' \
         AND d.id = a.resource_id AND d.on_host = 1) ORDER BY a.id LIMIT $2) RETURNING id",
    )
    .bind(before)
    .bind(BATCH)
    .fetch_all(&mut **tx)
    .await
}

/// Removes machines that were deleted before `before`, have left their host, and have no action.
pub async fn remove_droplets(tx: &mut Tx, before: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "DELETE FROM droplets WHERE id IN (SELECT d.id FROM droplets d \
         WHERE d.deleted_at < $1 AND d.on_host = 0 AND NOT EXISTS (SELECT 1 FROM actions a \
         WHERE a.resource_type = 'droplet' AND a.resource_id = d.id) ORDER BY d.id LIMIT $2) \
         RETURNING id",
    )
    .bind(before)
    .bind(BATCH)
    .fetch_all(&mut **tx)
    .await
}

/// Removes images that were deleted before `before`, and that no machine, region, upload or action
/// names.
pub async fn remove_images(tx: &mut Tx, before: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "DELETE FROM images WHERE id IN (SELECT i.id FROM images i \
         WHERE i.deleted_at < $1 AND i.upload_id IS NULL \
         AND NOT EXISTS (SELECT 1 FROM actions a WHERE a.resource_type = 'image' \
         AND a.resource_id = i.id) \
         AND NOT EXISTS (SELECT 1 FROM droplets d WHERE d.image_id = i.id) \
         AND NOT EXISTS (SELECT 1 FROM image_regions r WHERE r.image_id = i.id) \
         ORDER BY i.id LIMIT $2) RETURNING id",
    )
    .bind(before)
    .bind(BATCH)
    .fetch_all(&mut **tx)
    .await
}

/// Forgets the changes of objects that are no more. The last change of all stays, because the next
/// one counts on from it.
pub async fn forget_changes(tx: &mut Tx, resource_type: &str, ids: &[i64]) -> Result<()> {
    let text = format!(
        "DELETE FROM changes WHERE resource_type = $1 \
         AND number < (SELECT MAX(number) FROM changes) AND resource_id IN ({})",
        placeholders(2, ids.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(text)).bind(resource_type);
    for id in ids {
        query = query.bind(id);
    }
    query.execute(&mut **tx).await?;
    Ok(())
}
