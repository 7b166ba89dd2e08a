//! Removals: which canonical images are being removed from a store, and by whom.

use super::{Executor, Pool, Result, Tx, now};

/// Notes that `owner` removes an image, for `seconds` at most. Returns false when somebody is
/// doing so already.
pub async fn begin(
    tx: &mut Tx,
    region: &str,
    digest: &str,
    owner: &str,
    seconds: i64,
) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO removals (region, digest, lease_owner, lease_until) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (region, digest) DO UPDATE SET lease_owner = excluded.lease_owner, \
         lease_until = excluded.lease_until WHERE removals.lease_until < $5",
    )
    .bind(region)
    .bind(digest)
    .bind(owner)
    .bind(now() + seconds)
    .bind(now())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The image is gone.
pub async fn end(tx: &mut Tx, region: &str, digest: &str, owner: &str) -> Result<()> {
    sqlx::query("DELETE FROM removals WHERE region = $1 AND digest = $2 AND lease_owner = $3")
        .bind(region)
        .bind(digest)
        .bind(owner)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether the image may vanish at any moment.
pub async fn is_underway(db: impl Executor<'_>, region: &str, digest: &str) -> Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT lease_until FROM removals WHERE region = $1 AND digest = $2 AND lease_until >= $3",
    )
    .bind(region)
    .bind(digest)
    .bind(now())
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// The removals from the directory of `region` that an earlier process on the data directory `node`
/// began are over: it does nothing more. Of a bucket that is not known: a request may still be on
/// its way.
pub async fn release(tx: &mut Tx, region: &str, node: &str) -> Result<()> {
    sqlx::query("DELETE FROM removals WHERE region = $1 AND lease_owner LIKE $2")
        .bind(region)
        .bind(format!("{node}/%"))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Region and digest of the removals that should have ended before `time`.
pub async fn lost(db: &Pool, time: i64) -> Result<Vec<(String, String)>> {
    sqlx::query_as("SELECT region, digest FROM removals WHERE lease_until < $1")
        .bind(time)
        .fetch_all(db)
        .await
}

/// Forgets those of them that nobody has begun again.
pub async fn forget_lost(db: &Pool, time: i64) -> Result<()> {
    sqlx::query("DELETE FROM removals WHERE lease_until < $1")
        .bind(time)
        .execute(db)
        .await?;
    Ok(())
}
