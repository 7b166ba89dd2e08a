//! Giving a machine a new disk, made from another image or the same.
//!
//! From the request on, the row says that the machine is about to need the image (`next_digest`), so
//! nothing removes it. The driver makes the new disk beside the old one and puts it in its place in one
//! step; then the row says that the machine lies on it, and the machine is started. Until that step
//! nothing is lost; a job that begins again after it makes a new disk once more, which nobody has used.

use std::sync::Arc;

use abbild_api::{DropletStatus, IdOrName};
use anyhow::{Context, bail};

use super::{finish, image, spec};
use crate::Service;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow};
use crate::removal;
use crate::vm::Hypervisor;

/// Carries out `rebuild` and `restore`.
pub async fn run(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
    wanted: &IdOrName,
) -> anyhow::Result<()> {
    let IdOrName::Id(id) = wanted else {
        bail!("there is no image `{wanted}`");
    };
    let image = image(service, row, *id).await?;
    let digest = image.digest.context("the image has no content")?;
    let mut rebuilt = row.clone();
    rebuilt.image_id = image.id;
    rebuilt.digest.clone_from(&digest);
    let hypervisor = &service.region(&row.region)?.hypervisor;
    // A rescue ends with the disk that it was for.
    let spec = spec(service, &rebuilt, None).await?;
    hypervisor.rebuild(&spec).await?;

    let mut tx = service.write_for(action).await?;
    droplet::set_image(&mut tx, row.id, image.id, &digest).await?;
    droplet::set_rescue(&mut tx, row.id, None).await?;
    droplet::set_hardware(&mut tx, row.id, &spec.hardware).await?;
    tx.commit().await?;
    removal::remove_later(service, Some(row.digest.clone()));
    removal::remove_later(service, row.rescue_digest()?);

    hypervisor.start(&spec).await?;
    finish(service, action, DropletStatus::Active, None).await
}
