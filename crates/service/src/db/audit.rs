//! The audit log. Rows are only added; [`expire`] alone removes those that the operator no longer
//! keeps.

use sqlx::FromRow;

use super::{Pool, Result, Tx, Window, now};

/// One entry.
#[derive(Debug, Clone, Default, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct AuditRow {
    pub id: i64,
    pub at: i64,
    pub account_id: Option<i64>,
    pub actor: String,
    pub actor_name: String,
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub action: String,
    pub object_type: Option<String>,
    pub object_id: Option<String>,
    pub outcome: String,
    pub detail: String,
    pub address: Option<String>,
    pub request_id: Option<String>,
}

/// Adds `row`, whose `id` and `at` are set here.
pub async fn insert(tx: &mut Tx, row: &AuditRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit (at, account_id, actor, actor_name, user_id, token_id, action, \
         object_type, object_id, outcome, detail, address, request_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(now())
    .bind(row.account_id)
    .bind(&row.actor)
    .bind(&row.actor_name)
    .bind(row.user_id)
    .bind(row.token_id)
    .bind(&row.action)
    .bind(&row.object_type)
    .bind(&row.object_id)
    .bind(&row.outcome)
    .bind(&row.detail)
    .bind(&row.address)
    .bind(&row.request_id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One page of an account's log, newest first, and the total.
pub async fn list(db: &Pool, account: i64, window: Window) -> Result<(Vec<AuditRow>, i64)> {
    let rows = sqlx::query_as(
        "SELECT * FROM audit WHERE account_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(account)
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar("SELECT COUNT(*) FROM audit WHERE account_id = $1")
        .bind(account)
        .fetch_one(db)
        .await?;
    Ok((rows, total))
}

/// The newest entries, newest first: of one account, or of all.
pub async fn newest(db: &Pool, account: Option<i64>, limit: u32) -> Result<Vec<AuditRow>> {
    sqlx::query_as(
        "SELECT * FROM audit WHERE account_id = $1 OR CAST($2 AS BIGINT) = 0 \
         ORDER BY id DESC LIMIT $3",
    )
    .bind(account.unwrap_or(0))
    .bind(i64::from(account.is_some()))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
}

/// Removes what is older than the operator keeps, and returns how much that was.
pub async fn expire(tx: &mut Tx, before: i64) -> Result<u64> {
    let done = sqlx::query("DELETE FROM audit WHERE at < $1")
        .bind(before)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}
