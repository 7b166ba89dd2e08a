//! Idempotency keys: which requests were made, and what was answered.
//!
//! A key is recorded before its request is carried out, and its answer after that. In between, every
//! transaction of the request marks the key as effective ([`mark`], called by [`super::Db::write`]):
//! the mark is committed with the effect or not at all. So after a crash it is known whether
//! anything happened, and a request that did nothing can simply be made again.

use std::future::Future;

use sqlx::FromRow;

use super::{Result, Tx, now};

/// Seconds for which a key is remembered.
pub const LIFETIME: i64 = 24 * 3600;
/// Seconds after which a request without an answer is taken for abandoned, unless it has marked its
/// key meanwhile.
pub const PATIENCE: i64 = 30;

tokio::task_local! {
    /// The attempt on whose behalf this task writes.
    static ATTEMPT: String;
}

/// One key.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct KeyRow {
    pub request: String,
    pub begun_at: i64,
    pub effective: i64,
    pub status: Option<i64>,
    pub headers: Option<String>,
    pub body: Option<String>,
}

/// Carries out `work`, all of whose transactions mark the key of `attempt`.
pub async fn on_behalf<T>(attempt: String, work: impl Future<Output = T>) -> T {
    ATTEMPT.scope(attempt, work).await
}

/// Marks the key on whose behalf this task writes, if there is one.
///
/// # Errors
/// When another attempt took the key over: then this one is too late, and must not write.
pub async fn mark(tx: &mut Tx) -> Result<()> {
    let Ok(attempt) = ATTEMPT.try_with(Clone::clone) else {
        return Ok(());
    };
    let done = sqlx::query("UPDATE idempotency_keys SET effective = 1 WHERE attempt = $1")
        .bind(attempt)
        .execute(&mut **tx)
        .await?;
    if done.rows_affected() == 0 {
        let message = "the request took so long that another one with its key took over";
        return Err(sqlx::Error::Protocol(message.to_owned()));
    }
    Ok(())
}

/// The key as it is, unless it is too old to matter.
pub async fn find(tx: &mut Tx, account: i64, key: &str) -> Result<Option<KeyRow>> {
    sqlx::query_as(
        "SELECT request, begun_at, effective, status, headers, body \
         FROM idempotency_keys WHERE account_id = $1 AND name = $2 AND created_at > $3",
    )
    .bind(account)
    .bind(key)
    .bind(now() - LIFETIME)
    .fetch_optional(&mut **tx)
    .await
}

/// Records that `attempt` begins, in place of whatever was known of the key.
pub async fn begin(
    tx: &mut Tx,
    account: i64,
    key: &str,
    request: &str,
    attempt: &str,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO idempotency_keys (account_id, name, request, attempt, created_at, begun_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (account_id, name) DO UPDATE SET request = excluded.request, \
         attempt = excluded.attempt, created_at = excluded.created_at, \
         begun_at = excluded.begun_at, effective = 0, status = NULL, headers = NULL, body = NULL",
    )
    .bind(account)
    .bind(key)
    .bind(request)
    .bind(attempt)
    .bind(now())
    .bind(now())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps the answer. `headers` and `body` are absent where they may not be kept.
pub async fn finish(
    tx: &mut Tx,
    attempt: &str,
    status: u16,
    kept: Option<(&str, &str)>,
) -> Result<()> {
    let (headers, body) = kept.unzip();
    sqlx::query(
        "UPDATE idempotency_keys SET status = $1, headers = $2, body = $3 WHERE attempt = $4",
    )
    .bind(i64::from(status))
    .bind(headers)
    .bind(body)
    .bind(attempt)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets the key, so that the request can be made again; unless it had an effect and
/// `even_if_effective` is false.
pub async fn release(tx: &mut Tx, attempt: &str, even_if_effective: bool) -> Result<()> {
    sqlx::query(
        "DELETE FROM idempotency_keys WHERE attempt = $1 AND (effective = 0 OR effective = $2)",
    )
    .bind(attempt)
    .bind(i64::from(even_if_effective))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes keys that are too old to matter.
pub async fn expire(tx: &mut Tx) -> Result<u64> {
    let done = sqlx::query("DELETE FROM idempotency_keys WHERE created_at <= $1")
        .bind(now() - LIFETIME)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, account};

    async fn database() -> (tempfile::TempDir, Db, i64) {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::sqlite_url(&directory.path().join("test.db")))
            .await
            .unwrap();
        let mut tx = db.write().await.unwrap();
        let account = account::insert(&mut tx, "a", "a@b").await.unwrap();
        tx.commit().await.unwrap();
        (directory, db, account)
    }

    async fn start(db: &Db, account: i64, attempt: &str) {
        let mut tx = db.write().await.unwrap();
        begin(&mut tx, account, "key", "request", attempt)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn effective(db: &Db, account: i64) -> bool {
        let mut tx = db.write().await.unwrap();
        let row = find(&mut tx, account, "key").await.unwrap().unwrap();
        row.effective != 0
    }

    #[tokio::test]
    async fn the_mark_is_committed_with_the_effect_or_not_at_all() {
        let (_directory, db, account) = database().await;
        start(&db, account, "first").await;
        let undone = async {
            let tx = db.write().await.unwrap();
            tx.rollback().await.unwrap();
        };
        on_behalf("first".into(), undone).await;
        assert!(!effective(&db, account).await);
        let done = async {
            let tx = db.write().await.unwrap();
            tx.commit().await.unwrap();
        };
        on_behalf("first".into(), done).await;
        assert!(effective(&db, account).await);
    }

    #[tokio::test]
    async fn an_attempt_whose_key_was_taken_over_cannot_write() {
        let (_directory, db, account) = database().await;
        start(&db, account, "first").await;
        start(&db, account, "second").await;
        let late = on_behalf("first".into(), db.write()).await;
        assert!(late.is_err());
        assert!(on_behalf("second".into(), db.write()).await.is_ok());
    }

    #[tokio::test]
    async fn a_key_is_kept_with_its_answer_or_freed() {
        let (_directory, db, account) = database().await;
        start(&db, account, "first").await;
        let mut tx = db.write().await.unwrap();
        release(&mut tx, "first", false).await.unwrap();
        assert!(find(&mut tx, account, "key").await.unwrap().is_none());
        begin(&mut tx, account, "key", "request", "second")
            .await
            .unwrap();
        finish(&mut tx, "second", 201, Some(("{}", "body")))
            .await
            .unwrap();
        let row = find(&mut tx, account, "key").await.unwrap().unwrap();
        assert_eq!((row.status, row.body.as_deref()), (Some(201), Some("body")));
        expire(&mut tx).await.unwrap();
        assert!(find(&mut tx, account, "key").await.unwrap().is_some());
    }
}
