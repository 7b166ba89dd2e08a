//! Sessions of users, and what guards the way to them.
//!
//! As with tokens, only the SHA-256 of what the browser holds is kept.

use sqlx::FromRow;

use super::{Executor, Pool, Result, Tx, Window, now};

/// One session.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct SessionRow {
    pub id: i64,
    pub user_id: i64,
    pub method: String,
    pub address: String,
    pub user_agent: String,
    pub created_at: i64,
    pub last_used_at: i64,
    pub expires_at: i64,
}

/// What a new session begins with.
#[derive(Debug)]
#[allow(missing_docs)] // as in the row
pub struct NewSession<'a> {
    pub user: i64,
    pub sha256: &'a str,
    pub method: &'a str,
    pub address: &'a str,
    pub user_agent: &'a str,
    pub expires_at: i64,
}

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.method, s.address, s.user_agent, s.created_at, s.last_used_at, \
         s.expires_at"
    };
}

/// The session with this digest, if it was used since `idle_since` and has not expired.
pub async fn valid(
    db: impl Executor<'_>,
    sha256: &str,
    idle_since: i64,
) -> Result<Option<SessionRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s WHERE s.sha256 = $1 AND s.expires_at > $2 AND s.last_used_at > $3"
    ))
    .bind(sha256)
    .bind(now())
    .bind(idle_since)
    .fetch_optional(db)
    .await
}

/// One page of the sessions of a user that are open, and the total.
pub async fn list(
    db: &Pool,
    user: i64,
    idle_since: i64,
    window: Window,
) -> Result<(Vec<SessionRow>, i64)> {
    let rows = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s WHERE s.user_id = $1 AND s.expires_at > $2 AND s.last_used_at > $3 \
         ORDER BY s.id LIMIT $4 OFFSET $5"
    ))
    .bind(user)
    .bind(now())
    .bind(idle_since)
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar(
        "SELECT COUNT(*) FROM sessions \
         WHERE user_id = $1 AND expires_at > $2 AND last_used_at > $3",
    )
    .bind(user)
    .bind(now())
    .bind(idle_since)
    .fetch_one(db)
    .await?;
    Ok((rows, total))
}

/// A new session.
pub async fn insert(tx: &mut Tx, new: &NewSession<'_>) -> Result<SessionRow> {
    sqlx::query_as(
        "INSERT INTO sessions \
         (user_id, sha256, method, address, user_agent, created_at, last_used_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id, user_id, method, address, \
         user_agent, created_at, last_used_at, expires_at",
    )
    .bind(new.user)
    .bind(new.sha256)
    .bind(new.method)
    .bind(new.address)
    .bind(new.user_agent)
    .bind(now())
    .bind(now())
    .bind(new.expires_at)
    .fetch_one(&mut **tx)
    .await
}

/// Ends a session of a user. Returns false when there is none.
pub async fn end(tx: &mut Tx, user: i64, id: i64) -> Result<bool> {
    let done = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id = $2")
        .bind(user)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all sessions of a user but `keep`.
pub async fn end_all(tx: &mut Tx, user: i64, keep: Option<i64>) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
        .bind(user)
        .bind(keep.unwrap_or(0))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Records that it was used.
pub async fn touch(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE sessions SET last_used_at = $1 WHERE id = $2")
        .bind(now())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Removes what has ended: sessions, logins under way, attempts that no longer count.
pub async fn tidy(tx: &mut Tx, idle_since: i64, attempts_since: i64) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE expires_at <= $1 OR last_used_at <= $2")
        .bind(now())
        .bind(idle_since)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM oidc_logins WHERE expires_at <= $1")
        .bind(now())
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM login_attempts WHERE last_at <= $1")
        .bind(attempts_since)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Until when no login is tried for `subject`, and how often it failed in a row.
pub async fn attempts(tx: &mut Tx, subject: &str) -> Result<Option<(i64, i64, i64)>> {
    sqlx::query_as("SELECT failures, last_at, blocked_until FROM login_attempts WHERE subject = $1")
        .bind(subject)
        .fetch_optional(&mut **tx)
        .await
}

/// Counts a login as tried in vain.
pub async fn set_attempts(
    tx: &mut Tx,
    subject: &str,
    failures: i64,
    blocked_until: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO login_attempts (subject, failures, last_at, blocked_until) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO UPDATE SET \
         failures = excluded.failures, last_at = excluded.last_at, \
         blocked_until = excluded.blocked_until",
    )
    .bind(subject)
    .bind(failures)
    .bind(now())
    .bind(blocked_until)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets the attempts after a login that succeeded.
pub async fn clear_attempts(tx: &mut Tx, subject: &str) -> Result<()> {
    sqlx::query("DELETE FROM login_attempts WHERE subject = $1")
        .bind(subject)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
