//! What operators allow single accounts, and what accounts use of it.

use sqlx::AnyConnection;

use super::{Result, Tx};

/// The limits of an account that differ from the configuration: quota and value, `None` for no
/// limit.
pub async fn overrides(db: &mut AnyConnection, account: i64) -> Result<Vec<(String, Option<i64>)>> {
    sqlx::query_as("SELECT quota, value FROM quotas WHERE account_id = $1")
        .bind(account)
        .fetch_all(db)
        .await
}

/// Gives an account a limit of its own; `None` for no limit.
pub async fn set(tx: &mut Tx, account: i64, quota: &str, value: Option<i64>) -> Result<()> {
    sqlx::query(
        "INSERT INTO quotas (account_id, quota, value) VALUES ($1, $2, $3) \
         ON CONFLICT (account_id, quota) DO UPDATE SET value = excluded.value",
    )
    .bind(account)
    .bind(quota)
    .bind(value)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives an account the configured limit again.
pub async fn reset(tx: &mut Tx, account: i64, quota: &str) -> Result<()> {
    sqlx::query("DELETE FROM quotas WHERE account_id = $1 AND quota = $2")
        .bind(account)
        .bind(quota)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Images that did not fail.
pub async fn images(db: &mut AnyConnection, account: i64) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM images WHERE account_id = $1 AND deleted_at IS NULL \
         AND stage <> 'failed'",
    )
    .bind(account)
    .fetch_one(db)
    .await
}

/// Bytes in each region that has them or will.
pub async fn stored_bytes(db: &mut AnyConnection, account: i64) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(i.stored_bytes), 0) AS BIGINT) \
         FROM images i JOIN image_regions r ON r.image_id = i.id \
         WHERE i.account_id = $1 AND i.deleted_at IS NULL AND i.stage <> 'failed' \
         AND r.status <> 'failed'",
    )
    .bind(account)
    .fetch_one(db)
    .await
}

/// Uploads that wait for bytes.
pub async fn uploads(db: &mut AnyConnection, account: i64) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM uploads WHERE account_id = $1 AND failure IS NULL \
         AND received_bytes <> length_bytes",
    )
    .bind(account)
    .fetch_one(db)
    .await
}

/// Machines by the slug of their size.
pub async fn droplets(db: &mut AnyConnection, account: i64) -> Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "SELECT size, COUNT(*) FROM droplets WHERE account_id = $1 AND deleted_at IS NULL \
         GROUP BY size",
    )
    .bind(account)
    .fetch_all(db)
    .await
}
