//! SSH public keys.

use abbild_api::IdOrName;
use sqlx::FromRow;

use super::{Pool, Result, Tx, Window};

/// One key.
#[derive(Debug, Clone, FromRow)]
pub struct KeyRow {
    /// Identifier.
    pub id: i64,
    /// For people.
    pub name: String,
    /// MD5, in pairs with colons.
    pub fingerprint: String,
    /// As it was sent.
    pub public_key: String,
}

/// One page, and the total.
pub async fn list(db: &Pool, account: i64, window: Window) -> Result<(Vec<KeyRow>, i64)> {
    let rows = sqlx::query_as(
        "SELECT id, name, fingerprint, public_key FROM ssh_keys WHERE account_id = $1 \
         ORDER BY id LIMIT $2 OFFSET $3",
    )
    .bind(account)
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar("SELECT COUNT(*) FROM ssh_keys WHERE account_id = $1")
        .bind(account)
        .fetch_one(db)
        .await?;
    Ok((rows, total))
}

/// By id or fingerprint.
pub async fn find(db: &Pool, account: i64, which: &IdOrName) -> Result<Option<KeyRow>> {
    let (id, fingerprint) = match which {
        IdOrName::Id(id) => (*id, ""),
        IdOrName::Name(fingerprint) => (0, fingerprint.as_str()),
    };
    sqlx::query_as(
        "SELECT id, name, fingerprint, public_key FROM ssh_keys \
         WHERE account_id = $1 AND (id = $2 OR fingerprint = $3)",
    )
    .bind(account)
    .bind(id)
    .bind(fingerprint.to_ascii_lowercase())
    .fetch_optional(db)
    .await
}

/// A new key, or `None` when the account has it already.
pub async fn insert(
    tx: &mut Tx,
    account: i64,
    name: &str,
    fingerprint: &str,
    public_key: &str,
) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "INSERT INTO ssh_keys (account_id, name, fingerprint, public_key) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(account)
    .bind(name)
    .bind(fingerprint)
    .bind(public_key)
    .fetch_optional(&mut **tx)
    .await
}

/// Renames a key.
pub async fn rename(tx: &mut Tx, account: i64, id: i64, name: &str) -> Result<()> {
    sqlx::query("UPDATE ssh_keys SET name = $1 WHERE account_id = $2 AND id = $3")
        .bind(name)
        .bind(account)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Removes a key; machines that were made with it keep it.
pub async fn delete(tx: &mut Tx, account: i64, id: i64) -> Result<()> {
    sqlx::query("DELETE FROM ssh_keys WHERE account_id = $1 AND id = $2")
        .bind(account)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
