//! Fetches: the uploads whose bytes the service gets itself, from a URL.
//!
//! The row lies beside that of the upload and goes with it, and the URL, which may hold a secret,
//! with the row.

use sqlx::FromRow;

use super::{Executor, Result, Tx, now};

/// One fetch, and how far its upload is.
#[derive(Debug, Clone, FromRow)]
pub struct FetchRow {
    /// The upload that its bytes become.
    pub upload_id: String,
    /// Where they come from.
    pub url: String,
    /// Length of the file, once the server has said it.
    pub total_bytes: Option<i64>,
    /// What names the version that is being fetched, in the server's words.
    pub validator: Option<String>,
    /// When its first attempt began.
    pub begun_at: Option<i64>,
    /// Bytes that are synced to disk.
    pub received_bytes: i64,
}

/// The fetch that fills an upload, if it is one.
pub async fn find(db: impl Executor<'_>, upload: &str) -> Result<Option<FetchRow>> {
    sqlx::query_as(
        "SELECT f.upload_id, f.url, f.total_bytes, f.validator, f.begun_at, u.received_bytes \
         FROM fetches f JOIN uploads u ON u.id = f.upload_id WHERE f.upload_id = $1",
    )
    .bind(upload)
    .fetch_optional(db)
    .await
}

/// A new fetch into an upload that was just made.
pub async fn insert(tx: &mut Tx, upload: &str, url: &str) -> Result<()> {
    sqlx::query("INSERT INTO fetches (upload_id, url) VALUES ($1, $2)")
        .bind(upload)
        .bind(url)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Notes when the first attempt began; returns that time.
pub async fn begin(tx: &mut Tx, upload: &str) -> Result<i64> {
    sqlx::query_scalar(
        "UPDATE fetches SET begun_at = COALESCE(begun_at, $1) WHERE upload_id = $2 \
         RETURNING begun_at",
    )
    .bind(now())
    .bind(upload)
    .fetch_one(&mut **tx)
    .await
}

/// Records which version of the file is being fetched, and how many of its bytes are on disk.
/// Returns false when the fetch is gone.
pub async fn advance(tx: &mut Tx, row: &FetchRow) -> Result<bool> {
    sqlx::query("UPDATE fetches SET total_bytes = $1, validator = $2 WHERE upload_id = $3")
        .bind(row.total_bytes)
        .bind(row.validator.as_deref())
        .bind(&row.upload_id)
        .execute(&mut **tx)
        .await?;
    // Its length is what is known of it: it counts against what an account may store.
    let length = row.total_bytes.unwrap_or(0).max(row.received_bytes);
    let done = sqlx::query(
        "UPDATE uploads SET received_bytes = $1, length_bytes = $2, updated_at = $3 \
         WHERE id = $4",
    )
    .bind(row.received_bytes)
    .bind(length)
    .bind(now())
    .bind(&row.upload_id)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
