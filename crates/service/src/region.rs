//! Regions: where images are kept and machines run.
//!
//! Regions come from the configuration. Each has a [`Store`] and a hypervisor. A canonical image
//! in a store belongs to nobody: images and machines refer to it by digest, and [`sweep`] removes
//! it when the last of them is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use abbild_api::RegionCopyStatus;
use abbild_convert::{Control, copy_verified};
use anyhow::Context;
use tempfile::NamedTempFile;
use tokio::sync::RwLockReadGuard;

use crate::db::action::ActionRow;
use crate::db::{self, image};
use crate::jobs::JobContext;
use crate::retry::{Final, of_convert};
use crate::store::Store;
use crate::vm::qemu::Qemu;
use crate::{Service, size};

/// One region at work.
#[derive(Debug)]
pub struct Region {
    /// Short name.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Its images.
    pub store: Store,
    /// Its machines.
    pub hypervisor: Qemu,
}

impl Region {
    /// On the wire.
    pub fn to_api(&self) -> abbild_api::Region {
        abbild_api::Region {
            slug: self.slug.clone(),
            name: self.name.clone(),
            features: vec!["metadata".to_owned(), "image_transfer".to_owned()],
            available: true,
            sizes: size::SIZES.iter().map(|s| s.slug.to_owned()).collect(),
        }
    }
}

/// Carries out a `transfer`: copies an available image to a further region.
///
/// # Errors
/// With the reason, when no region has the image or the copy fails.
pub async fn transfer(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
) -> anyhow::Result<()> {
    let id = action.resource_id;
    let target = action
        .region
        .as_deref()
        .context("a transfer names a region")?;
    let target = service.region(target)?;

    let mut tx = service.write_for(action).await?;
    let row = image::get(&mut tx, id).await?;
    image::move_region(&mut tx, id, &target.slug, RegionCopyStatus::Copying, None).await?;
    tx.commit().await?;
    let digest = row.digest.context("the image has no canonical form")?;

    let _guard = provide(service, target, &digest, job).await?;
    publish(service, action, &target.slug).await?;
    // Whatever this copy was made from may be needed by nobody any longer.
    sweep_later(service, Some(digest));
    Ok(())
}

/// Sees to it that the canonical image `digest` is in the store of `target`, from any region that has
/// it. While the guard is held that is returned, no sweep removes it; until then a row must refer to
/// it.
pub async fn provide<'s>(
    service: &'s Service,
    target: &Region,
    digest: &str,
    job: &JobContext,
) -> anyhow::Result<RwLockReadGuard<'s, ()>> {
    let guard = service.store_guard.read().await;
    if target.store.contains(digest) {
        return Ok(guard);
    }
    drop(guard);
    let source = find_copy(service, digest)?;
    let (store, expected, job) = (target.store.clone(), digest.to_owned(), job.clone());
    let incoming =
        tokio::task::spawn_blocking(move || copy(&source, &store, &expected, &job)).await??;
    let guard = service.store_guard.read().await;
    target
        .store
        .commit(incoming, digest)
        .context("storing the copy")?;
    Ok(guard)
}

/// The file is in the store: the region counts as available, and the action is done.
async fn publish(service: &Service, action: &ActionRow, region: &str) -> anyhow::Result<()> {
    let id = action.resource_id;
    let mut tx = service.write_for(action).await?;
    image::move_region(&mut tx, id, region, RegionCopyStatus::Available, None).await?;
    db::action::finish(&mut tx, action.id, None).await?;
    tx.commit().await?;
    Ok(())
}

/// A file of the image in any region that has it. The name is that of the content, so it does not
/// matter whose image brought it there.
fn find_copy(service: &Service, digest: &str) -> anyhow::Result<PathBuf> {
    let mut regions = service.regions.iter();
    regions
        .find(|region| region.store.contains(digest))
        .map(|region| region.store.path(digest))
        .ok_or_else(|| {
            let reason = format!("no region holds sha256:{digest}; upload the image again");
            Final::new(reason).into()
        })
}

fn copy(
    source: &Path,
    store: &Store,
    digest: &str,
    job: &JobContext,
) -> anyhow::Result<NamedTempFile> {
    let from =
        std::fs::File::open(source).with_context(|| format!("opening {}", source.display()))?;
    let incoming = store
        .begin()
        .context("creating a file in the region's store")?;
    let mut expected = [0; 32];
    hex::decode_to_slice(digest, &mut expected)?;
    let progress = |p: abbild_convert::Progress| job.progress(p);
    let control = Control::none()
        .with_progress(&progress)
        .with_cancel(&job.cancel);
    copy_verified(&from, incoming.as_file(), &expected, &control).map_err(of_convert)?;
    Ok(incoming)
}

/// Begins to [`sweep`] one image. It waits for running copies; a sweep at the next start makes up
/// for one that is missed.
pub fn sweep_later(service: &Arc<Service>, digest: Option<String>) {
    let Some(digest) = digest else { return };
    let service = service.clone();
    tokio::spawn(async move {
        if let Err(error) = sweep(&service, Some(&digest)).await {
            tracing::error!(%error, digest, "removing an image from the stores failed");
        }
    });
}

/// Removes canonical images that nothing refers to: `digest` alone, or all of them.
pub async fn sweep(service: &Service, digest: Option<&str>) -> anyhow::Result<()> {
    let _alone = service.store_guard.write().await;
    for region in &service.regions {
        let digests = match digest {
            Some(digest) => vec![digest.to_owned()],
            None => region.store.digests()?,
        };
        for digest in digests {
            if !image::is_needed(service.db.read(), &region.slug, &digest).await? {
                region
                    .store
                    .remove(&digest)
                    .with_context(|| format!("removing {digest} from {}", region.slug))?;
            }
        }
    }
    Ok(())
}
