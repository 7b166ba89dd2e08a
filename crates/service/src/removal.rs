//! Removing canonical images that nothing refers to, while other processes may begin to.
//!
//! A file or object cannot be removed in the transaction that finds it unneeded. So a row says
//! that it is about to vanish:
//!
//! 1. In one transaction: nothing needs the image, and a row in `removals` is inserted.
//! 2. The object is removed, within [`PATIENCE`].
//! 3. The row is removed.
//!
//! Whoever needs an image first says so in a transaction, after which no removal begins
//! ([`image::is_needed`]), and then [waits](wait) for one that has begun. Only then it looks
//! whether the image is there, or stores it.
//!
//! A process that dies between the steps leaves a row, which counts until its lease has run out
//! (of a directory: until the process is started again), and perhaps an object; then any process
//! removes both ([`take_up`]). The lease is longer than the removal may take, so that no request of a removal is on
//! its way when somebody else stores the same image.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, timeout_at};

use crate::Service;
use crate::db::{self, Db, image};
use crate::jobs::JobContext;
use crate::region::Region;
use crate::store::{Store, Stored};

/// Within which an object must be removed.
const PATIENCE: Duration = Duration::from_secs(60);
/// For which a removal keeps others waiting, in seconds: [`PATIENCE`], and as much again for what
/// the clocks of two hosts may differ and for a request that is still on its way.
const LEASE_SECONDS: i64 = 120;
/// How often [`wait`] looks.
const LOOK: Duration = Duration::from_millis(200);

/// Begins to remove the image `digest` from every region where nothing needs it. The sweep at the
/// next start, or of the next hour, makes up for one that is missed.
pub fn remove_later(service: &Arc<Service>, digest: Option<String>) {
    let Some(digest) = digest else { return };
    let service = service.clone();
    tokio::spawn(async move {
        for region in &service.regions {
            try_remove(&service, region, &digest).await;
        }
    });
}

/// Removes every image that nothing needs, and local copies that were not used for long.
pub async fn sweep(service: &Service) {
    for region in &service.regions {
        match region.store.list().await {
            Ok(images) => {
                for image in images {
                    try_remove(service, region, &image.digest).await;
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(region.slug, error, "looking for unneeded images failed");
            }
        }
        if let Err(error) = forget_copies(service, region).await {
            tracing::error!(region.slug, %error, "removing copies of images failed");
        }
    }
}

/// Ends what a process that is gone, or a store that was away, left half removed.
///
/// # Errors
/// When the database cannot be reached.
pub async fn take_up(service: &Service) -> db::Result<()> {
    let time = db::now();
    let lost = db::removal::lost(service.db.read(), time).await?;
    if lost.is_empty() {
        return Ok(());
    }
    for (slug, digest) in lost {
        if let Some(region) = service.regions.iter().find(|region| region.slug == slug) {
            try_remove(service, region, &digest).await;
        }
    }
    // Needed again, or of a region that is no longer configured.
    db::removal::forget_lost(service.db.read(), time).await
}

async fn try_remove(service: &Service, region: &Region, digest: &str) {
    let (db, owner) = (&service.db, &service.instance);
    if let Err(error) = remove(db, owner, &region.slug, &region.store, digest).await {
        let error = format!("{error:#}");
        tracing::error!(region.slug, digest, error, "removing an image failed");
    }
}

/// Removes an image from the store of a region, if nothing needs it there. Returns whether it did.
/// `owner` names the process.
///
/// # Errors
/// When the database or the store cannot be reached.
pub async fn remove(
    db: &Db,
    owner: &str,
    region: &str,
    store: &Store,
    digest: &str,
) -> anyhow::Result<bool> {
    if image::is_needed(db.read(), region, digest).await? {
        return Ok(false);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut tx = db.write().await?;
    if image::is_needed(&mut *tx, region, digest).await?
        || !db::removal::begin(&mut tx, region, digest, owner, LEASE_SECONDS).await?
    {
        return Ok(false);
    }
    tx.commit().await?;
    if Instant::now() >= deadline {
        // The process was stopped for so long that somebody else may store the image by now.
        bail!("the removal began too late");
    }
    timeout_at(deadline, store.remove(digest))
        .await
        .context("the store did not answer in time")??;
    let mut tx = db.write().await?;
    db::removal::end(&mut tx, region, digest, owner).await?;
    tx.commit().await?;
    Ok(true)
}

/// Waits for a removal of `digest` that had begun before the image was needed, which may take as long as
/// the lease of a process that is gone.
///
/// # Errors
/// When `job` is called off, or the removal does not end: the image is no longer needed, and others
/// remove it again and again.
pub async fn wait(db: &Db, region: &str, digest: &str, job: &JobContext) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(LEASE_SECONDS.unsigned_abs() + 5);
    while db::removal::is_underway(db.read(), region, digest).await? {
        job.check()?;
        if Instant::now() > deadline {
            bail!("sha256:{digest} is being removed from {region}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Removes local copies of what is in a bucket, unless a machine may have its disk on them.
async fn forget_copies(service: &Service, region: &Region) -> anyhow::Result<()> {
    for Stored { digest, .. } in region.store.copies()? {
        if db::droplet::has_digest(service.db.read(), &region.slug, &digest).await? {
            continue;
        }
        let needed = image::is_needed(service.db.read(), &region.slug, &digest).await?;
        let idle = if needed {
            region.copy_idle
        } else {
            UNNEEDED_IDLE
        };
        region.store.forget_copy(&digest, idle)?;
    }
    Ok(())
}

/// How long a copy stays of an image that its customers deleted, perhaps by another process.
const UNNEEDED_IDLE: Duration = Duration::from_secs(600);
