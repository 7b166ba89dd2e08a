//! How many images an account has, kept beside them: to count a hundred thousand takes longer than all
//! else that a page of them needs.
//!
//! The counts move in the transaction that makes or deletes an image. Each start counts anew, so that
//! what was done to the database by other means does not last.

use super::{Filter, Origin};
use crate::db::{Pool, Result, Tx};

/// The total of a list, if it is kept.
pub async fn total(db: &Pool, account: i64, filter: &Filter<'_>) -> Result<Option<i64>> {
    if filter.name.is_some() || filter.tag.is_some() || filter.digest.is_some() {
        return Ok(None);
    }
    let (first, last) = match filter.origin {
        Origin::Any => (0, 1),
        Origin::Import => (0, 0),
        Origin::Snapshot => (1, 1),
        Origin::Available(_) => return Ok(None),
    };
    let total = sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(images), 0) AS BIGINT) FROM image_counts \
         WHERE account_id = $1 AND is_snapshot BETWEEN $2 AND $3",
    )
    .bind(account)
    .bind(first)
    .bind(last)
    .fetch_one(db)
    .await?;
    Ok(Some(total))
}

/// There is one more.
pub async fn add(tx: &mut Tx, account: i64, is_snapshot: bool) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_counts (account_id, is_snapshot, images) VALUES ($1, $2, 1) \
         ON CONFLICT (account_id, is_snapshot) DO UPDATE SET images = image_counts.images + 1",
    )
    .bind(account)
    .bind(i64::from(is_snapshot))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// This one is about to be deleted, unless it is already.
pub async fn remove(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query(
        "UPDATE image_counts SET images = images - 1 WHERE (account_id, is_snapshot) = \
         (SELECT account_id, CASE WHEN droplet_id IS NULL THEN 0 ELSE 1 END FROM images \
         WHERE id = $1 AND deleted_at IS NULL)",
    )
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Counts anew.
pub async fn recount(tx: &mut Tx) -> Result<()> {
    sqlx::query("DELETE FROM image_counts")
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO image_counts (account_id, is_snapshot, images) \
         SELECT account_id, CASE WHEN droplet_id IS NULL THEN 0 ELSE 1 END AS kind, COUNT(*) \
         FROM images WHERE deleted_at IS NULL GROUP BY account_id, kind",
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
