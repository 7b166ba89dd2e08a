//! The boot probe: boots an image in isolation and says what becomes of it.
//!
//! ```text
//!   machine of its own, isolated ─▶ watch: serial log, SSH server ─▶ picture of the screen
//!        ─▶ power button ─▶ off ─▶ read its disk ─▶ record, log, picture; summary of the image
//! ```
//!
//! The machine is made as those of customers are, with a config drive and a fresh key, but beside them:
//! it has no row, no address, and a network that leads nowhere. [`watch`] follows it, [`signs`] knows what
//! the lines of the serial log mean, [`sshd`] asks for the SSH server. Afterwards our own reader looks for
//! what cloud-init left on the disk. The record is kept apart from the report of the check, and joined
//! with it whenever the report is read ([`report`]).
//!
//! A probe that was interrupted begins again: what is left of its machine is removed first.

mod config;
mod machine;
mod signs;
mod sshd;
mod text;
mod watch;

use std::sync::Arc;

use abbild_api::Hardware;
use abbild_guest::{BootRecord, Report, Step};
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::Service;
use crate::db::action::ActionRow;
use crate::db::{self, Executor, from_json, image, to_json};
use crate::jobs::JobContext;
use crate::region::Region;
use crate::summary::Summary;
use crate::vm::Hypervisor;
pub use config::ProbeConfig;

/// What is kept of a probe, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// How the guest was executed: `kvm` or `tcg`.
    pub acceleration: String,
    /// What the machine was made of.
    pub hardware: Hardware,
    /// How long the boot might take, in seconds.
    pub time_limit_seconds: u32,
    /// What was seen.
    pub boot: BootRecord,
}

/// All that a probe brings.
struct Probed {
    record: Record,
    log: String,
    screenshot: Option<Vec<u8>>,
}

/// Carries out `probe`.
///
/// # Errors
/// When the machine cannot be run; not when the image does not boot, which is a result.
pub async fn run(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
) -> anyhow::Result<()> {
    let slug = action.region.as_deref().context("a probe names a region")?;
    let region = service.region(slug)?;
    let probed = boot(service, action, job, region).await;
    let removed = region.probes.delete(machine::id_of(action)).await;
    let probed = probed?;
    removed?;
    keep(service, action, &probed).await
}

/// Boots the image and watches it.
async fn boot(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
    region: &Region,
) -> anyhow::Result<Probed> {
    // An attempt that ended with the service may have left one.
    region.probes.delete(machine::id_of(action)).await?;
    let row = image::by_id(service.db.read(), action.resource_id).await?;
    let digest = row.digest.context("the image has no content")?;
    let file = region.store.file(&digest).await?;
    let report = checked(service.db.read(), row.id).await?;
    let facts = report.as_ref().map(|report| &report.facts);
    let mut machine = machine::Machine::new(service, action, region, file, facts).await?;
    let record = to_json(&machine.record);
    let mut tx = service.write_for(action).await?;
    db::probe::begin(&mut tx, action.id, &record).await?;
    tx.commit().await?;
    let mut follower = machine.start().await?;
    machine.watch(service, action, job, &mut follower).await?;
    let screenshot = machine.screenshot().await;
    machine.shut_down(service, job, &mut follower).await?;
    machine.read_disk(facts).await;
    Ok(Probed {
        log: follower.log(),
        record: machine.record,
        screenshot,
    })
}

/// Keeps what a probe brought, and lets the image show what follows.
async fn keep(service: &Service, action: &ActionRow, probed: &Probed) -> anyhow::Result<()> {
    let screenshot = probed.screenshot.as_ref().map(|png| STANDARD.encode(png));
    let (id, image) = (action.id, action.resource_id);
    let mut tx = service.write_for(action).await?;
    let record = to_json(&probed.record);
    db::probe::finish(
        &mut tx,
        id,
        image,
        &record,
        &probed.log,
        screenshot.as_deref(),
    )
    .await?;
    if let Some(mut report) = checked(&mut *tx, image).await? {
        report.prove(&probed.record.boot, &service.config.requirements);
        let summary = to_json(&Summary::of(&report));
        image::set_summary(&mut tx, image, &summary).await?;
    }
    db::action::finish(&mut tx, id, None).await?;
    tx.commit().await?;
    let boot = &probed.record.boot;
    let end = boot.end.map_or("", abbild_guest::End::as_str);
    let sshd = boot.milestone(Step::Sshd).is_some();
    tracing::info!(
        end,
        sshd,
        milliseconds = boot.milliseconds,
        "image was booted"
    );
    Ok(())
}

/// What the check found in an image, without what a probe proved.
async fn checked(db: impl Executor<'_>, image: i64) -> db::Result<Option<Report>> {
    let report = image::report(db, image).await?;
    report.as_deref().map(from_json).transpose()
}

/// The report on an image: what the check found in it, and what the newest probe has proven.
///
/// # Errors
/// Those of the database.
pub async fn report(service: &Service, image: i64) -> db::Result<Option<Report>> {
    let Some(mut report) = checked(service.db.read(), image).await? else {
        return Ok(None);
    };
    if let Some(record) = db::probe::record(service.db.read(), image).await? {
        let record: Record = from_json(&record)?;
        report.prove(&record.boot, &service.config.requirements);
    }
    Ok(Some(report))
}
