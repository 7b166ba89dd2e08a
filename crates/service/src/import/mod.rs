//! An import: from an upload that is complete to an image that machines can boot from.
//!
//! ```text
//!   queued ─▶ verifying ─▶ unpacking ─▶ checking ─▶ encoding ─▶ storing ─▶ available
//!     │           │           │            │           │          │
//!     └───────────┴───────────┴────────────┴───────────┴──────────┴──────▶ failed(reason)
//! ```
//!
//! `verifying` happens only if a checksum was given, `unpacking` only to what is compressed. Each step reads what the one before it left and
//! writes something of its own, so an import that was interrupted begins again from the upload and
//! ends in the same image: the canonical form depends on nothing but the content. The upload and
//! the staging file are removed when the import ends, whichever way. It does not end by a fault of the
//! service: then the image is queued again ([`crate::retry`]).
//!
//! The steps that touch the bytes are in [`steps`] and block; this module moves the rows.

mod checksum;
pub mod early;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;

use abbild_api::{Quota, RegionCopyStatus, Stage};
use abbild_convert::Encoded;
use abbild_disk::Disk;
use abbild_guest::{Checked, Container, Context as CheckContext, Lang, Limits, Report, Verdict};
use anyhow::{Context, bail};
use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::db::action::ActionRow;
use crate::db::{self, Tx, image, sql_size};
use crate::jobs::JobContext;
use crate::region::Region;
use crate::retry::Final;
use crate::summary::Summary;
use crate::{Service, quota, removal};
pub use checksum::Checksum;

/// Carries out the `create` of an image.
///
/// # Errors
/// With the reason for its owner, when the image is refused or anything on the way fails.
pub async fn run(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
) -> anyhow::Result<()> {
    let id = action.resource_id;
    let row = image::by_id(service.db.read(), id).await?;
    let region = service.region(
        action
            .region
            .as_deref()
            .context("an import names a region")?,
    )?;
    let upload = match (row.upload_id, row.digest) {
        (Some(upload), _) => upload,
        (None, Some(digest)) => return known(service, action, job, region, &digest).await,
        (None, None) => bail!("the image has no upload"),
    };

    if let Some(checksum) = row.checksum {
        verify(service, action, job, &upload, &checksum).await?;
    }
    let staging = Staging::new(service, id);
    let source = unpack(service, action, job, &upload, &staging).await?;
    let disk = check(service, action, job, source).await?;
    let (file, encoded) = encode(service, action, job, region, disk).await?;
    publish(service, action, job, region, file, &encoded).await?;
    drop(staging);
    service.uploads.remove_file(&upload)?;
    service.announce("image"); // the transfers that waited
    Ok(())
}

/// The content is known from another image: its canonical form only needs to be in the region.
async fn known(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
    region: &Region,
    digest: &str,
) -> anyhow::Result<()> {
    enter(service, action, job, Stage::Storing).await?;
    crate::region::provide(service, region, digest, job).await?;
    let mut tx = service.write_for(action).await?;
    finish(&mut tx, action, region).await?;
    tx.commit().await?;
    service.announce("image"); // the transfers that waited
    // The other image may be gone by now, and with it the need for its copies.
    removal::remove_later(service, Some(digest.to_owned()));
    Ok(())
}

/// The plain disk image of an upload, and what was peeled off to get it.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    container: Container,
}

/// The staging file of one import; removed when the import ends.
#[derive(Debug)]
struct Staging(PathBuf);

impl Staging {
    fn new(service: &Service, image: i64) -> Self {
        Self(service.config.data.join("staging").join(image.to_string()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(path = %self.0.display(), %error, "removing a staging file failed");
            }
            _ => {}
        }
    }
}

async fn verify(
    service: &Service,
    action: &ActionRow,
    job: &JobContext,
    upload: &str,
    checksum: &str,
) -> anyhow::Result<()> {
    enter(service, action, job, Stage::Verifying).await?;
    let checksum: Checksum = checksum.parse().map_err(anyhow::Error::msg)?;
    let path = service.uploads.path(upload);
    let job = job.clone();
    blocking(move || steps::verify(&checksum, &path, &job)).await
}

async fn unpack(
    service: &Service,
    action: &ActionRow,
    job: &JobContext,
    upload: &str,
    staging: &Staging,
) -> anyhow::Result<Source> {
    let path = service.uploads.path(upload);
    let (path, compression) = blocking(move || steps::detect(&path)).await?;
    let file_size = std::fs::metadata(&path)
        .context("reading the upload")?
        .len();
    let mut source = Source {
        path,
        container: Container {
            file_size: Some(file_size),
            ..Container::default()
        },
    };
    let Some(compression) = compression else {
        return Ok(source);
    };
    enter(service, action, job, Stage::Unpacking).await?;
    source.container.layers = vec![compression.to_string()];
    let (from, to) = (source.path.clone(), staging.0.clone());
    let limit = service.config.limits.max_virtual_size;
    let job = job.clone();
    source.path = blocking(move || steps::unpack(&from, to, limit, &job)).await?;
    Ok(source)
}

async fn check(
    service: &Service,
    action: &ActionRow,
    job: &JobContext,
    source: Source,
) -> anyhow::Result<Arc<steps::FileImage>> {
    enter(service, action, job, Stage::Checking).await?;
    let context = check_context(service, source.container);
    let path = source.path;
    let Checked { report, disk } = blocking(move || steps::check(&path, context)).await?;
    if let Err(error) = &disk
        && error.kind() == abbild_disk::ErrorKind::Io
    {
        bail!("reading the image failed: {error}");
    }
    let mut tx = service.write_for(action).await?;
    keep_report(&mut tx, action.resource_id, &report).await?;
    tx.commit().await?;
    match disk {
        Ok(disk) if report.verdict != Verdict::Refused => Ok(disk),
        _ => bail!(Final::new(refusal(&report))),
    }
}

/// What a check has to know of the operator's wishes, for a file of which `container` is known.
pub fn check_context(service: &Service, container: Container) -> CheckContext {
    CheckContext {
        container,
        limits: Limits {
            max_virtual_size: service.config.limits.max_virtual_size,
        },
        severities: service.config.requirements.clone(),
        today: Some(Timestamp::now().strftime("%F").to_string()),
    }
}

/// Keeps a report with its image.
pub async fn keep_report(tx: &mut Tx, image: i64, report: &Report) -> db::Result<()> {
    let container = &report.facts.container;
    image::set_report(
        tx,
        image,
        &format_name(container),
        container.virtual_size.map(sql_size),
        &db::to_json(report),
        &db::to_json(&Summary::of(report)),
    )
    .await
}

/// For example `raw+gzip`.
fn format_name(container: &Container) -> String {
    let mut name = container
        .format
        .clone()
        .unwrap_or_else(|| "unknown".to_owned());
    for layer in container.layers.iter().rev() {
        name.push('+');
        name.push_str(layer);
    }
    name
}

/// Every failed requirement, in one sentence.
pub fn refusal(report: &Report) -> String {
    let failed: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.outcome == abbild_guest::Outcome::Failure)
        .map(|finding| format!("{}: {}", finding.rule, finding.text(Lang::En)))
        .collect();
    format!(
        "the image does not meet the requirements: {}",
        failed.join("; ")
    )
}

async fn encode(
    service: &Service,
    action: &ActionRow,
    job: &JobContext,
    region: &Region,
    disk: Arc<steps::FileImage>,
) -> anyhow::Result<(NamedTempFile, Encoded)> {
    enter(service, action, job, Stage::Encoding).await?;
    tracing::debug!(
        image.id = action.resource_id,
        virtual_size_bytes = disk.virtual_size(),
        "encoding"
    );
    let file = region
        .store
        .begin()
        .context("creating a file in the region's store")?;
    let job = job.clone();
    blocking(move || steps::encode(&disk, file, &job)).await
}

/// Gives the canonical image its name, then lets everybody see it.
async fn publish(
    service: &Service,
    action: &ActionRow,
    job: &JobContext,
    region: &Region,
    file: NamedTempFile,
    encoded: &Encoded,
) -> anyhow::Result<()> {
    let id = action.resource_id;
    let digest = hex::encode(encoded.sha256);
    job.begin_stage(Stage::Storing);
    let mut tx = service.write_for(action).await?;
    check_quota(service, &mut tx, id, sql_size(encoded.file_size)).await?;
    if !image::begin_storing(&mut tx, id, &digest, sql_size(encoded.file_size)).await? {
        bail!(Final::new("the image was deleted meanwhile"));
    }
    tx.commit().await?;
    // From here on no removal begins.
    removal::wait(&service.db, &region.slug, &digest).await?;
    region
        .store
        .commit(file, &digest, job)
        .await
        .context("storing the image")?;

    let mut tx = service.write_for(action).await?;
    let row = image::get(&mut tx, id).await?;
    if row.deleted_at.is_some() {
        bail!(Final::new("the image was deleted meanwhile"));
    }
    if let Some(upload) = &row.upload_id {
        db::upload::delete(&mut tx, upload).await?;
    }
    let (virtual_size, size) = (sql_size(encoded.virtual_size), sql_size(encoded.file_size));
    image::set_canonical(&mut tx, id, &digest, virtual_size, size).await?;
    finish(&mut tx, action, region).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes sure that the account may store the image in all regions that it is meant for.
async fn check_quota(service: &Service, tx: &mut Tx, id: i64, bytes: i64) -> anyhow::Result<()> {
    let row = image::get(tx, id).await?;
    let mut wanted = 0_i64;
    for copy in image::regions_of(tx, id).await? {
        if copy.status()? != RegionCopyStatus::Failed {
            wanted = wanted.saturating_add(bytes);
        }
    }
    // An import that begins again was counted already.
    let wanted = wanted.saturating_sub(row.stored_bytes.map_or(0, |_| wanted));
    let wanted = [(Quota::StoredBytes, wanted)];
    match quota::check(&service.config.quotas, tx, row.account_id, &wanted).await {
        Ok(()) => Ok(()),
        Err(error) => bail!(Final::new(error.message())),
    }
}

/// The image is available in its first region; it may go to the others.
async fn finish(tx: &mut Tx, action: &ActionRow, region: &Region) -> db::Result<()> {
    let id = action.resource_id;
    image::set_region(tx, id, &region.slug, RegionCopyStatus::Available, None).await?;
    image::set_stage(tx, id, Stage::Available).await?;
    db::action::finish(tx, action.id, None).await?;
    db::action::make_ready(tx, id, "transfer").await
}

/// Begins a stage, unless the image was deleted.
async fn enter(
    service: &Service,
    action: &ActionRow,
    job: &JobContext,
    stage: Stage,
) -> anyhow::Result<()> {
    job.begin_stage(stage);
    let mut tx = service.write_for(action).await?;
    if !image::set_stage(&mut tx, action.resource_id, stage).await? {
        bail!(Final::new("the image was deleted meanwhile"));
    }
    tx.commit().await?;
    Ok(())
}

/// Runs a step that blocks away from the threads that answer requests.
async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(step)).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => bail!("the service is stopping"),
        Err(_) => bail!(Final::new(
            "a step of the import broke off, which is a fault of the service; its log says more"
        )),
    }
}
