//! What is mended in a database that was restored from a backup.

use super::{Result, Tx};

/// Machines that a host had, and their regions.
pub async fn machines(tx: &mut Tx) -> Result<Vec<(i64, String)>> {
    sqlx::query_as("SELECT id, region FROM droplets WHERE on_host = 1 ORDER BY id")
        .fetch_all(&mut **tx)
        .await
}

/// A machine is still on a host, whatever name its process has now.
pub async fn adopt_machine(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE droplets SET node = NULL WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A machine has no disk any more: one that was deleted is gone, any other is off.
pub async fn lose_machine(tx: &mut Tx, id: i64, reason: &str) -> Result<()> {
    sqlx::query("UPDATE droplets SET node = NULL, status = 'off', reason = $1 WHERE id = $2")
        .bind(reason)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    sqlx::query("UPDATE droplets SET on_host = 0 WHERE id = $1 AND deleted_at IS NOT NULL")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whoever held a job or removed an image does so no longer.
pub async fn forget_processes(tx: &mut Tx) -> Result<()> {
    super::action::release_all(tx).await?;
    sqlx::query("DELETE FROM removals")
        .execute(&mut **tx)
        .await?;
    Ok(())
}
