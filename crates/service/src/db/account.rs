//! Accounts and their tokens. Of a token only the SHA-256 is kept: it is random, so that no salt
//! or slow hash is needed.

use sqlx::FromRow;

use super::{Pool, Result, Tx, now};

/// One account.
#[derive(Debug, Clone, FromRow)]
pub struct AccountRow {
    /// Identifier.
    pub id: i64,
    /// Identifier on the wire.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
}

/// The account that a token belongs to.
pub async fn by_token(db: &Pool, sha256: &str) -> Result<Option<AccountRow>> {
    sqlx::query_as(
        "SELECT a.id, a.uuid, a.name, a.email FROM accounts a \
         JOIN tokens t ON t.account_id = a.id WHERE t.sha256 = $1",
    )
    .bind(sha256)
    .fetch_optional(db)
    .await
}

/// The oldest account: the one made at first start.
pub async fn first(tx: &mut Tx) -> Result<Option<AccountRow>> {
    sqlx::query_as("SELECT id, uuid, name, email FROM accounts ORDER BY id LIMIT 1")
        .fetch_optional(&mut **tx)
        .await
}

/// A new account.
pub async fn insert(tx: &mut Tx, name: &str, email: &str) -> Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO accounts (uuid, name, email, created_at) VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(uuid::Uuid::new_v4().to_string())
    .bind(name)
    .bind(email)
    .bind(now())
    .fetch_one(&mut **tx)
    .await
}

/// A new token of an account.
pub async fn insert_token(tx: &mut Tx, account: i64, name: &str, sha256: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO tokens (account_id, name, sha256, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(account)
    .bind(name)
    .bind(sha256)
    .bind(now())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
