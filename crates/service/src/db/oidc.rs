//! Logins by OpenID Connect that are under way. Each serves once, for the browser that began it.

use sqlx::FromRow;

use super::{Result, Tx, now};

/// A login under way.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct LoginRow {
    pub nonce: String,
    pub pkce_verifier: String,
    pub return_to: String,
}

/// A new one, which the browser that holds the cookie may end within `seconds`.
pub async fn insert(
    tx: &mut Tx,
    state_sha256: &str,
    browser_sha256: &str,
    login: &LoginRow,
    seconds: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO oidc_logins \
         (state_sha256, browser_sha256, nonce, pkce_verifier, return_to, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(state_sha256)
    .bind(browser_sha256)
    .bind(&login.nonce)
    .bind(&login.pkce_verifier)
    .bind(&login.return_to)
    .bind(now() + seconds)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes one, if it is this browser's and not too old. Nobody can take it again.
pub async fn take(
    tx: &mut Tx,
    state_sha256: &str,
    browser_sha256: &str,
) -> Result<Option<LoginRow>> {
    sqlx::query_as(
        "DELETE FROM oidc_logins \
         WHERE state_sha256 = $1 AND browser_sha256 = $2 AND expires_at > $3 \
         RETURNING nonce, pkce_verifier, return_to",
    )
    .bind(state_sha256)
    .bind(browser_sha256)
    .bind(now())
    .fetch_optional(&mut **tx)
    .await
}
