//! Regions: where images are kept and machines run.
//!
//! Regions come from the configuration. Each has a [`Store`] and a hypervisor. A canonical image
//! in a store belongs to nobody: images and machines refer to it by digest, and it is removed
//! ([`removal`]) when the last of them is gone.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use abbild_api::RegionCopyStatus;
use anyhow::Context;

use crate::db::action::ActionRow;
use crate::db::{self, image};
use crate::jobs::JobContext;
use crate::retry::Final;
use crate::store::Store;
use crate::vm::qemu::Qemu;
use crate::{Service, removal, size};

/// One region at work.
#[derive(Debug)]
pub struct Region {
    /// Short name.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Its images.
    pub store: Store,
    /// How long a local copy of an image in a bucket stays without use.
    pub copy_idle: Duration,
    /// Its machines.
    pub hypervisor: Qemu,
    /// The machines of probes. They are nobody's.
    pub probes: Qemu,
    /// Keeps other processes away from the directory.
    pub _lock: File,
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

    provide(service, target, &digest, job).await?;
    publish(service, action, &target.slug).await?;
    // Whatever this copy was made from may be needed by nobody any longer.
    removal::remove_later(service, Some(digest));
    Ok(())
}

/// Sees to it that the canonical image `digest` is in the store of `target`, from any region that has
/// it. A row must refer to it already, so that no removal begins any longer.
///
/// # Errors
/// With the reason, when no region has it or it cannot be copied.
pub async fn provide(
    service: &Service,
    target: &Region,
    digest: &str,
    job: &JobContext,
) -> anyhow::Result<()> {
    removal::wait(&service.db, &target.slug, digest, job).await?;
    if target.store.contains(digest).await? {
        return Ok(());
    }
    let source = find_copy(service, digest).await?;
    let copied = target.store.copy_from(&source.store, digest, job).await;
    copied.with_context(|| format!("copying the image from {}", source.slug))
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

/// A region that has the image. The name is that of the content, so it does not matter whose image
/// brought it there.
async fn find_copy<'s>(service: &'s Service, digest: &str) -> anyhow::Result<&'s Region> {
    let mut obstacle = None;
    for region in &service.regions {
        match region.store.contains(digest).await {
            Ok(true) => return Ok(region),
            Ok(false) => {}
            Err(error) => obstacle = Some(error),
        }
    }
    Err(obstacle.unwrap_or_else(|| {
        Final::new(format!(
            "no region holds sha256:{digest}; upload the image again"
        ))
        .into()
    }))
}
