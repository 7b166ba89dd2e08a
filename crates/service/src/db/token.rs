//! Tokens. Of a token only the SHA-256 is kept: it is random, so that no salt or slow hash is
//! needed. Revoked tokens stay as rows, because the audit log names them.

use abbild_api::Scope;
use sqlx::FromRow;

use super::account::AccountRow;
use super::{Executor, Pool, Result, Tx, Window, now};

/// One token.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct TokenRow {
    pub id: i64,
    pub account_id: i64,
    pub user_id: Option<i64>,
    pub name: String,
    scopes: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

impl TokenRow {
    /// What it may do, as far as its user may.
    ///
    /// # Errors
    /// When the database holds a word that this version does not know.
    pub fn scopes(&self) -> Result<Vec<Scope>> {
        let words = self.scopes.split_whitespace().map(str::parse);
        words
            .collect::<std::result::Result<_, String>>()
            .map_err(|e| sqlx::Error::Decode(e.into()))
    }
}

/// What a new token begins with.
#[derive(Debug)]
#[allow(missing_docs)] // as in the row
pub struct NewToken<'a> {
    pub account: i64,
    pub user: Option<i64>,
    pub name: &'a str,
    pub sha256: &'a str,
    pub scopes: &'a [Scope],
    pub expires_at: Option<i64>,
}

macro_rules! columns {
    () => {
        "id, account_id, user_id, name, scopes, created_at, expires_at, last_used_at"
    };
}

/// A token with its account, whose columns are not those of the token.
#[derive(FromRow)]
struct ValidRow {
    #[sqlx(flatten)]
    token: TokenRow,
    uuid: String,
    account_name: String,
    email: String,
    disabled_at: Option<i64>,
    disabled_reason: String,
}

/// The token with this digest, unless it is revoked or has expired, and its account.
pub async fn valid(db: impl Executor<'_>, sha256: &str) -> Result<Option<(TokenRow, AccountRow)>> {
    let row: Option<ValidRow> = sqlx::query_as(
        "SELECT t.*, a.uuid, a.name AS account_name, a.email, a.disabled_at, a.disabled_reason \
         FROM tokens t JOIN accounts a ON a.id = t.account_id \
         WHERE t.sha256 = $1 AND t.revoked_at IS NULL \
         AND (t.expires_at IS NULL OR t.expires_at > $2)",
    )
    .bind(sha256)
    .bind(now())
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let account = AccountRow {
            id: row.token.account_id,
            uuid: row.uuid,
            name: row.account_name,
            email: row.email,
            disabled_at: row.disabled_at,
            disabled_reason: row.disabled_reason,
        };
        (row.token, account)
    }))
}

/// One page of an account's tokens, and the total; of one user's, where `user` is not `None`.
pub async fn list(
    db: &Pool,
    account: i64,
    user: Option<i64>,
    window: Window,
) -> Result<(Vec<TokenRow>, i64)> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens WHERE account_id = $1 AND revoked_at IS NULL \
         AND (user_id = $2 OR CAST($3 AS BIGINT) = 0) ORDER BY id LIMIT $4 OFFSET $5"
    ))
    .bind(account)
    .bind(user.unwrap_or(0))
    .bind(i64::from(user.is_some()))
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar(
        "SELECT COUNT(*) FROM tokens WHERE account_id = $1 AND revoked_at IS NULL \
         AND (user_id = $2 OR CAST($3 AS BIGINT) = 0)",
    )
    .bind(account)
    .bind(user.unwrap_or(0))
    .bind(i64::from(user.is_some()))
    .fetch_one(db)
    .await?;
    Ok((rows, total))
}

/// By id, unless it is revoked.
pub async fn find(db: &Pool, account: i64, id: i64) -> Result<Option<TokenRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL"
    ))
    .bind(account)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// By id, of whichever account, unless it is revoked.
pub async fn get(tx: &mut Tx, id: i64) -> Result<Option<TokenRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens WHERE id = $1 AND revoked_at IS NULL"
    ))
    .bind(id)
    .fetch_optional(&mut **tx)
    .await
}

/// A new token.
pub async fn insert(tx: &mut Tx, new: &NewToken<'_>) -> Result<TokenRow> {
    let scopes: Vec<_> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    sqlx::query_as(concat!(
        "INSERT INTO tokens (account_id, user_id, name, sha256, scopes, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ",
        columns!()
    ))
    .bind(new.account)
    .bind(new.user)
    .bind(new.name)
    .bind(new.sha256)
    .bind(scopes.join(" "))
    .bind(now())
    .bind(new.expires_at)
    .fetch_one(&mut **tx)
    .await
}

/// Makes a token useless. Returns false when it was already.
pub async fn revoke(tx: &mut Tx, account: i64, id: i64) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE tokens SET revoked_at = $1 WHERE account_id = $2 AND id = $3 \
         AND revoked_at IS NULL",
    )
    .bind(now())
    .bind(account)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes all tokens of a user useless.
pub async fn revoke_of_user(tx: &mut Tx, user: i64) -> Result<()> {
    sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL")
        .bind(now())
        .bind(user)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records that it was used.
pub async fn touch(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
        .bind(now())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How many tokens of an account are not revoked.
pub async fn count(tx: &mut Tx, account: i64) -> Result<i64> {
    sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE account_id = $1 AND revoked_at IS NULL")
        .bind(account)
        .fetch_one(&mut **tx)
        .await
}
