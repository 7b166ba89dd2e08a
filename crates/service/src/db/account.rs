//! Accounts.

use sqlx::FromRow;

use super::{Executor, Pool, Result, Tx, now};

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
pub async fn first(db: impl Executor<'_>) -> Result<Option<AccountRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM accounts a ORDER BY a.id LIMIT 1"
    ))
    .fetch_optional(db)
    .await
}

/// Those with the id, UUID or e-mail address `which`.
pub async fn named(db: impl Executor<'_>, which: &str) -> Result<Vec<AccountRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM accounts a WHERE a.id = $1 OR a.uuid = $2 OR a.email = $3 ORDER BY a.id LIMIT 3"
    ))
    .bind(which.parse::<i64>().unwrap_or(0))
    .bind(which.to_lowercase())
    .bind(which.to_lowercase())
    .fetch_all(db)
    .await
}

/// An account with what belongs to it, for its operator.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration, the rest are counts
pub struct AccountSummaryRow {
    pub id: i64,
    pub uuid: String,
    pub name: String,
    pub email: String,
    pub created_at: i64,
    pub disabled_at: Option<i64>,
    pub disabled_reason: String,
    pub users: i64,
    pub tokens: i64,
    pub images: i64,
    pub droplets: i64,
}

macro_rules! summary {
    ($end:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", a.created_at, \
             (SELECT COUNT(*) FROM users u WHERE u.account_id = a.id) AS users, \
             (SELECT COUNT(*) FROM tokens t WHERE t.account_id = a.id \
              AND t.revoked_at IS NULL) AS tokens, \
             (SELECT COUNT(*) FROM images i WHERE i.account_id = a.id \
              AND i.deleted_at IS NULL) AS images, \
             (SELECT COUNT(*) FROM droplets d WHERE d.account_id = a.id \
              AND d.deleted_at IS NULL) AS droplets \
             FROM accounts a ",
            $end
        )
    };
}

/// All accounts with what belongs to them, oldest first.
pub async fn summaries(db: &Pool) -> Result<Vec<AccountSummaryRow>> {
    sqlx::query_as(summary!("ORDER BY a.id"))
        .fetch_all(db)
        .await
}

/// One account with what belongs to it.
pub async fn summary(db: &Pool, id: i64) -> Result<AccountSummaryRow> {
    sqlx::query_as(summary!("WHERE a.id = $1"))
        .bind(id)
        .fetch_one(db)
        .await
}

/// Disables an account with a reason, or enables it (`None`).
pub async fn set_disabled(tx: &mut Tx, id: i64, reason: Option<&str>) -> Result<()> {
    sqlx::query("UPDATE accounts SET disabled_at = $1, disabled_reason = $2 WHERE id = $3")
        .bind(reason.map(|_| now()))
        .bind(reason.unwrap_or(""))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// By id.
pub async fn find(db: impl Executor<'_>, id: i64) -> Result<Option<AccountRow>> {
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
