//! Counts over all accounts, for the operator's metrics.

use sqlx::FromRow;

use super::action::FETCH_WORKER;
use super::{Pool, Result};

/// Jobs of one kind in one state.
#[derive(Debug, Clone, FromRow)]
pub struct JobsRow {
    /// `image`, `fetch` or `droplet`.
    pub kind: String,
    /// `ready`, `leased` or `waiting`.
    pub state: String,
    /// How many.
    pub count: i64,
    /// When the oldest was asked for.
    pub oldest: i64,
}

/// Canonical images in the store of one region.
#[derive(Debug, Clone, FromRow)]
pub struct StoreRow {
    /// The region.
    pub region: String,
    /// How many.
    pub objects: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// Machines of one region in one state.
#[derive(Debug, Clone, FromRow)]
pub struct VmsRow {
    /// The region.
    pub region: String,
    /// State, a word of the wire types.
    pub status: String,
    /// How many.
    pub count: i64,
}

/// Jobs that are not done, at the time `now`. A fetch is a kind of its own, as it has workers of
/// its own.
pub async fn jobs(db: &Pool, now: i64) -> Result<Vec<JobsRow>> {
    sqlx::query_as(
        "SELECT kind, state, COUNT(*) AS count, MIN(started_at) AS oldest FROM \
         (SELECT started_at, CASE WHEN ready = $2 THEN 'fetch' ELSE resource_type END AS kind, \
         CASE WHEN ready = 0 THEN 'waiting' WHEN lease_until < $1 THEN 'ready' ELSE 'leased' END \
         AS state FROM actions WHERE status = 'in-progress') AS jobs GROUP BY kind, state",
    )
    .bind(now)
    .bind(FETCH_WORKER)
    .fetch_all(db)
    .await
}

/// Stores, each file once.
pub async fn stores(db: &Pool) -> Result<Vec<StoreRow>> {
    sqlx::query_as(
        "SELECT region, COUNT(*) AS objects, CAST(SUM(bytes) AS BIGINT) AS bytes FROM \
         (SELECT r.region AS region, i.digest AS digest, MAX(COALESCE(i.stored_bytes, 0)) AS bytes \
         FROM images i JOIN image_regions r ON r.image_id = i.id \
         WHERE i.deleted_at IS NULL AND r.status = 'available' \
         GROUP BY r.region, i.digest) AS files GROUP BY region",
    )
    .fetch_all(db)
    .await
}

/// Machines that are not deleted.
pub async fn vms(db: &Pool) -> Result<Vec<VmsRow>> {
    sqlx::query_as(
        "SELECT region, status, COUNT(*) AS count FROM droplets \
         WHERE deleted_at IS NULL GROUP BY region, status",
    )
    .fetch_all(db)
    .await
}

/// Uploads that have not all of their bytes and may still get them.
pub async fn uploads(db: &Pool) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM uploads WHERE received_bytes <> length_bytes AND failure IS NULL",
    )
    .fetch_one(db)
    .await
}

/// Whether the database answers.
///
/// # Errors
/// When it does not.
pub async fn ping(db: &Pool) -> Result<()> {
    sqlx::query("SELECT 1").execute(db).await.map(drop)
}
