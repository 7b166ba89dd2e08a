//! Machines: between the rows that customers see and the hypervisor that runs them. [`create`],
//! [`act`] and [`destroy`] are the jobs, [`watch`] sees what nobody asked for.

mod complaints;
mod forward;
mod network;
pub mod password;
pub mod power;
mod rebuild;
mod rescue;
mod snapshot;
mod watch;

use std::sync::Arc;

use abbild_api::{DropletAction, DropletStatus, Forward, Hardware};
use abbild_guest::Report;
use anyhow::{Context, bail};

use crate::db::action::{ActionRow, NewAction};
use crate::db::droplet::{self, DropletRow, RescueRow};
use crate::db::image::ImageRow;
use crate::db::{self, Tx, from_json, from_sql_size};
use crate::jobs::JobContext;
use crate::size::Size;
use crate::vm::{Hypervisor, VmSpec, platform};
use crate::{Service, removal};
pub use network::{Allotment, allot, keep_connected, to_api as networks};
pub use snapshot::{forget as forget_snapshot, open as open_disk};
pub use watch::{keep_room, watch};

/// A new action of a droplet, which a worker may begin at once; `parameters` is JSON.
pub async fn insert_action(
    tx: &mut Tx,
    row: &DropletRow,
    kind: &str,
    parameters: Option<String>,
) -> db::Result<ActionRow> {
    let new = NewAction {
        account: row.account_id,
        kind,
        resource_type: "droplet",
        resource: row.id,
        region: Some(&row.region),
        parameters: parameters.as_deref(),
        ready: true,
    };
    db::action::insert(tx, &new).await
}

/// Carries out `create`.
pub async fn create(service: &Arc<Service>, action: &ActionRow) -> anyhow::Result<()> {
    let row = droplet::get(service.db.read(), action.resource_id).await?;
    if row.deleted_at.is_some() {
        bail!("the machine was deleted meanwhile");
    }
    let region = service.region(&row.region)?;
    let spec = spec(service, &row, row.rescue()?.as_ref()).await?;
    region.hypervisor.create(&spec).await?;
    let mut tx = service.write_for(action).await?;
    droplet::set_hardware(&mut tx, row.id, &spec.hardware).await?;
    droplet::set_status(&mut tx, row.id, DropletStatus::Active, None).await?;
    db::action::finish(&mut tx, action.id, None).await?;
    tx.commit().await?;
    Ok(())
}

/// An image of a machine's owner, who may have deleted it.
async fn image(service: &Service, row: &DropletRow, id: i64) -> anyhow::Result<ImageRow> {
    db::image::find(service.db.read(), row.account_id, id)
        .await?
        .context("the image no longer exists")
}

/// What suits the system of an image.
async fn hardware(service: &Service, image: i64) -> anyhow::Result<Hardware> {
    let report = db::image::report(service.db.read(), image).await?;
    let report: Option<Report> = report.as_deref().map(from_json).transpose()?;
    Ok(platform::choose(
        report.as_ref().map(|report| &report.facts),
    ))
}

/// What the driver is told of a machine that is to run `rescue`, or its own system.
async fn spec(
    service: &Service,
    row: &DropletRow,
    rescue: Option<&RescueRow>,
) -> anyhow::Result<VmSpec> {
    let size = Size::find(&row.size).context("the size no longer exists")?;
    let region = service.region(&row.region)?;
    let image = image(service, row, row.image_id).await?;
    let virtual_bytes = image.virtual_bytes.map_or(0, db::from_sql_size);
    let disk_bytes = from_sql_size(size.disk_gb_of(row.disk_gb)) << 30;
    let rescue = match rescue {
        Some(rescue) => Some(rescue::to_spec(region, rescue).await?),
        None => None,
    };
    Ok(VmSpec {
        id: row.id,
        name: row.name.clone(),
        vcpus: size.vcpus,
        memory_mib: size.memory_mib,
        disk_bytes: disk_bytes.max(virtual_bytes),
        image: region.store.file(&row.digest).await?,
        network: network::of(&service.config.vm, row)?,
        ssh_keys: from_json(&row.ssh_keys)?,
        user_data: row.user_data()?,
        vendor: service.config.vm.vendor(),
        hardware: hardware(service, image.id).await?,
        rescue,
        region: row.region.clone(),
    })
}

/// Carries out what a machine was asked for.
pub async fn act(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
) -> anyhow::Result<()> {
    let row = droplet::get(service.db.read(), action.resource_id).await?;
    match action.of_droplet()? {
        DropletAction::PowerOn => power::on(service, action, &row).await,
        DropletAction::PowerOff => power::off(service, action, &row).await,
        DropletAction::Shutdown => power::shutdown(service, action, &row).await,
        DropletAction::Reboot => power::reboot(service, action, &row).await,
        DropletAction::PowerCycle => power::cycle(service, action, &row).await,
        DropletAction::Rebuild { image } | DropletAction::Restore { image } => {
            rebuild::run(service, action, &row, &image).await
        }
        DropletAction::Snapshot { .. } => snapshot::run(service, action, job, &row).await,
        DropletAction::Rescue { image } => {
            rescue::begin(service, action, &row, image.as_ref()).await
        }
        DropletAction::Unrescue => rescue::end(service, action, &row).await,
        DropletAction::Forward {
            port,
            guest_port,
            protocol,
        } => {
            let wanted = Forward::new(port, guest_port, protocol);
            forward::add(service, action, &row, wanted).await
        }
        DropletAction::Unforward { port, protocol } => {
            forward::remove(service, action, &row, port, protocol).await
        }
        DropletAction::PasswordReset => password::reset(service, action, &row).await,
        // These are done when they are asked for.
        DropletAction::Resize { .. } | DropletAction::Rename { .. } => {
            bail!("`{}` is nothing that takes time", action.kind)
        }
    }
}

async fn finish(
    service: &Arc<Service>,
    action: &ActionRow,
    status: DropletStatus,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let mut tx = service.write_for(action).await?;
    droplet::set_status(&mut tx, action.resource_id, status, reason).await?;
    db::action::finish(&mut tx, action.id, None).await?;
    tx.commit().await?;
    Ok(())
}

/// Carries out `destroy`: the owner no longer sees the machine, now the host forgets it too.
pub async fn destroy(service: &Arc<Service>, action: &ActionRow) -> anyhow::Result<()> {
    let row = droplet::get(service.db.read(), action.resource_id).await?;
    service
        .region(&row.region)?
        .hypervisor
        .delete(row.id)
        .await?;
    let mut tx = service.write_for(action).await?;
    droplet::left_host(&mut tx, row.id).await?;
    db::action::finish(&mut tx, action.id, None).await?;
    tx.commit().await?;
    removal::remove_later(service, row.rescue_digest()?);
    removal::remove_later(service, Some(row.digest));
    Ok(())
}
