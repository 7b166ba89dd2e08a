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
use crate::db;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow};
use crate::vm::qemu::Qemu;
use crate::vm::{Hypervisor, VmError, VmId, VmStatus};

/// Between two looks whether a guest has shut down.
pub const PAUSE: Duration = Duration::from_millis(300);
/// A guest that is still booting does not notice the power button, so it is pressed again.
const PRESS_AGAIN: Duration = Duration::from_secs(10);

/// Carries out `power_on`.
pub async fn on(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let hypervisor = &service.region(&row.region)?.hypervisor;
    // A machine whose creation failed has nothing to start from, or has never run, and is made again.
    if row.hardware()?.is_none() || hypervisor.status(row.id).await? == VmStatus::Absent {
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
    let known = match stop(service, row).await? {
        true => None,
        false => known_reason(row)?,
    };
    finish(service, action, DropletStatus::Off, known).await
}

/// Why a machine is off that was off before; being asked again changes nothing about that.
fn known_reason(row: &DropletRow) -> db::Result<Option<&str>> {
    let is_off = row.status()? == DropletStatus::Off;
    Ok(row.reason.as_deref().filter(|_| is_off))
}

/// Ends a machine, and says whether there was anything to end; of one whose creation failed there is not.
async fn stop(service: &Service, row: &DropletRow) -> anyhow::Result<bool> {
    match service.region(&row.region)?.hypervisor.stop(row.id).await {
        Err(VmError::Absent(_)) => Ok(false),
        stopped => Ok(stopped?),
    }
}

/// Carries out `shutdown`.
pub async fn shutdown(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let forced = end_gently(service, row).await?;
    let reason = match &forced {
        Some(forced) => Some(forced.as_str()),
        None => known_reason(row)?,
    };
    finish(service, action, DropletStatus::Off, reason).await
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
    stop(service, row).await?;
    on(service, action, row).await
}

/// Asks the guest to shut down, and ends its machine when it has not in time, or cannot. Says so in that case.
pub async fn end_gently(service: &Service, row: &DropletRow) -> anyhow::Result<Option<String>> {
    let hypervisor = &service.region(&row.region)?.hypervisor;
    let grace = Duration::from_secs(service.config.vm.shutdown_grace_seconds.into());
    let look = || async {
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = service.drain.draining() => bail!("the service is being stopped"),
        }
        let present = droplet::get(service.db.read(), row.id).await?;
        if present.deleted_at.is_some() {
            bail!("the machine was deleted meanwhile");
        }
        Ok(())
    };
    let has_taken_part = press_power_button(hypervisor, row.id, grace, look).await?;
    // Also says that it is off on request.
    let lived = stop(service, row).await?;
    Ok(if !has_taken_part {
        Some(format!(
            "the guest did not shut down within {} seconds, and was switched off",
            grace.as_secs()
        ))
    } else if lived && row.status()? == DropletStatus::Off {
        Some("it was paused, and was switched off without its guest taking part".into())
    } else {
        None
    })
}

/// Asks a guest to shut down until it has, or `grace` is over; says whether it has. Between two looks
/// `pause` takes a moment, and may call it off.
pub async fn press_power_button<P: Future<Output = anyhow::Result<()>>>(
    hypervisor: &Qemu,
    id: VmId,
    grace: Duration,
    pause: impl Fn() -> P,
) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut pressed: Option<Instant> = None;
    while hypervisor.status(id).await? == VmStatus::Running {
        if begun.elapsed() >= grace {
            return Ok(false);
        }
        if pressed.is_none_or(|pressed| pressed.elapsed() >= PRESS_AGAIN) {
            match hypervisor.press_power_button(id).await {
                // It ended meanwhile.
                Ok(()) | Err(VmError::NotRunning(_)) => pressed = Some(Instant::now()),
                Err(error) => return Err(error.into()),
            }
        }
        pause().await?;
    }
    Ok(true)
}
