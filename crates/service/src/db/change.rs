//! The order of changes: what a customer who was away, or who waits, has not seen yet.
//!
//! The database keeps the table by itself (`0010_changes`).

use sqlx::FromRow;

use super::{Executor, Result};

/// The last change of one object.
#[derive(Debug, Clone, FromRow)]
pub struct ChangeRow {
    /// `image`, `droplet` or `action`.
    pub resource_type: String,
    /// The object.
    pub resource_id: i64,
    /// Where the change stands among all.
    pub number: i64,
}

/// The number of the last change of all; 0 before the first.
pub async fn last(db: impl Executor<'_>) -> Result<i64> {
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(number) FROM changes")
        .fetch_one(db)
        .await?;
    Ok(last.unwrap_or(0))
}

/// The objects of an account that changed after the change `number`, oldest change first, at most
/// `limit`.
pub async fn since(
    db: impl Executor<'_>,
    account: i64,
    number: i64,
    limit: i64,
) -> Result<Vec<ChangeRow>> {
    sqlx::query_as(
        "SELECT resource_type, resource_id, number FROM changes \
         WHERE account_id = $1 AND number > $2 ORDER BY number LIMIT $3",
    )
    .bind(account)
    .bind(number)
    .bind(limit)
    .fetch_all(db)
    .await
}
