//! Ports of a machine's address that lead into its guest.
//!
//! The row has those that are there whenever the machine runs. It is changed when the driver has
//! changed the running machine; a job that begins again in between finds that done, and goes on.

use std::sync::Arc;

use abbild_api::{Forward, Protocol};

use crate::Service;
use crate::db;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow};
use crate::vm::{Hypervisor, VmError};

/// Carries out `forward`.
pub async fn add(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
    wanted: Forward,
) -> anyhow::Result<()> {
    let hypervisor = &service.region(&row.region)?.hypervisor;
    applied(hypervisor.forward(row.id, wanted).await)?;
    let mut forwards = without(row, wanted.port, wanted.protocol)?;
    forwards.push(wanted);
    keep(service, action, row, &forwards).await
}

/// Carries out `unforward`.
pub async fn remove(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
    port: u16,
    protocol: Protocol,
) -> anyhow::Result<()> {
    let hypervisor = &service.region(&row.region)?.hypervisor;
    applied(hypervisor.unforward(row.id, port, protocol).await)?;
    let forwards = without(row, port, protocol)?;
    keep(service, action, row, &forwards).await
}

/// A machine that is off gets it when it is started.
fn applied(result: Result<(), VmError>) -> Result<(), VmError> {
    match result {
        Err(VmError::NotRunning(_) | VmError::Absent(_)) => Ok(()),
        other => other,
    }
}

fn without(row: &DropletRow, port: u16, protocol: Protocol) -> db::Result<Vec<Forward>> {
    let mut forwards = row.forwards()?;
    forwards.retain(|there| !there.is_at(port, protocol));
    Ok(forwards)
}

async fn keep(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
    forwards: &[Forward],
) -> anyhow::Result<()> {
    let mut tx = service.write_for(action).await?;
    droplet::set_forwards(&mut tx, row.id, forwards).await?;
    db::action::finish(&mut tx, action.id, None).await?;
    tx.commit().await?;
    Ok(())
}
