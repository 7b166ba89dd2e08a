//! Users: who can log in to an account.

use abbild_api::Role;
use sqlx::FromRow;

use super::{Executor, Pool, Result, Tx, Window, from_word, now};

/// One user.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct UserRow {
    pub id: i64,
    pub account_id: i64,
    pub email: String,
    pub name: String,
    role: String,
    pub password: Option<String>,
    pub oidc_subject: Option<String>,
    pub created_at: i64,
    pub disabled_at: Option<i64>,
    pub last_login_at: Option<i64>,
}

impl UserRow {
    /// What they may do.
    ///
    /// # Errors
    /// When the database holds a word that this version does not know.
    pub fn role(&self) -> Result<Role> {
        from_word(&self.role)
    }
}

/// What a new user begins with.
#[derive(Debug)]
#[allow(missing_docs)] // as in the row
pub struct NewUser<'a> {
    pub account: i64,
    pub email: &'a str,
    pub name: &'a str,
    pub role: Role,
    pub password: Option<&'a str>,
}

/// One page of an account's users, and the total.
pub async fn list(db: &Pool, account: i64, window: Window) -> Result<(Vec<UserRow>, i64)> {
    let rows =
        sqlx::query_as("SELECT * FROM users WHERE account_id = $1 ORDER BY id LIMIT $2 OFFSET $3")
            .bind(account)
            .bind(window.limit)
            .bind(window.offset)
            .fetch_all(db)
            .await?;
    let total = sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE account_id = $1")
        .bind(account)
        .fetch_one(db)
        .await?;
    Ok((rows, total))
}

/// By id, for the account's own administration.
pub async fn find(db: impl Executor<'_>, account: i64, id: i64) -> Result<Option<UserRow>> {
    sqlx::query_as("SELECT * FROM users WHERE account_id = $1 AND id = $2")
        .bind(account)
        .bind(id)
        .fetch_optional(db)
        .await
}

/// By id: the user of a session or token.
pub async fn get(db: impl Executor<'_>, id: i64) -> Result<UserRow> {
    sqlx::query_as("SELECT * FROM users WHERE id = $1")
        .bind(id)
        .fetch_one(db)
        .await
}

/// By address: somebody who logs in.
pub async fn by_email(db: impl Executor<'_>, email: &str) -> Result<Option<UserRow>> {
    sqlx::query_as("SELECT * FROM users WHERE email = $1")
        .bind(email)
        .fetch_optional(db)
        .await
}

/// By what an OpenID Connect provider calls them.
pub async fn by_subject(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Option<UserRow>> {
    sqlx::query_as("SELECT * FROM users WHERE oidc_issuer = $1 AND oidc_subject = $2")
        .bind(issuer)
        .bind(subject)
        .fetch_optional(&mut **tx)
        .await
}

/// Remembers what an OpenID Connect provider calls them.
pub async fn set_subject(tx: &mut Tx, id: i64, issuer: &str, subject: &str) -> Result<()> {
    sqlx::query("UPDATE users SET oidc_issuer = $1, oidc_subject = $2 WHERE id = $3")
        .bind(issuer)
        .bind(subject)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A new user, or `None` when the address is taken, in whichever account.
pub async fn insert(tx: &mut Tx, new: &NewUser<'_>) -> Result<Option<UserRow>> {
    sqlx::query_as(
        "INSERT INTO users (account_id, email, name, role, password, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(new.account)
    .bind(new.email)
    .bind(new.name)
    .bind(new.role.as_str())
    .bind(new.password)
    .bind(now())
    .fetch_optional(&mut **tx)
    .await
}

/// Changes name, role and whether they are kept out.
pub async fn update(tx: &mut Tx, row: &UserRow, role: Role) -> Result<()> {
    sqlx::query("UPDATE users SET name = $1, role = $2, disabled_at = $3 WHERE id = $4")
        .bind(&row.name)
        .bind(role.as_str())
        .bind(row.disabled_at)
        .bind(row.id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Sets the password: a PHC string.
pub async fn set_password(tx: &mut Tx, id: i64, password: &str) -> Result<()> {
    sqlx::query("UPDATE users SET password = $1 WHERE id = $2")
        .bind(password)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records that they logged in.
pub async fn logged_in(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE users SET last_login_at = $1 WHERE id = $2")
        .bind(now())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How many owners of the account can log in, but for `user`.
pub async fn other_owners(tx: &mut Tx, account: i64, user: i64) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM users WHERE account_id = $1 AND id <> $2 AND role = 'owner' \
         AND disabled_at IS NULL",
    )
    .bind(account)
    .bind(user)
    .fetch_one(&mut **tx)
    .await
}

/// Removes a user whose sessions have ended; their tokens, which are revoked, become the account's.
pub async fn delete(tx: &mut Tx, account: i64, id: i64) -> Result<()> {
    sqlx::query("UPDATE tokens SET user_id = NULL WHERE user_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM users WHERE account_id = $1 AND id = $2")
        .bind(account)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
