//! Making an image of a machine's disk.
//!
//! The image has a row from the request on. Its bytes are what the machine changed, joined with the
//! canonical image below by our own reader, and they take the way of every image: inspected, written
//! canonically, stored in the machine's region. Unlike an import, a snapshot is kept whatever the
//! verdict: it ran here, and who takes one before a risky step wants it back as it was.
//!
//! A job that begins again clears away what the one before it left, and takes the disk as it is then.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use abbild_api::Stage;
use abbild_convert::Progress;
use abbild_disk::qcow2::Overlay;
use abbild_disk::{Disk, FileSource, Image, Limits};
use abbild_guest::{Container, Context as CheckContext, Report};
use anyhow::{Context, bail};

use crate::Service;
use crate::db::action::ActionRow;
use crate::db::droplet::DropletRow;
use crate::db::image;
use crate::import::{Work, blocking, check_context};
use crate::jobs::JobContext;
use crate::retry::Final;
use crate::vm::Hypervisor;

/// The disk of a machine: its own layer over the canonical image.
pub type MachineDisk = Overlay<FileSource, Image<FileSource>>;

/// Carries out `snapshot`.
pub async fn run(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let made = make(service, action, job, row).await;
    let cleared = forget(service, action).await;
    let (work, file, encoded) = made?;
    cleared?;
    work.publish(file, &encoded).await?;
    service.announce("image"); // transfers that waited
    Ok(())
}

/// Clears away what a snapshot that was given up has left at its machine.
pub async fn forget(service: &Service, action: &ActionRow) -> anyhow::Result<()> {
    let region = action.region.as_deref().context("a machine has a region")?;
    let hypervisor = &service.region(region)?.hypervisor;
    Ok(hypervisor.forget_snapshot(action.resource_id).await?)
}

/// All that needs the machine: its disk in canonical form.
async fn make<'a>(
    service: &'a Arc<Service>,
    action: &'a ActionRow,
    job: &'a JobContext,
    row: &DropletRow,
) -> anyhow::Result<(Work<'a>, tempfile::NamedTempFile, abbild_convert::Encoded)> {
    let id = image::unfinished_snapshot(service.db.read(), row.id).await?;
    let Some(id) = id else {
        bail!(Final::new("the image was deleted meanwhile"));
    };
    let work = Work::new(service, action, job, id)?;
    work.enter(Stage::Receiving).await?;
    let base = work.region.store.file(&row.digest).await?;
    let progress = |done, total| {
        job.progress(Progress {
            done,
            total: Some(total),
        });
        job.check().is_ok()
    };
    let changes = work.region.hypervisor.snapshot(row.id, &progress).await?;
    work.enter(Stage::Checking).await?;
    let context = check_context(service, Container::default());
    let (disk, report) = blocking(move || check(changes, &base, context)).await?;
    work.keep_report(&report).await?;
    let (file, encoded) = work.encode(disk).await?;
    Ok((work, file, encoded))
}

fn check(
    changes: PathBuf,
    base: &Path,
    mut context: CheckContext,
) -> anyhow::Result<(Arc<MachineDisk>, Report)> {
    let disk = open(&changes, base)?;
    context.container.format = Some(disk.format().name().to_owned());
    context.container.virtual_size = Some(disk.virtual_size());
    let disk = Arc::new(disk);
    let report = abbild_guest::inspect(&disk, &context);
    Ok((disk, report))
}

/// The disk of a machine that has changed `changes` of the canonical image in `base`.
pub fn open(changes: &Path, base: &Path) -> anyhow::Result<MachineDisk> {
    // A machine's disk is as large as its size says.
    let limits = Limits {
        max_virtual_size: u64::MAX,
    };
    let file =
        |path: &Path| FileSource::open(path).with_context(|| format!("opening {}", path.display()));
    let below = abbild_disk::open_with(file(base)?, &limits).context("reading the image")?;
    Overlay::open_with(file(changes)?, below, &limits)
        .and_then(|disk| disk.verify().map(|()| disk))
        .context("reading the machine's disk")
}
