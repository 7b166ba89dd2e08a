//! Droplets: the machines that customers made.

use abbild_api::{DropletStatus, Forward, Hardware};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow};

use super::image::Filter;
use super::tag::{self, Kind};
use super::{
    Connection, Executor, Pool, Result, Tx, Window, from_json, from_word, now, placeholders,
    to_json, word,
};

/// One machine.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct DropletRow {
    pub id: i64,
    pub account_id: i64,
    pub name: String,
    pub region: String,
    pub size: String,
    pub image_id: i64,
    pub digest: String,
    pub address: String,
    pub ssh_port: i64,
    pub ssh_keys: String,
    user_data: Option<String>,
    user_data_base64: Option<String>,
    pub created_at: i64,
    status: String,
    hardware: Option<String>,
    rescue: Option<String>,
    pub reason: Option<String>,
    pub deleted_at: Option<i64>,
    pub disk_gb: Option<i64>,
    pub features: String,
    forwards: String,
    pub mac: Option<String>,
}

impl DropletRow {
    /// State.
    pub fn status(&self) -> Result<DropletStatus> {
        from_word(&self.status)
    }

    /// What the machine is made of, once it has a disk.
    pub fn hardware(&self) -> Result<Option<Hardware>> {
        self.hardware.as_deref().map(from_json).transpose()
    }

    /// What the customer gave for cloud-init, unchanged.
    pub fn user_data(&self) -> Result<Option<Vec<u8>>> {
        Ok(match (&self.user_data, &self.user_data_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(coded)) => Some(
                BASE64
                    .decode(coded)
                    .map_err(|e| sqlx::Error::Decode(e.into()))?,
            ),
            (None, None) => None,
        })
    }

    /// Ports of its address that lead into the guest.
    pub fn forwards(&self) -> Result<Vec<Forward>> {
        from_json(&self.forwards)
    }

    /// The canonical image of which it runs another system than its own.
    pub fn rescue_digest(&self) -> Result<Option<String>> {
        Ok(match self.rescue()? {
            Some(RescueRow::Image { digest, .. }) => Some(digest),
            Some(RescueRow::System) | None => None,
        })
    }

    /// What it runs instead of its own system.
    pub fn rescue(&self) -> Result<Option<RescueRow>> {
        self.rescue.as_deref().map(from_json).transpose()
    }
}

/// What a machine runs while it is being rescued, as its column has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RescueRow {
    /// The built-in rescue system.
    System,
    /// An image of its owner, who may have deleted it.
    Image {
        /// Its id.
        id: i64,
        /// The canonical image, which is kept in the region for as long as this stands here.
        digest: String,
        /// What suits it.
        hardware: Hardware,
    },
}

/// What a new machine begins with.
#[derive(Debug)]
#[allow(missing_docs)] // as the columns
pub struct NewDroplet<'a> {
    pub account: i64,
    pub name: &'a str,
    pub region: &'a str,
    pub size: &'a str,
    pub image: i64,
    pub digest: &'a str,
    pub address: &'a str,
    pub ssh_port: u16,
    pub mac: Option<&'a str>,
    pub ssh_keys: &'a str,
    pub user_data: Option<&'a [u8]>,
    pub features: &'a str,
}

/// A machine as it is shown: with what belongs to it, as of the same moment.
///
/// An action moves its machine in the transaction in which it ends. So a machine that is not locked is
/// what its last action made of it.
#[derive(Debug, Clone, FromRow)]
pub struct ShownRow {
    /// The machine itself.
    #[sqlx(flatten)]
    pub row: DropletRow,
    open_actions: i64,
    snapshots: Option<String>,
    tag_names: Option<String>,
}

impl ShownRow {
    /// Whether an action works on it, or waits to.
    pub fn locked(&self) -> bool {
        self.open_actions > 0
    }

    /// In the order in which it got them.
    pub fn tags(&self) -> Vec<String> {
        tag::names(self.tag_names.as_deref())
    }

    /// Its available snapshots, oldest first.
    ///
    /// # Errors
    /// When the database answers with something else than numbers.
    pub fn snapshots(&self) -> Result<Vec<i64>> {
        let ids = self.snapshots.iter().flat_map(|ids| ids.split(','));
        ids.map(|id| id.parse().map_err(|e| sqlx::Error::Decode(Box::new(e))))
            .collect()
    }
}

/// The columns of a [`ShownRow`], of the table `d`.
fn shown_columns() -> String {
    format!(
        "d.*, (SELECT COUNT(*) FROM actions a WHERE a.resource_type = 'droplet' \
         AND a.resource_id = d.id AND a.status = 'in-progress') AS open_actions, \
         (SELECT STRING_AGG(CAST(i.id AS TEXT), ',' ORDER BY i.id) FROM images i \
         WHERE i.droplet_id = d.id AND i.stage = 'available' AND i.deleted_at IS NULL) AS snapshots, \
         ({}) AS tag_names",
        tag::select_names(Kind::Droplet, "d.id")
    )
}

/// One page of the machines with a name or a tag, or of all, newest first, and the total.
pub async fn list(
    db: &mut Connection,
    account: i64,
    filter: Filter<'_>,
    window: Window,
) -> Result<(Vec<ShownRow>, i64)> {
    let condition = super::list_condition("droplet", filter.name.is_some(), filter.tag.is_some());
    let text = format!(
        "SELECT {} FROM droplets d WHERE {condition} ORDER BY id DESC LIMIT $4 OFFSET $5",
        shown_columns()
    );
    let rows = sqlx::query_as(AssertSqlSafe(text))
        .bind(account)
        .bind(filter.name.unwrap_or_default())
        .bind(filter.tag.unwrap_or_default())
        .bind(window.limit)
        .bind(window.offset)
        .fetch_all(&mut *db)
        .await?;
    let text = format!("SELECT COUNT(*) FROM droplets WHERE {condition}");
    let total = sqlx::query_scalar(AssertSqlSafe(text))
        .bind(account)
        .bind(filter.name.unwrap_or_default())
        .bind(filter.tag.unwrap_or_default())
        .fetch_one(db)
        .await?;
    Ok((rows, total))
}

/// The machines with a tag, with the write lock held.
pub async fn tagged(tx: &mut Tx, account: i64, tag: i64) -> Result<Vec<DropletRow>> {
    sqlx::query_as(
        "SELECT * FROM droplets WHERE account_id = $1 AND deleted_at IS NULL AND id IN \
         (SELECT resource_id FROM tag_links WHERE tag_id = $2 AND resource_type = 'droplet') \
         ORDER BY id",
    )
    .bind(account)
    .bind(tag)
    .fetch_all(&mut **tx)
    .await
}

/// By id, unless deleted.
pub async fn find(db: impl Executor<'_>, account: i64, id: i64) -> Result<Option<DropletRow>> {
    sqlx::query_as(
        "SELECT * FROM droplets WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL",
    )
    .bind(account)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// These machines as they are shown, deleted ones included, newest first.
pub async fn shown(db: &mut Connection, account: i64, ids: &[i64]) -> Result<Vec<ShownRow>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT {} FROM droplets d WHERE account_id = $1 AND id IN ({}) ORDER BY id DESC",
        shown_columns(),
        placeholders(2, ids.len())
    );
    let mut query = sqlx::query_as(AssertSqlSafe(text)).bind(account);
    for id in ids {
        query = query.bind(id);
    }
    query.fetch_all(db).await
}

/// By id, if its owner deleted it.
pub async fn find_deleted(
    db: impl Executor<'_>,
    account: i64,
    id: i64,
) -> Result<Option<DropletRow>> {
    sqlx::query_as(
        "SELECT * FROM droplets WHERE account_id = $1 AND id = $2 AND deleted_at IS NOT NULL",
    )
    .bind(account)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// The condition for a machine in region `$1` to need the canonical image `$2`: its disk lies on that, or
/// is about to, or it is rescued by that.
pub(super) const LIES_ON: &str = "region = $1 AND on_host = 1 AND (digest = $2 \
     OR next_digest = $2 OR rescue LIKE '%' || $2 || '%')";

/// Whether a machine on any host has its disk on the canonical image `digest`.
pub async fn has_digest(db: &Pool, region: &str, digest: &str) -> Result<bool> {
    let text = format!("SELECT id FROM droplets WHERE {LIES_ON} LIMIT 1");
    let found: Option<i64> = sqlx::query_scalar(AssertSqlSafe(text))
        .bind(region)
        .bind(digest)
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

/// By id, for the job that works on it.
pub async fn get(db: &Pool, id: i64) -> Result<DropletRow> {
    sqlx::query_as("SELECT * FROM droplets WHERE id = $1")
        .bind(id)
        .fetch_one(db)
        .await
}

/// Machines of a node that should be running.
pub async fn active(db: &Pool, node: &str) -> Result<Vec<DropletRow>> {
    sqlx::query_as(
        "SELECT * FROM droplets WHERE status = 'active' AND deleted_at IS NULL \
         AND (node IS NULL OR node = $1)",
    )
    .bind(node)
    .fetch_all(db)
    .await
}

/// A machine without a place stays on `node` from now on.
pub async fn settle(tx: &mut Tx, id: i64, node: &str) -> Result<()> {
    sqlx::query("UPDATE droplets SET node = $1 WHERE id = $2 AND node IS NULL")
        .bind(node)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Machines in `region` whose disk lies on an image.
pub async fn using(tx: &mut Tx, image: i64, region: &str) -> Result<Vec<DropletRow>> {
    sqlx::query_as(
        "SELECT * FROM droplets WHERE image_id = $1 AND region = $2 AND deleted_at IS NULL \
         ORDER BY id",
    )
    .bind(image)
    .bind(region)
    .fetch_all(&mut **tx)
    .await
}

/// Addresses that machines hold.
pub async fn addresses(tx: &mut Tx) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT address FROM droplets WHERE on_host = 1")
        .fetch_all(&mut **tx)
        .await
}

/// Whether a machine holds a hardware address.
pub async fn has_mac(tx: &mut Tx, mac: &str) -> Result<bool> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT id FROM droplets WHERE mac = $1 AND on_host = 1")
            .bind(mac)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(found.is_some())
}

/// A new machine.
pub async fn insert(tx: &mut Tx, new: &NewDroplet<'_>) -> Result<DropletRow> {
    let text = new.user_data.map(|data| match str::from_utf8(data) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(BASE64.encode(data)),
    });
    let (text, coded) = match text {
        Some(Ok(text)) => (Some(text), None),
        Some(Err(coded)) => (None, Some(coded)),
        None => (None, None),
    };
    sqlx::query_as(
        "INSERT INTO droplets (account_id, name, region, size, image_id, digest, address, \
         ssh_port, ssh_keys, user_data, features, tags, created_at, status, mac, user_data_base64) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '[]', $12, $13, $14, $15) RETURNING *",
    )
    .bind(new.account)
    .bind(new.name)
    .bind(new.region)
    .bind(new.size)
    .bind(new.image)
    .bind(new.digest)
    .bind(new.address)
    .bind(i64::from(new.ssh_port))
    .bind(new.ssh_keys)
    .bind(text)
    .bind(new.features)
    .bind(now())
    .bind(word(DropletStatus::New))
    .bind(new.mac)
    .bind(coded)
    .fetch_one(&mut **tx)
    .await
}

/// Moves a machine to `status`.
pub async fn set_status(
    tx: &mut Tx,
    id: i64,
    status: DropletStatus,
    reason: Option<&str>,
) -> Result<()> {
    sqlx::query("UPDATE droplets SET status = $1, reason = $2 WHERE id = $3")
        .bind(word(status))
        .bind(reason)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Gives a machine another name.
pub async fn set_name(tx: &mut Tx, id: i64, name: &str) -> Result<()> {
    sqlx::query("UPDATE droplets SET name = $1 WHERE id = $2")
        .bind(name)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Gives a machine another size, and a disk of `disk_gb`. It has them from its next start on.
pub async fn set_size(tx: &mut Tx, id: i64, size: &str, disk_gb: i64) -> Result<()> {
    sqlx::query("UPDATE droplets SET size = $1, disk_gb = $2 WHERE id = $3")
        .bind(size)
        .bind(disk_gb)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// No new disk is made for a machine any longer; the canonical image that it would have lain on.
pub async fn give_up_next(tx: &mut Tx, id: i64) -> Result<Option<String>> {
    let next: Option<String> = sqlx::query_scalar("SELECT next_digest FROM droplets WHERE id = $1")
        .bind(id)
        .fetch_one(&mut **tx)
        .await?;
    if next.is_some() {
        sqlx::query("UPDATE droplets SET next_digest = NULL WHERE id = $1")
            .bind(id)
            .execute(&mut **tx)
            .await?;
    }
    Ok(next)
}

/// A new disk on the canonical image `digest` is about to be made for a machine.
pub async fn set_next(tx: &mut Tx, id: i64, digest: &str) -> Result<()> {
    sqlx::query("UPDATE droplets SET next_digest = $1 WHERE id = $2")
        .bind(digest)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A machine runs something else than its own system from now on, or its own again.
pub async fn set_rescue(tx: &mut Tx, id: i64, rescue: Option<&RescueRow>) -> Result<()> {
    sqlx::query("UPDATE droplets SET rescue = $1, next_digest = NULL WHERE id = $2")
        .bind(rescue.map(to_json))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// These ports of a machine's address lead into the guest from now on, and no others.
pub async fn set_forwards(tx: &mut Tx, id: i64, forwards: &[Forward]) -> Result<()> {
    sqlx::query("UPDATE droplets SET forwards = $1 WHERE id = $2")
        .bind(to_json(&forwards))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A machine has got its new disk.
pub async fn set_image(tx: &mut Tx, id: i64, image: i64, digest: &str) -> Result<()> {
    sqlx::query("UPDATE droplets SET image_id = $1, digest = $2, next_digest = NULL WHERE id = $3")
        .bind(image)
        .bind(digest)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Notes what a machine is made of.
pub async fn set_hardware(tx: &mut Tx, id: i64, hardware: &Hardware) -> Result<()> {
    sqlx::query("UPDATE droplets SET hardware = $1 WHERE id = $2")
        .bind(to_json(hardware))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Notes that a running machine was found off, unless an action has moved it meanwhile.
pub async fn found_off(tx: &mut Tx, id: i64, reason: Option<&str>) -> Result<()> {
    sqlx::query(
        "UPDATE droplets SET status = 'off', reason = $1 WHERE id = $2 AND status = 'active' \
         AND NOT EXISTS (SELECT 1 FROM actions WHERE resource_type = 'droplet' \
         AND resource_id = $2 AND status = 'in-progress')",
    )
    .bind(reason)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Hides a machine from its owner; a job removes it from the host.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE droplets SET deleted_at = $1 WHERE id = $2")
        .bind(now())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The host has let go of a machine: its address is free.
pub async fn left_host(tx: &mut Tx, id: i64) -> Result<()> {
    sqlx::query("UPDATE droplets SET on_host = 0 WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
