//! Machines: between the rows that customers see and the hypervisor that runs them.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use abbild_api::DropletStatus;
use anyhow::{Context, bail};

use crate::config::VmConfig;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow};
use crate::db::{self, Tx, from_json};
use crate::size::Size;
use crate::vm::network;
use crate::vm::{Hypervisor, VmSpec, VmStatus};
use crate::{Service, removal};

/// The lowest loopback address that no machine holds, and the port on it for the guest's sshd.
///
/// # Errors
/// When every address is taken.
pub async fn free_address(config: &VmConfig, tx: &mut Tx) -> anyhow::Result<(Ipv4Addr, u16)> {
    let taken: HashSet<String> = droplet::addresses(tx).await?.into_iter().collect();
    let first = u32::from(config.first_address);
    for number in first..first.saturating_add(config.addresses) {
        let address = Ipv4Addr::from(number);
        if taken.contains(&address.to_string()) {
            continue;
        }
        // Another program may hold the ports of an address; then the next one serves as well.
        if let Ok(port) = network::pick_ssh_port(address) {
            return Ok((address, port));
        }
    }
    bail!(
        "all {} addresses from {} are taken",
        config.addresses,
        config.first_address
    )
}

/// Carries out `create`.
pub async fn create(service: &Arc<Service>, action: &ActionRow) -> anyhow::Result<()> {
    let row = droplet::get(service.db.read(), action.resource_id).await?;
    if row.deleted_at.is_some() {
        bail!("the machine was deleted meanwhile");
    }
    let region = service.region(&row.region)?;
    let spec = spec(service, &row).await?;
    region.hypervisor.create(&spec).await?;
    finish(service, action, DropletStatus::Active).await
}

async fn spec(service: &Service, row: &DropletRow) -> anyhow::Result<VmSpec> {
    let size = Size::find(&row.size).context("the size no longer exists")?;
    let region = service.region(&row.region)?;
    let image = db::image::find(service.db.read(), row.account_id, row.image_id)
        .await?
        .context("the image no longer exists")?;
    let virtual_bytes = image.virtual_bytes.map_or(0, db::from_sql_size);
    Ok(VmSpec {
        id: row.id,
        name: row.name.clone(),
        vcpus: size.vcpus,
        memory_mib: size.memory_mib,
        disk_bytes: size.disk_bytes().max(virtual_bytes),
        image: region.store.file(&row.digest).await?,
        address: row.address.parse::<Ipv4Addr>()?,
        ssh_port: u16::try_from(row.ssh_port)?,
        ssh_keys: from_json(&row.ssh_keys)?,
        user_data: row.user_data.clone().map(String::into_bytes),
        region: row.region.clone(),
    })
}

/// Carries out `power_on`.
pub async fn power_on(service: &Arc<Service>, action: &ActionRow) -> anyhow::Result<()> {
    let row = droplet::get(service.db.read(), action.resource_id).await?;
    let region = service.region(&row.region)?;
    // A machine whose creation failed has nothing to start from, and is made again.
    if region.hypervisor.status(row.id).await? == VmStatus::Absent {
        return create(service, action).await;
    }
    region.hypervisor.start(row.id).await?;
    finish(service, action, DropletStatus::Active).await
}

/// Carries out `power_off`.
pub async fn power_off(service: &Arc<Service>, action: &ActionRow) -> anyhow::Result<()> {
    let row = droplet::get(service.db.read(), action.resource_id).await?;
    service.region(&row.region)?.hypervisor.stop(row.id).await?;
    finish(service, action, DropletStatus::Off).await
}

async fn finish(
    service: &Arc<Service>,
    action: &ActionRow,
    status: DropletStatus,
) -> anyhow::Result<()> {
    let mut tx = service.write_for(action).await?;
    droplet::set_status(&mut tx, action.resource_id, status, None).await?;
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
    removal::remove_later(service, Some(row.digest));
    Ok(())
}

/// Notices machines that ended by themselves: the guest powered off, or the hypervisor died.
pub async fn watch(service: Arc<Service>) {
    loop {
        if let Err(error) = look(&service).await {
            tracing::error!(%error, "looking after the machines failed");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn look(service: &Service) -> anyhow::Result<()> {
    for row in droplet::active(service.db.read(), &service.node).await? {
        let Ok(region) = service.region(&row.region) else {
            continue;
        };
        let reason = match region.hypervisor.status(row.id).await? {
            VmStatus::Running => continue,
            VmStatus::Stopped { reason } => reason,
            VmStatus::Absent => Some("the machine is no longer on this host".to_owned()),
        };
        tracing::info!(droplet.id = row.id, reason, "a machine is off");
        let mut tx = service.db.write().await?;
        droplet::found_off(&mut tx, row.id, reason.as_deref()).await?;
        tx.commit().await?;
    }
    Ok(())
}
