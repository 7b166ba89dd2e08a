//! Running another system in the place of a machine's own, to repair that.
//!
//! The row says what a machine runs, and what the driver starts follows from it, so that a machine
//! which is being rescued still is after it was switched off and on, or the service was restarted. It
//! says so when the other system runs, and no longer when the machine's own runs again; a job that
//! begins again in between ends what it finds, and starts the right one.

use std::sync::Arc;

use abbild_api::{DropletStatus, IdOrName};
use anyhow::{Context, bail};

use super::power::end_gently;
use super::{hardware, image, spec};
use crate::Service;
use crate::db;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow, RescueRow};
use crate::region::Region;
use crate::removal;
use crate::vm::{Hypervisor, Rescue};

/// Carries out `rescue`.
pub async fn begin(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
    wanted: Option<&IdOrName>,
) -> anyhow::Result<()> {
    let rescue = match wanted {
        None => RescueRow::System,
        Some(IdOrName::Id(id)) => of_image(service, row, *id).await?,
        Some(name) => bail!("there is no image `{name}`"),
    };
    exchange(service, action, row, Some(&rescue)).await
}

async fn of_image(service: &Service, row: &DropletRow, id: i64) -> anyhow::Result<RescueRow> {
    let image = image(service, row, id).await?;
    Ok(RescueRow::Image {
        id,
        digest: image.digest.context("the image has no content")?,
        hardware: hardware(service, id).await?,
    })
}

/// Carries out `unrescue`.
pub async fn end(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    exchange(service, action, row, None).await?;
    removal::remove_later(service, row.rescue_digest()?);
    Ok(())
}

/// Ends what the machine runs, gently, and has it run `rescue` or its own system.
async fn exchange(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
    rescue: Option<&RescueRow>,
) -> anyhow::Result<()> {
    let region = service.region(&row.region)?;
    let spec = spec(service, row, rescue).await?;
    if let Some(reason) = end_gently(service, row).await? {
        tracing::info!(reason, "a machine is reset");
    }
    region.hypervisor.start(&spec).await?;
    let mut tx = service.write_for(action).await?;
    droplet::set_rescue(&mut tx, row.id, rescue).await?;
    droplet::set_status(&mut tx, row.id, DropletStatus::Active, None).await?;
    db::action::finish(&mut tx, action.id, None).await?;
    tx.commit().await?;
    Ok(())
}

/// What the driver is told of it.
pub async fn to_spec(region: &Region, rescue: &RescueRow) -> anyhow::Result<Rescue> {
    Ok(match rescue {
        RescueRow::System => Rescue::System,
        RescueRow::Image {
            digest, hardware, ..
        } => Rescue::Image {
            file: region.store.file(digest).await?,
            hardware: hardware.clone(),
        },
    })
}
