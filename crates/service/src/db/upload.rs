//! Uploads: how many bytes of each are safely on disk.

use sqlx::FromRow;

use super::{Executor, Pool, Result, Tx, from_sql_size, now};

/// The length of an upload whose length is not known yet.
pub const LENGTH_UNKNOWN: i64 = -1;

/// What `Upload-Concat` says of a part.
pub const PARTIAL: &str = "partial";

/// One upload.
#[derive(Debug, Clone, FromRow)]
pub struct UploadRow {
    /// Identifier, and the name of its file.
    pub id: String,
    /// Whose it is.
    pub account_id: i64,
    /// Bytes that it will have, or [`LENGTH_UNKNOWN`].
    length_bytes: i64,
    /// Bytes that are synced to disk.
    pub received_bytes: i64,
    /// The tus `Upload-Metadata` header, as it came.
    pub metadata: String,
    /// When its last bytes came.
    pub updated_at: i64,
    /// The name that the client of a `PUT` chose.
    pub name: Option<String>,
    /// The tus `Upload-Concat` header, as it came.
    pub concat: String,
    /// The upload that it is a part of, once it was put into one.
    pub part_of: Option<String>,
    /// Why it was refused.
    pub failure: Option<String>,
}

impl UploadRow {
    /// Bytes that it will have, if that is known.
    pub fn length(&self) -> Option<u64> {
        u64::try_from(self.length_bytes).ok()
    }

    /// Bytes that are safe.
    pub fn received(&self) -> u64 {
        from_sql_size(self.received_bytes)
    }

    /// Whether its last byte is here.
    pub fn is_complete(&self) -> bool {
        self.received_bytes == self.length_bytes
    }

    /// Whether it is a part of a larger one.
    pub fn is_partial(&self) -> bool {
        self.concat == PARTIAL
    }

    /// Whether it is made of parts.
    pub fn is_final(&self) -> bool {
        !self.concat.is_empty() && !self.is_partial()
    }
}

/// What a new upload begins with.
#[derive(Debug)]
pub struct NewUpload<'a> {
    /// Owner.
    pub account: i64,
    /// Bytes, or [`LENGTH_UNKNOWN`].
    pub length: i64,
    /// The tus header.
    pub metadata: &'a str,
    /// Chosen by the client of a `PUT`.
    pub name: Option<&'a str>,
    /// The tus header, or empty.
    pub concat: &'a str,
}

/// By id, or by the name that its client chose. What the service fetches itself is no upload for its
/// owner.
pub async fn find(db: impl Executor<'_>, account: i64, id: &str) -> Result<Option<UploadRow>> {
    sqlx::query_as(
        "SELECT * FROM uploads WHERE account_id = $1 AND (id = $2 OR name = $2) \
         AND NOT EXISTS (SELECT 1 FROM fetches f WHERE f.upload_id = uploads.id)",
    )
    .bind(account)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// By id, with the write lock held.
pub async fn get(tx: &mut Tx, id: &str) -> Result<UploadRow> {
    sqlx::query_as("SELECT * FROM uploads WHERE id = $1")
        .bind(id)
        .fetch_one(&mut **tx)
        .await
}

/// A new upload.
pub async fn insert(tx: &mut Tx, id: &str, new: &NewUpload<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO uploads (id, account_id, length_bytes, metadata, updated_at, name, concat) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(new.account)
    .bind(new.length)
    .bind(new.metadata)
    .bind(now())
    .bind(new.name)
    .bind(new.concat)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Records that `received` bytes are on disk. Returns false when the upload is gone, failed, or not
/// where its writer left it.
pub async fn advance(tx: &mut Tx, id: &str, before: i64, received: i64) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE uploads SET received_bytes = $1, updated_at = $2 \
         WHERE id = $3 AND received_bytes = $4 AND failure IS NULL",
    )
    .bind(received)
    .bind(now())
    .bind(id)
    .bind(before)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records the length, which was not known. Returns false when the upload is gone.
pub async fn set_length(tx: &mut Tx, id: &str, length: i64) -> Result<bool> {
    let done = sqlx::query("UPDATE uploads SET length_bytes = $1 WHERE id = $2")
        .bind(length)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Begins an upload again from its first byte, with another length.
pub async fn restart(tx: &mut Tx, id: &str, length: i64) -> Result<()> {
    sqlx::query(
        "UPDATE uploads SET received_bytes = 0, length_bytes = $1, updated_at = $2, \
         failure = NULL WHERE id = $3",
    )
    .bind(length)
    .bind(now())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends an upload with a reason; its bytes are the caller's to remove.
pub async fn fail(tx: &mut Tx, id: &str, reason: &str) -> Result<()> {
    sqlx::query(
        "UPDATE uploads SET failure = $1, received_bytes = 0, updated_at = $2 WHERE id = $3",
    )
    .bind(reason)
    .bind(now())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets an upload, and the parts that belong to it alone. Returns the ids, whose files are the
/// caller's to remove.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("DELETE FROM uploads WHERE id = $1 OR part_of = $1 RETURNING id")
        .bind(id)
        .fetch_all(&mut **tx)
        .await
}

/// Whether there is such an upload.
pub async fn exists(db: &Pool, id: &str) -> Result<bool> {
    let found: Option<String> = sqlx::query_scalar("SELECT id FROM uploads WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

/// Ids of all uploads.
pub async fn all_ids(db: impl Executor<'_>) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT id FROM uploads")
        .fetch_all(db)
        .await
}

/// Bytes that all uploads together still have to bring.
pub async fn promised(tx: &mut Tx) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(length_bytes - received_bytes), 0) AS BIGINT) FROM uploads \
         WHERE failure IS NULL AND length_bytes > received_bytes",
    )
    .fetch_one(&mut **tx)
    .await
}

/// How many uploads still wait for bytes: of `account`, and of all.
pub async fn unfinished(tx: &mut Tx) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM uploads WHERE failure IS NULL AND received_bytes <> length_bytes",
    )
    .fetch_one(&mut **tx)
    .await
}

/// Makes `part` belong to `whole` alone.
pub async fn claim_part(tx: &mut Tx, part: &str, whole: &str) -> Result<()> {
    sqlx::query("UPDATE uploads SET part_of = $1 WHERE id = $2")
        .bind(whole)
        .bind(part)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Forgets the parts of `whole`. Returns their ids, whose files are the caller's to remove.
pub async fn delete_parts(tx: &mut Tx, whole: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("DELETE FROM uploads WHERE part_of = $1 RETURNING id")
        .bind(whole)
        .fetch_all(&mut **tx)
        .await
}

/// Uploads made of parts that still have some.
pub async fn unfinished_finals(db: &Pool) -> Result<Vec<UploadRow>> {
    sqlx::query_as(
        "SELECT * FROM uploads u WHERE concat LIKE 'final;%' AND failure IS NULL \
         AND EXISTS (SELECT 1 FROM uploads p WHERE p.part_of = u.id)",
    )
    .fetch_all(db)
    .await
}

/// Uploads that no import works on and that nobody has continued since `before`.
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
