//! What the database says of files and objects, for comparing them.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, FromRow};

use super::droplet::LIES_ON;
use super::{Executor, Pool, Result, Tx};

/// An image that should be in the store of a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, FromRow)]
pub struct CopyRow {
    /// The image.
    pub id: i64,
    /// Its owner.
    pub account_id: i64,
    /// The region.
    pub region: String,
    /// Name of its canonical form.
    pub digest: String,
    /// Size of its canonical form.
    pub stored_bytes: Option<i64>,
}

/// The images that are available in a region, and more conditions and an order.
macro_rules! copies {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.account_id, r.region, i.digest, i.stored_bytes \
             FROM images i JOIN image_regions r ON r.image_id = i.id \
             WHERE r.status = 'available' AND i.deleted_at IS NULL ",
            $rest
        )
    };
}

/// Images that are available, by region.
pub async fn copies(db: impl Executor<'_>) -> Result<BTreeMap<String, Vec<CopyRow>>> {
    let rows: Vec<CopyRow> = sqlx::query_as(copies!(
        "AND i.digest IS NOT NULL ORDER BY r.region, i.digest, i.id"
    ))
    .fetch_all(db)
    .await?;
    let mut regions = BTreeMap::<String, Vec<CopyRow>>::new();
    for row in rows {
        regions.entry(row.region.clone()).or_default().push(row);
    }
    Ok(regions)
}

/// The images that are available in `region` and have the canonical form `digest`.
pub async fn copies_of(tx: &mut Tx, region: &str, digest: &str) -> Result<Vec<CopyRow>> {
    sqlx::query_as(copies!("AND i.digest = $1 AND r.region = $2 ORDER BY i.id"))
        .bind(digest)
        .bind(region)
        .fetch_all(&mut **tx)
        .await
}

/// The machines in `region` whose disks lie on the canonical form `digest`.
pub async fn machines_on(db: impl Executor<'_>, region: &str, digest: &str) -> Result<Vec<i64>> {
    let text = format!("SELECT id FROM droplets WHERE {LIES_ON} ORDER BY id");
    sqlx::query_scalar(AssertSqlSafe(text))
        .bind(region)
        .bind(digest)
        .fetch_all(db)
        .await
}

/// The canonical forms under the disks of machines in `region`.
pub async fn digests_of_machines(db: &Pool, region: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT DISTINCT digest FROM droplets WHERE region = $1 AND on_host = 1")
        .bind(region)
        .fetch_all(db)
        .await
}

/// Whether the hypervisor of `region` should have the machine `id`.
pub async fn has_machine(db: &Pool, region: &str, id: i64) -> Result<bool> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT id FROM droplets WHERE id = $1 AND region = $2 AND on_host = 1")
            .bind(id)
            .bind(region)
            .fetch_optional(db)
            .await?;
    Ok(found.is_some())
}

/// Whether the image `id` is being imported, or is about to be.
pub async fn is_imported(db: &Pool, id: i64) -> Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM actions WHERE resource_type = 'image' AND resource_id = $1 \
         AND kind = 'create' AND status = 'in-progress' LIMIT 1",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Ids of uploads, and how many bytes of each are acknowledged and must be in its file.
pub async fn uploads(db: &Pool) -> Result<Vec<(String, i64)>> {
    sqlx::query_as("SELECT id, received_bytes FROM uploads WHERE failure IS NULL ORDER BY id")
        .fetch_all(db)
        .await
}

/// The same of one upload; `None` when it is gone or failed.
pub async fn acknowledged(tx: &mut Tx, id: &str) -> Result<Option<i64>> {
    sqlx::query_scalar("SELECT received_bytes FROM uploads WHERE id = $1 AND failure IS NULL")
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
}

/// An image is available in no region any more, and fails with `reason`, unless it is on its way to
/// one. Returns whether it failed.
pub async fn fail_if_nowhere(tx: &mut Tx, id: i64, reason: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE images SET stage = 'failed', error_message = $1 WHERE id = $2 \
         AND stage = 'available' AND NOT EXISTS (SELECT 1 FROM image_regions \
         WHERE image_id = $2 AND status <> 'failed')",
    )
    .bind(reason)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Corrects the size of an image.
pub async fn set_stored_bytes(tx: &mut Tx, digest: &str, bytes: i64) -> Result<()> {
    sqlx::query("UPDATE images SET stored_bytes = $1 WHERE digest = $2")
        .bind(bytes)
        .bind(digest)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
