//! Boot probes: what was seen of images when they were booted.

use sqlx::FromRow;

use super::{Executor, Result, Tx, now};

/// One probe, without its log and picture, which are large.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct ProbeRow {
    pub action_id: i64,
    pub image_id: i64,
    pub region: String,
    pub started_at: i64,
    pub finished_at: Option<i64>,
    pub record: String,
    has_screenshot: i64,
}

impl ProbeRow {
    /// Whether there is a picture.
    pub fn has_screenshot(&self) -> bool {
        self.has_screenshot != 0
    }
}

/// A probe begins, perhaps once more.
pub async fn begin(tx: &mut Tx, action: i64, record: &str) -> Result<()> {
    forget(tx, action).await?;
    sqlx::query(
        "INSERT INTO probes (action_id, image_id, account_id, region, started_at, record) \
         SELECT a.id, a.resource_id, a.account_id, a.region, CAST($1 AS BIGINT), CAST($2 AS TEXT) \
         FROM actions a WHERE a.id = $3",
    )
    .bind(now())
    .bind(record)
    .bind(action)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes how far a probe is.
pub async fn note(tx: &mut Tx, action: i64, record: &str) -> Result<()> {
    sqlx::query("UPDATE probes SET record = $1 WHERE action_id = $2")
        .bind(record)
        .bind(action)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A probe came to its end. It replaces those of the same image before it.
pub async fn finish(
    tx: &mut Tx,
    action: i64,
    image: i64,
    record: &str,
    log: &str,
    screenshot: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "UPDATE probes SET finished_at = $1, record = $2, serial_log = $3, screenshot = $4 \
         WHERE action_id = $5",
    )
    .bind(now())
    .bind(record)
    .bind(log)
    .bind(screenshot)
    .bind(action)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM probes WHERE image_id = $1 AND action_id < $2")
        .bind(image)
        .bind(action)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Forgets a probe that failed.
pub async fn forget(tx: &mut Tx, action: i64) -> Result<()> {
    sqlx::query("DELETE FROM probes WHERE action_id = $1")
        .bind(action)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Forgets the probes of an image.
pub async fn forget_of(tx: &mut Tx, image: i64) -> Result<()> {
    sqlx::query("DELETE FROM probes WHERE image_id = $1")
        .bind(image)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The newest probe of an image, which may still run.
pub async fn newest(db: impl Executor<'_>, account: i64, image: i64) -> Result<Option<ProbeRow>> {
    sqlx::query_as(
        "SELECT action_id, image_id, region, started_at, finished_at, record, \
         CAST(CASE WHEN screenshot IS NULL THEN 0 ELSE 1 END AS BIGINT) AS has_screenshot \
         FROM probes WHERE account_id = $1 AND image_id = $2 ORDER BY action_id DESC LIMIT 1",
    )
    .bind(account)
    .bind(image)
    .fetch_optional(db)
    .await
}

/// The record of the newest probe of an image that came to its end.
pub async fn record(db: impl Executor<'_>, image: i64) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT record FROM probes WHERE image_id = $1 AND finished_at IS NOT NULL \
         ORDER BY action_id DESC LIMIT 1",
    )
    .bind(image)
    .fetch_optional(db)
    .await
}

/// What the machine of that probe printed.
pub async fn log(db: impl Executor<'_>, account: i64, image: i64) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT serial_log FROM probes WHERE account_id = $1 AND image_id = $2 \
         AND finished_at IS NOT NULL ORDER BY action_id DESC LIMIT 1",
    )
    .bind(account)
    .bind(image)
    .fetch_optional(db)
    .await
}

/// Its screen, in base64; nothing if there is no probe, or no picture of it.
pub async fn screenshot(db: impl Executor<'_>, account: i64, image: i64) -> Result<Option<String>> {
    let found: Option<Option<String>> = sqlx::query_scalar(
        "SELECT screenshot FROM probes WHERE account_id = $1 AND image_id = $2 \
         AND finished_at IS NOT NULL ORDER BY action_id DESC LIMIT 1",
    )
    .bind(account)
    .bind(image)
    .fetch_optional(db)
    .await?;
    Ok(found.flatten())
}
