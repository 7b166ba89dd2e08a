//! Accounts.

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
    /// When an operator disabled it.
    pub disabled_at: Option<i64>,
    /// Why they did.
    pub disabled_reason: String,
}

/// The columns of [`AccountRow`], of the table `a`.
macro_rules! columns {
    () => {
        "a.id, a.uuid, a.name, a.email, a.disabled_at, a.disabled_reason"
    };
}

/// The oldest account: the one made at first start.
pub async fn first(tx: &mut Tx) -> Result<Option<AccountRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM accounts a ORDER BY a.id LIMIT 1"
    ))
    .fetch_optional(&mut **tx)
    .await
}

/// By id.
pub async fn find(db: &Pool, id: i64) -> Result<Option<AccountRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM accounts a WHERE a.id = $1"
    ))
    .bind(id)
    .fetch_optional(db)
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
