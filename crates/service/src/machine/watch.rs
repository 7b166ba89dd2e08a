//! Noticing what nobody asked for: a guest that powered itself off, a hypervisor that died, a host that
//! was started again.

use std::sync::Arc;
use std::time::Duration;

use abbild_api::{DropletAction, DropletStatus};

use super::complaints::Complaints;
use super::insert_action;
use crate::Service;
use crate::db;
use crate::db::droplet::{self, DropletRow};
use crate::vm::{Hypervisor, VmStatus};

/// How long a machine that ended by itself is shown as running at most. To look at one costs a
/// conversation with its QEMU, so that looking at many more often would be most of what an idle service does.
const EVERY: Duration = Duration::from_secs(5);

/// Notices machines that ended by themselves: the guest powered off, or the hypervisor died.
pub async fn watch(service: Arc<Service>) {
    let mut complaints = Complaints::default();
    loop {
        let outcome = look(&service).await;
        complaints.hear("looking after the machines", None, outcome);
        tokio::time::sleep(EVERY).await;
    }
}

/// Keeps machines from filling the disks of their regions.
pub async fn keep_room(service: Arc<Service>) {
    let mut complaints = Complaints::default();
    loop {
        for region in &service.regions {
            let slug = Some(region.slug.as_str());
            let outcome = region.hypervisor.keep_room().await;
            complaints.hear("looking after the room of machines", slug, outcome);
            let outcome = region.probes.keep_room().await;
            complaints.hear("looking after the room of probes", slug, outcome);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A machine that ran when the host went down runs again. Its owner sees why it was away: there is an
/// action, which also keeps others from acting on the machine meanwhile.
async fn start_again(service: &Service, row: &DropletRow) -> anyhow::Result<()> {
    let mut tx = service.db.write().await?;
    let present = droplet::find(&mut *tx, row.account_id, row.id).await?;
    let is_active = match present {
        Some(row) => row.status()? == DropletStatus::Active,
        None => false,
    };
    let open = db::action::open(&mut *tx, "droplet", row.id).await?;
    if is_active && open.is_empty() {
        tracing::info!(
            droplet.id = row.id,
            "the host was started again, and so is a machine"
        );
        let wanted = db::to_json(&DropletAction::PowerOn);
        insert_action(&mut tx, row, "power_on", Some(wanted)).await?;
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok(())
}

/// One machine that cannot be looked at does not hide the others.
async fn look(service: &Service) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for row in droplet::active(service.db.read(), &service.node).await? {
        if let Err(error) = look_at(service, &row).await {
            outcome = Err(error.context(format!("machine {}", row.id)));
        }
    }
    outcome
}

async fn look_at(service: &Service, row: &DropletRow) -> anyhow::Result<()> {
    let Ok(region) = service.region(&row.region) else {
        return Ok(());
    };
    let reason = match region.hypervisor.status(row.id).await? {
        VmStatus::Running => return Ok(()),
        VmStatus::Interrupted => return start_again(service, row).await,
        VmStatus::Stopped { reason } => reason,
        VmStatus::Absent => Some("the machine is no longer on this host".to_owned()),
    };
    tracing::info!(droplet.id = row.id, reason, "a machine is off");
    let mut tx = service.db.write().await?;
    droplet::found_off(&mut tx, row.id, reason.as_deref()).await?;
    tx.commit().await?;
    Ok(())
}
