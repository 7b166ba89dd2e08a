//! What an account uses, counted where it is kept.

use sqlx::FromRow;

use super::{Pool, Result};

/// Images and bytes of an account in one region.
#[derive(Debug, Clone, FromRow)]
pub struct RegionRow {
    /// The region.
    pub region: String,
    /// Images that are available there.
    pub images: i64,
    /// Bytes of their canonical files.
    pub stored_bytes: i64,
    /// The same, each file once.
    pub unique_bytes: i64,
}

/// Droplets of an account with the same region, size and state.
#[derive(Debug, Clone, FromRow)]
pub struct DropletsRow {
    /// The region.
    pub region: String,
    /// The size's slug.
    pub size: String,
    /// State.
    pub status: String,
    /// How many.
    pub count: i64,
}

/// By region.
pub async fn regions(db: &Pool, account: i64) -> Result<Vec<RegionRow>> {
    sqlx::query_as(
        "SELECT region, CAST(SUM(images) AS BIGINT) AS images, \
         CAST(SUM(images * bytes) AS BIGINT) AS stored_bytes, \
         CAST(SUM(bytes) AS BIGINT) AS unique_bytes \
         FROM (SELECT r.region AS region, i.digest AS digest, COUNT(*) AS images, \
         MAX(COALESCE(i.stored_bytes, 0)) AS bytes \
         FROM images i JOIN image_regions r ON r.image_id = i.id \
         WHERE i.account_id = $1 AND i.deleted_at IS NULL AND r.status = 'available' \
         GROUP BY r.region, i.digest) AS files GROUP BY region",
    )
    .bind(account)
    .fetch_all(db)
    .await
}

/// Images that are not deleted.
pub async fn images(db: &Pool, account: i64) -> Result<i64> {
    sqlx::query_scalar("SELECT COUNT(*) FROM images WHERE account_id = $1 AND deleted_at IS NULL")
        .bind(account)
        .fetch_one(db)
        .await
}

/// Uploads: how many, bytes received, bytes announced.
pub async fn uploads(db: &Pool, account: i64) -> Result<(i64, i64, i64)> {
    sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(received_bytes), 0) AS BIGINT), \
         CAST(COALESCE(SUM(length_bytes), 0) AS BIGINT) FROM uploads WHERE account_id = $1",
    )
    .bind(account)
    .fetch_one(db)
    .await
}

/// Droplets that are not deleted.
pub async fn droplets(db: &Pool, account: i64) -> Result<Vec<DropletsRow>> {
    sqlx::query_as(
        "SELECT region, size, status, COUNT(*) AS count FROM droplets \
         WHERE account_id = $1 AND deleted_at IS NULL GROUP BY region, size, status",
    )
    .bind(account)
    .fetch_all(db)
    .await
}
