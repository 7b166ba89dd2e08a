//! Actions: what customers see of long steps, and at the same time the queue of jobs.

use std::collections::HashMap;

use abbild_api::{ActionStatus, DropletAction};
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use super::{Executor, Pool, Result, Tx, Window, from_json, from_word, now, sql_size, to_json};

/// Seconds for which a worker holds a job before it must renew.
pub const LEASE_SECONDS: i64 = 30;

/// How often a job is begun before it is given up: a job that ends the service each time must not
/// keep it down.
pub const MAX_ATTEMPTS: i64 = 5;

/// How many snapshots a process makes at once: they are work for all its processors, and must not keep
/// those waiting who want a machine on or off.
const SNAPSHOTS: i64 = 2;

/// One action.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct ActionRow {
    pub id: i64,
    pub kind: String,
    pub resource_type: String,
    pub resource_id: i64,
    pub region: Option<String>,
    parameters: Option<String>,
    status: String,
    pub reason: Option<String>,
    pub started_at: i64,
    pub completed_at: Option<i64>,
    pub progress_done: Option<i64>,
    pub progress_total: Option<i64>,
    pub attempts: i64,
    pub failures: i64,
    ready: i64,
}

/// Values of the column `ready`: what an unfinished action waits for.
const WORKER: i64 = 1;
pub(super) const FETCH_WORKER: i64 = 2;
const PROBE_WORKER: i64 = 3;

impl ActionRow {
    /// State.
    pub fn status(&self) -> Result<ActionStatus> {
        from_word(&self.status)
    }

    /// What it was asked for with.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.parameters.as_deref().map(from_json).transpose()
    }

    /// The same of an action that a droplet was asked for.
    pub fn of_droplet(&self) -> Result<DropletAction> {
        match self.parameters()? {
            Some(wanted) => Ok(wanted),
            // Of a release that knew no parameters.
            None => from_json(&to_json(&HashMap::from([("type", &self.kind)]))),
        }
    }

    /// Whether its next step is to fetch the bytes of its image.
    pub fn is_fetch(&self) -> bool {
        self.ready == FETCH_WORKER
    }
}

/// What a new action begins with.
#[derive(Debug)]
pub struct NewAction<'a> {
    /// Owner.
    pub account: i64,
    /// `create`, `transfer`, `probe`, `power_on`, …
    pub kind: &'a str,
    /// `image` or `droplet`.
    pub resource_type: &'a str,
    /// The image or droplet.
    pub resource: i64,
    /// Where.
    pub region: Option<&'a str>,
    /// What else it was asked for with, as JSON.
    pub parameters: Option<&'a str>,
    /// Whether a worker may begin at once.
    pub ready: bool,
}

/// Which actions to list.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// All of the account.
    Account,
    /// Those of one image or droplet.
    Resource(&'a str, i64),
}

/// One page, newest first, and the total.
pub async fn list(
    db: &Pool,
    account: i64,
    of: Of<'_>,
    window: Window,
) -> Result<(Vec<ActionRow>, i64)> {
    let (kind, id) = match of {
        Of::Account => ("", 0),
        Of::Resource(kind, id) => (kind, id),
    };
    let rows = sqlx::query_as(
        "SELECT * FROM actions WHERE account_id = $1 \
         AND ($2 = '' OR (resource_type = $2 AND resource_id = $3)) \
         ORDER BY id DESC LIMIT $4 OFFSET $5",
    )
    .bind(account)
    .bind(kind)
    .bind(id)
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar(
        "SELECT COUNT(*) FROM actions WHERE account_id = $1 \
         AND ($2 = '' OR (resource_type = $2 AND resource_id = $3))",
    )
    .bind(account)
    .bind(kind)
    .bind(id)
    .fetch_one(db)
    .await?;
    Ok((rows, total))
}

/// By id.
pub async fn find(db: impl Executor<'_>, account: i64, id: i64) -> Result<Option<ActionRow>> {
    sqlx::query_as("SELECT * FROM actions WHERE account_id = $1 AND id = $2")
        .bind(account)
        .bind(id)
        .fetch_optional(db)
        .await
}

/// The unfinished actions of an image or droplet.
pub async fn open(
    db: impl Executor<'_>,
    resource_type: &str,
    resource: i64,
) -> Result<Vec<ActionRow>> {
    sqlx::query_as(
        "SELECT * FROM actions WHERE resource_type = $1 AND resource_id = $2 \
         AND status = 'in-progress' ORDER BY id",
    )
    .bind(resource_type)
    .bind(resource)
    .fetch_all(db)
    .await
}

/// The newest action of `kind` of an image or droplet.
pub async fn last(
    db: impl Executor<'_>,
    resource_type: &str,
    resource: i64,
    kind: &str,
) -> Result<Option<ActionRow>> {
    sqlx::query_as(
        "SELECT * FROM actions WHERE resource_type = $1 AND resource_id = $2 AND kind = $3 \
         ORDER BY id DESC LIMIT 1",
    )
    .bind(resource_type)
    .bind(resource)
    .bind(kind)
    .fetch_optional(db)
    .await
}

/// A new action, and with it a job.
pub async fn insert(tx: &mut Tx, new: &NewAction<'_>) -> Result<ActionRow> {
    sqlx::query_as(
        "INSERT INTO actions (account_id, kind, resource_type, resource_id, region, status, \
         started_at, parameters, ready) VALUES ($1, $2, $3, $4, $5, 'in-progress', $6, $7, $8) \
         RETURNING *",
    )
    .bind(new.account)
    .bind(new.kind)
    .bind(new.resource_type)
    .bind(new.resource)
    .bind(new.region)
    .bind(now())
    .bind(new.parameters)
    .bind(i64::from(new.ready))
    .fetch_one(&mut **tx)
    .await
}

/// A new action that boots an image in a region.
pub async fn insert_probe(
    tx: &mut Tx,
    account: i64,
    image: i64,
    region: &str,
) -> Result<ActionRow> {
    let new = NewAction {
        account,
        kind: "probe",
        resource_type: "image",
        resource: image,
        region: Some(region),
        parameters: None,
        ready: false,
    };
    let action = insert(tx, &new).await?;
    sqlx::query_as("UPDATE actions SET ready = $1 WHERE id = $2 RETURNING *")
        .bind(PROBE_WORKER)
        .bind(action.id)
        .fetch_one(&mut **tx)
        .await
}

/// Lets workers begin the waiting actions of `kind` of an image.
pub async fn make_ready(tx: &mut Tx, image: i64, kind: &str) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET ready = 1 WHERE resource_type = 'image' AND resource_id = $1 \
         AND kind = $2 AND status = 'in-progress'",
    )
    .bind(image)
    .bind(kind)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the oldest job of `resource_type` that nobody holds, but no more than [`SNAPSHOTS`]. The jobs
/// of one image or machine are carried out in the order in which they were asked for; probes, which change
/// nothing, hold up no others.
pub async fn claim(
    tx: &mut Tx,
    resource_type: &str,
    owner: &str,
    node: &str,
) -> Result<Option<ActionRow>> {
    sqlx::query_as(
        "UPDATE actions SET lease_owner = $1, lease_until = $2, attempts = attempts + 1 \
         WHERE id = (SELECT a.id FROM actions a WHERE a.status = 'in-progress' AND a.ready = 1 \
         AND a.lease_until < $3 AND a.resource_type = $4 AND NOT EXISTS (SELECT 1 FROM actions b \
         WHERE b.resource_type = $4 AND b.resource_id = a.resource_id AND b.id < a.id \
         AND b.status = 'in-progress' AND b.ready <> 0 AND b.ready <> $7) \
         AND (a.kind <> 'snapshot' OR (SELECT COUNT(*) FROM actions c \
         WHERE c.status = 'in-progress' AND c.kind = 'snapshot' AND c.lease_owner = $1 \
         AND c.lease_until >= $3) < $6) \
         AND ($4 <> 'droplet' OR EXISTS (SELECT 1 FROM droplets d WHERE d.id = a.resource_id \
         AND (d.node IS NULL OR d.node = $5))) ORDER BY a.id LIMIT 1) RETURNING *",
    )
    .bind(owner)
    .bind(now() + LEASE_SECONDS)
    .bind(now())
    .bind(resource_type)
    .bind(node)
    .bind(SNAPSHOTS)
    .bind(PROBE_WORKER)
    .fetch_optional(&mut **tx)
    .await
}

/// Takes the oldest probe that nobody holds.
pub async fn claim_probe(tx: &mut Tx, owner: &str) -> Result<Option<ActionRow>> {
    sqlx::query_as(
        "UPDATE actions SET lease_owner = $1, lease_until = $2, attempts = attempts + 1 \
         WHERE id = (SELECT a.id FROM actions a WHERE a.status = 'in-progress' AND a.ready = $3 \
         AND a.lease_until < $4 ORDER BY a.id LIMIT 1) RETURNING *",
    )
    .bind(owner)
    .bind(now() + LEASE_SECONDS)
    .bind(PROBE_WORKER)
    .bind(now())
    .fetch_optional(&mut **tx)
    .await
}

/// Lets workers begin the `create` of an image with fetching its bytes.
pub async fn make_fetchable(tx: &mut Tx, image: i64) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET ready = $1 WHERE resource_type = 'image' AND resource_id = $2 \
         AND kind = 'create' AND status = 'in-progress'",
    )
    .bind(FETCH_WORKER)
    .bind(image)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the oldest fetch that nobody holds, of an account that has fewer than `per_account` of
/// them running.
pub async fn claim_fetch(tx: &mut Tx, owner: &str, per_account: u32) -> Result<Option<ActionRow>> {
    sqlx::query_as(
        "UPDATE actions SET lease_owner = $1, lease_until = $2, attempts = attempts + 1 \
         WHERE id = (SELECT a.id FROM actions a WHERE a.status = 'in-progress' AND a.ready = $3 \
         AND a.lease_until < $4 AND (SELECT COUNT(*) FROM actions b \
         WHERE b.status = 'in-progress' AND b.ready = $3 AND b.lease_until >= $4 \
         AND b.account_id = a.account_id) < $5 ORDER BY a.id LIMIT 1) RETURNING *",
    )
    .bind(owner)
    .bind(now() + LEASE_SECONDS)
    .bind(FETCH_WORKER)
    .bind(now())
    .bind(i64::from(per_account))
    .fetch_optional(&mut **tx)
    .await
}

/// Whether `owner` still holds an unfinished job. A job that shows in this way that it gets on is
/// not given up because the service stopped often while it ran.
pub async fn hold(tx: &mut Tx, id: i64, owner: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE actions SET attempts = 1 \
         WHERE id = $1 AND lease_owner = $2 AND status = 'in-progress'",
    )
    .bind(id)
    .bind(owner)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What was to be fetched is here: gives the job to the workers that do the rest.
pub async fn pass_on(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET ready = $1, attempts = 0, lease_owner = NULL, lease_until = 0, \
         progress_done = NULL, progress_total = NULL WHERE id = $2",
    )
    .bind(WORKER)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives a job back for `seconds`, because what it needs is not to be had now.
pub async fn postpone(tx: &mut Tx, id: i64, seconds: u64, reason: &str) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET failures = failures + 1, attempts = 0, reason = $1, \
         lease_owner = NULL, lease_until = $2, progress_done = NULL, progress_total = NULL \
         WHERE id = $3",
    )
    .bind(reason)
    .bind(now().saturating_add(sql_size(seconds)))
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Has a job that was put off be tried at once.
pub async fn hasten(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET lease_until = 0 \
         WHERE id = $1 AND status = 'in-progress' AND lease_owner IS NULL",
    )
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether a job for the workers of a kind could be claimed, as far as one can see without the
/// write lock.
pub async fn any_ready(db: &Pool, jobs: &str) -> Result<bool> {
    let (resource_type, ready) = match jobs {
        "fetch" => ("image", FETCH_WORKER),
        "probe" => ("image", PROBE_WORKER),
        jobs => (jobs, WORKER),
    };
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM actions WHERE status = 'in-progress' AND ready = $1 AND lease_until < $2 \
         AND resource_type = $3 LIMIT 1",
    )
    .bind(ready)
    .bind(now())
    .bind(resource_type)
    .fetch_optional(db)
    .await?;
    Ok(found.is_some())
}

/// Whether `owner` still has the job: nobody called it off, and nobody took it over.
pub async fn is_held(tx: &mut Tx, id: i64, owner: &str) -> Result<bool> {
    let held: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM actions WHERE id = $1 AND lease_owner = $2 AND status = 'in-progress'",
    )
    .bind(id)
    .bind(owner)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(held.is_some())
}

/// Renews a lease and records how far the job is. Returns false when the job is no longer
/// `owner`'s.
pub async fn renew(
    tx: &mut Tx,
    id: i64,
    owner: &str,
    progress: Option<(i64, i64)>,
) -> Result<bool> {
    let (done, total) = progress.unzip();
    let done = sqlx::query(
        "UPDATE actions SET lease_until = $1, progress_done = $2, progress_total = $3 \
         WHERE id = $4 AND lease_owner = $5 AND status = 'in-progress'",
    )
    .bind(now() + LEASE_SECONDS)
    .bind(done)
    .bind(total)
    .bind(id)
    .bind(owner)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Asks once more for the removal of machines from their hosts that earlier releases gave up, and says of
/// how many.
pub async fn resume_removals(tx: &mut Tx) -> Result<u64> {
    let done = sqlx::query(
        "INSERT INTO actions (account_id, kind, resource_type, resource_id, region, status, \
         started_at, ready) SELECT account_id, 'destroy', 'droplet', id, region, 'in-progress', $1, $2 \
         FROM droplets d WHERE deleted_at IS NOT NULL AND on_host = 1 AND NOT EXISTS (SELECT 1 \
         FROM actions a WHERE a.resource_type = 'droplet' AND a.resource_id = d.id \
         AND a.kind = 'destroy' AND a.status = 'in-progress')",
    )
    .bind(now())
    .bind(WORKER)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// Gives back the jobs of an earlier process on the data directory `node`.
pub async fn release_of_node(tx: &mut Tx, node: &str) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET lease_until = 0 WHERE status = 'in-progress' AND lease_owner LIKE $1",
    )
    .bind(format!("{node}/%"))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives the jobs of one process back, as if it had never begun them, and returns how many.
pub async fn release_of(tx: &mut Tx, owner: &str) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE actions SET lease_until = 0, attempts = attempts - 1 \
         WHERE status = 'in-progress' AND lease_owner = $1 AND lease_until > 0",
    )
    .bind(owner)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// Gives every job back: the process that held them is gone.
pub async fn release_all(tx: &mut Tx) -> Result<()> {
    sqlx::query("UPDATE actions SET lease_until = 0 WHERE status = 'in-progress'")
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Ends an action: completed without a reason, errored with one.
pub async fn finish(tx: &mut Tx, id: i64, reason: Option<&str>) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET status = CASE WHEN $1 IS NULL THEN 'completed' ELSE 'errored' END, \
         reason = $1, completed_at = $2, progress_done = NULL, progress_total = NULL \
         WHERE id = $3 AND status = 'in-progress'",
    )
    .bind(reason)
    .bind(now())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends an action as completed, and returns it as it is then.
pub async fn complete(tx: &mut Tx, id: i64) -> Result<ActionRow> {
    finish(tx, id, None).await?;
    sqlx::query_as("SELECT * FROM actions WHERE id = $1")
        .bind(id)
        .fetch_one(&mut **tx)
        .await
}

/// Ends every unfinished action of an image or droplet with the same reason.
pub async fn fail_open(
    tx: &mut Tx,
    resource_type: &str,
    resource: i64,
    reason: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET status = 'errored', reason = $1, completed_at = $2 \
         WHERE resource_type = $3 AND resource_id = $4 AND status = 'in-progress'",
    )
    .bind(reason)
    .bind(now())
    .bind(resource_type)
    .bind(resource)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
