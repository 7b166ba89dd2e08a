//! Turning machines on and off, gently where the guest takes part.
//!
//! ```text
//!                asks the guest                 off in time
//!   shutdown ───────────────────▶ waiting ────────────────────▶ off ──▶ (reboot) on
//!   reboot                           │   grace is over             ▲
//!                                    └──────── ends it ────────────┘
//! ```
//!
//! Each of these begins again after a crash, and ends in the same state.

use std::sync::Arc;
use std::time::Duration;

use abbild_api::DropletStatus;
use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::{create, finish, spec};
use crate::Service;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow};
use crate::vm::{Hypervisor, VmError, VmStatus};

/// Between two looks whether a guest has shut down.
const PAUSE: Duration = Duration::from_millis(300);
/// A guest that is still booting does not notice the power button, so it is pressed again.
const PRESS_AGAIN: Duration = Duration::from_secs(10);

/// Carries out `power_on`.
pub async fn on(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let hypervisor = &service.region(&row.region)?.hypervisor;
    // A machine whose creation failed has nothing to start from, and is made again.
    if hypervisor.status(row.id).await? == VmStatus::Absent {
        return create(service, action).await;
    }
    let spec = spec(service, row, row.rescue()?.as_ref()).await?;
    hypervisor.start(&spec).await?;
    finish(service, action, DropletStatus::Active, None).await
}

/// Carries out `power_off`.
pub async fn off(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    service.region(&row.region)?.hypervisor.stop(row.id).await?;
    finish(service, action, DropletStatus::Off, None).await
}

/// Carries out `shutdown`.
pub async fn shutdown(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let forced = end_gently(service, row).await?;
    finish(service, action, DropletStatus::Off, forced.as_deref()).await
}

/// Carries out `reboot`. QEMU is started anew, so that the guest finds what changed meanwhile.
pub async fn reboot(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let forced = end_gently(service, row).await?;
    if let Some(reason) = forced {
        tracing::info!(reason, "a machine is reset");
    }
    on(service, action, row).await
}

/// Carries out `power_cycle`.
pub async fn cycle(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    match service.region(&row.region)?.hypervisor.stop(row.id).await {
        Ok(()) | Err(VmError::Absent(_)) => on(service, action, row).await,
        Err(error) => Err(error.into()),
    }
}

/// Asks the guest to shut down, and ends its machine when it has not in time. Says so in that case.
pub async fn end_gently(service: &Service, row: &DropletRow) -> anyhow::Result<Option<String>> {
    let hypervisor = &service.region(&row.region)?.hypervisor;
    let grace = Duration::from_secs(service.config.vm.shutdown_grace_seconds.into());
    let begun = Instant::now();
    let mut pressed: Option<Instant> = None;
    let mut forced = None;
    while hypervisor.status(row.id).await? == VmStatus::Running {
        if begun.elapsed() >= grace {
            forced = Some(format!(
                "the guest did not shut down within {} seconds, and was switched off",
                grace.as_secs()
            ));
            break;
        }
        if pressed.is_none_or(|pressed| pressed.elapsed() >= PRESS_AGAIN) {
            match hypervisor.press_power_button(row.id).await {
                // It ended meanwhile.
                Ok(()) | Err(VmError::NotRunning(_)) => pressed = Some(Instant::now()),
                Err(error) => return Err(error.into()),
            }
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = service.drain.draining() => bail!("the service is being stopped"),
        }
        if droplet::get(service.db.read(), row.id)
            .await?
            .deleted_at
            .is_some()
        {
            bail!("the machine was deleted meanwhile");
        }
    }
    // Also says that it is off on request.
    hypervisor.stop(row.id).await?;
    Ok(forced)
}
