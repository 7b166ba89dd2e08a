//! Regions, as far as rows name them.

use sqlx::FromRow;

use super::{Pool, Result, Tx};

/// What rows say of a region.
#[derive(Debug, Clone, FromRow)]
pub struct RegionRow {
    /// Short name.
    pub region: String,
    /// Images that are there, or on their way.
    pub images: i64,
    /// Machines.
    pub droplets: i64,
}

/// All regions that images or machines name.
pub async fn named(db: &Pool) -> Result<Vec<RegionRow>> {
    sqlx::query_as(
        "SELECT region, CAST(SUM(images) AS BIGINT) AS images, \
         CAST(SUM(droplets) AS BIGINT) AS droplets FROM (SELECT region, COUNT(*) AS images, \
         0 AS droplets FROM image_regions GROUP BY region \
         UNION ALL SELECT region, 0 AS images, COUNT(*) AS droplets FROM droplets \
         WHERE on_host = 1 OR deleted_at IS NULL GROUP BY region) AS uses \
         GROUP BY region ORDER BY region",
    )
    .fetch_all(db)
    .await
}

/// The machines of a region, and those that its host has not let go of yet.
pub async fn machines(tx: &mut Tx, region: &str) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT id FROM droplets WHERE region = $1 AND (on_host = 1 OR deleted_at IS NULL) \
         ORDER BY id",
    )
    .bind(region)
    .fetch_all(&mut **tx)
    .await
}

/// The images that are in a region, or were to be, and their owners.
pub async fn images(tx: &mut Tx, region: &str) -> Result<Vec<(i64, i64)>> {
    sqlx::query_as(
        "SELECT i.id, i.account_id FROM images i JOIN image_regions r ON r.image_id = i.id \
         WHERE r.region = $1 ORDER BY i.id",
    )
    .bind(region)
    .fetch_all(&mut **tx)
    .await
}

/// Ends what is still to be done for an image in a region. Returns whether its import was among it.
pub async fn call_off(tx: &mut Tx, image: i64, region: &str, reason: &str) -> Result<bool> {
    let mut import = false;
    for action in super::action::open(&mut **tx, "image", image).await? {
        if action.region.as_deref() == Some(region) {
            import |= action.kind == "create";
            super::action::finish(tx, action.id, Some(reason)).await?;
        }
    }
    Ok(import)
}

/// Nothing is being removed from a region any more.
pub async fn forget_removals(tx: &mut Tx, region: &str) -> Result<()> {
    sqlx::query("DELETE FROM removals WHERE region = $1")
        .bind(region)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
