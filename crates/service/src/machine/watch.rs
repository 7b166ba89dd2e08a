//! Noticing what nobody asked for: a guest that powered itself off, a hypervisor that died.

use std::sync::Arc;
use std::time::Duration;

use crate::Service;
use crate::db::droplet;
use crate::vm::{Hypervisor, VmStatus};

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
