//! How long the database keeps what is over: failed images, finished actions, and the rows of what
//! was deleted.
//!
//! ```text
//!   failed image ── failed_image_days ─▶ deleted, as by its owner
//!   ended action ── action_days ─▶ gone
//!   deleted image or machine ── action_days, and when nothing names it ─▶ gone
//! ```
//!
//! Nothing goes that something else refers to: an image stays while a machine, even a deleted one, or
//! an action names it. The service does this every hour ([`crate::start`]), `abbild admin gc` at once.

use serde::{Deserialize, Serialize};

use crate::audit::{Event, Origin};
use crate::config::Config;
use crate::db::retention::{self, OldImage};
use crate::db::tag::{self, Kind};
use crate::db::{self, Db, Tx, image, now};

const DAY: i64 = 86_400;

/// How long what is over is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Days for which failed images are kept, with their reports; 0 keeps them for ever.
    pub failed_image_days: u32,
    /// Days for which ended actions are kept, and the rows of deleted images and machines; 0 keeps
    /// them for ever.
    pub action_days: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            failed_image_days: 30,
            action_days: 90,
        }
    }
}

/// How many rows went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// Failed images that were deleted.
    pub failed_images: u64,
    /// Actions.
    pub actions: u64,
    /// Rows of deleted machines.
    pub droplets: u64,
    /// Rows of deleted images.
    pub images: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
}

/// Removes what is older than the operator keeps. A dry run undoes everything again.
///
/// # Errors
/// Those of the database.
pub async fn expire(db: &Db, config: &Config, dry_run: bool) -> db::Result<Expired> {
    let mut total = Expired::default();
    let mut tx = db.write().await?;
    loop {
        let batch = batch(&mut tx, config).await?;
        total.add(batch);
        if batch == Expired::default() {
            break;
        }
        if !dry_run {
            tx.commit().await?;
            tx = db.write().await?;
        }
    }
    tx.rollback().await?;
    Ok(total)
}

/// What goes in one transaction.
async fn batch(tx: &mut Tx, config: &Config) -> db::Result<Expired> {
    let mut expired = Expired::default();
    let RetentionConfig {
        failed_image_days,
        action_days,
    } = config.retention;
    if let Some(before) = since(failed_image_days) {
        for image in retention::failed_images(tx, before).await? {
            delete(tx, &image, failed_image_days).await?;
            expired.failed_images += 1;
        }
    }
    if let Some(before) = since(action_days) {
        let ids = retention::remove_actions(tx, before).await?;
        expired.actions = forget(tx, "action", &ids).await?;
        // A deleted image still answers for a while.
        let tombstones = now() - i64::from(config.limits.tombstone_minutes) * 60;
        let before = before.min(tombstones);
        let ids = retention::remove_droplets(tx, before).await?;
        expired.droplets = forget(tx, "droplet", &ids).await?;
        let ids = retention::remove_images(tx, before).await?;
        expired.images = forget(tx, "image", &ids).await?;
    }
    if let Some(before) = since(config.audit.keep_days) {
        expired.audit_entries = db::audit::expire(tx, before).await?;
    }
    expired.idempotency_keys = db::idempotency::expire(tx).await?;
    Ok(expired)
}

/// The time that was so many days ago; `None` for ever.
fn since(days: u32) -> Option<i64> {
    (days > 0).then(|| now() - i64::from(days) * DAY)
}

/// Deletes a failed image as its owner would.
async fn delete(tx: &mut Tx, image: &OldImage, days: u32) -> db::Result<()> {
    image::delete(tx, image.id).await?;
    tag::unlink_all(tx, Kind::Image, image.id).await?;
    retention::forget_report(tx, image.id).await?;
    let detail = format!("`{}` failed more than {days} days ago", image.name);
    let event = Event::new("image.expire").on("image", image.id);
    let origin = Origin::system().in_account(image.account_id);
    origin.record(tx, event.detail(detail)).await
}

async fn forget(tx: &mut Tx, resource_type: &str, ids: &[i64]) -> db::Result<u64> {
    if !ids.is_empty() {
        retention::forget_changes(tx, resource_type, ids).await?;
    }
    Ok(ids.len() as u64)
}

impl Expired {
    fn add(&mut self, other: Self) {
        self.failed_images += other.failed_images;
        self.actions += other.actions;
        self.droplets += other.droplets;
        self.images += other.images;
        self.audit_entries += other.audit_entries;
        self.idempotency_keys += other.idempotency_keys;
    }
}
