//! Uploads: how many bytes of each are safely on disk.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, FromRow};

use super::{Executor, Pool, Result, Tx, now, placeholders};

/// One upload.
#[derive(Debug, Clone, FromRow)]
pub struct UploadRow {
    /// Identifier, and the name of its file.
    pub id: String,
    /// Bytes that it will have.
    pub length_bytes: i64,
    /// Bytes that are synced to disk.
    pub received_bytes: i64,
    /// The tus `Upload-Metadata` header, as it came.
    pub metadata: String,
    /// When its last bytes came.
    pub updated_at: i64,
}

impl UploadRow {
    /// Whether its last byte is here.
    pub fn is_complete(&self) -> bool {
        self.received_bytes == self.length_bytes
    }
}

/// By id. What the service fetches itself is no upload for its owner.
pub async fn find(db: impl Executor<'_>, account: i64, id: &str) -> Result<Option<UploadRow>> {
    sqlx::query_as(
        "SELECT id, length_bytes, received_bytes, metadata, updated_at FROM uploads \
         WHERE account_id = $1 AND id = $2 \
         AND NOT EXISTS (SELECT 1 FROM fetches f WHERE f.upload_id = uploads.id)",
    )
    .bind(account)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// These uploads, by id; none that the service fetches itself.
pub async fn find_many(db: &Pool, ids: &[String]) -> Result<HashMap<String, UploadRow>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT id, length_bytes, received_bytes, metadata, updated_at FROM uploads \
         WHERE id IN ({}) \
         AND NOT EXISTS (SELECT 1 FROM fetches f WHERE f.upload_id = uploads.id)",
        placeholders(1, ids.len())
    );
    let mut query = sqlx::query_as::<_, UploadRow>(AssertSqlSafe(text));
    for id in ids {
        query = query.bind(id);
    }
    let rows = query.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

/// A new upload.
pub async fn insert(
    tx: &mut Tx,
    account: i64,
    id: &str,
    length: i64,
    metadata: &str,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO uploads (id, account_id, length_bytes, metadata, updated_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(account)
    .bind(length)
    .bind(metadata)
    .bind(now())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Records that `received` bytes are on disk. Returns false when the upload is gone.
pub async fn advance(tx: &mut Tx, id: &str, received: i64) -> Result<bool> {
    let done = sqlx::query("UPDATE uploads SET received_bytes = $1, updated_at = $2 WHERE id = $3")
        .bind(received)
        .bind(now())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets an upload; its file is the caller's to remove.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<()> {
    sqlx::query("DELETE FROM uploads WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Ids of all uploads.
pub async fn all_ids(db: &Pool) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT id FROM uploads")
        .fetch_all(db)
        .await
}

/// Uploads without their last byte that nobody has continued since `before`.
pub async fn idle_since(db: &Pool, before: i64) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT u.id FROM uploads u WHERE u.updated_at < $1 AND NOT EXISTS \
         (SELECT 1 FROM images i WHERE i.upload_id = u.id AND i.stage <> 'receiving') \
         AND NOT EXISTS (SELECT 1 FROM fetches f WHERE f.upload_id = u.id)",
    )
    .bind(before)
    .fetch_all(db)
    .await
}
