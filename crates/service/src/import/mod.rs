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
//! The steps that touch the bytes are in [`steps`] and block; this module and [`work`] move the rows.
//! A snapshot of a machine takes the same way from `checking` on (`crate::machine`).

mod checksum;
pub mod early;
mod steps;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use abbild_api::{Quota, RegionCopyStatus, Stage};
use abbild_guest::{Checked, Container, Context as CheckContext, Lang, Limits, Report, Verdict};
use anyhow::{Context, bail};
use jiff::Timestamp;

use crate::db::action::ActionRow;
use crate::db::{self, Tx, image, sql_size};
use crate::jobs::JobContext;
use crate::retry::Final;
use crate::summary::Summary;
use crate::{Service, quota, removal};
pub use checksum::Checksum;
pub use work::Work;

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
    let work = Work::new(service, action, job, id)?;
    let upload = match (row.upload_id, row.digest) {
        (Some(upload), _) => upload,
        (None, Some(digest)) => return known(&work, &digest).await,
        (None, None) => bail!("the image has no upload"),
    };

    if let Some(checksum) = row.checksum {
        verify(&work, &upload, &checksum).await?;
    }
    let staging = Staging::new(service, id);
    let source = unpack(&work, &upload, &staging).await?;
    let disk = check(&work, source).await?;
    let (file, encoded) = work.encode(disk).await?;
    work.publish(file, &encoded).await?;
    drop(staging);
    service.uploads.remove_file(&upload)?;
    service.announce("image"); // the transfers that waited
    Ok(())
}

/// The content is known from another image: its canonical form only needs to be in the region.
async fn known(work: &Work<'_>, digest: &str) -> anyhow::Result<()> {
    let service = work.service;
    work.enter(Stage::Storing).await?;
    crate::region::provide(service, work.region, digest, work.job).await?;
    let mut tx = service.write_for(work.action).await?;
    work.finish(&mut tx).await?;
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

async fn verify(work: &Work<'_>, upload: &str, checksum: &str) -> anyhow::Result<()> {
    work.enter(Stage::Verifying).await?;
    let checksum: Checksum = checksum.parse().map_err(anyhow::Error::msg)?;
    let path = work.service.uploads.path(upload);
    let job = work.job.clone();
    blocking(move || steps::verify(&checksum, &path, &job)).await
}

async fn unpack(work: &Work<'_>, upload: &str, staging: &Staging) -> anyhow::Result<Source> {
    let path = work.service.uploads.path(upload);
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
    work.enter(Stage::Unpacking).await?;
    source.container.layers = vec![compression.to_string()];
    let (from, to) = (source.path.clone(), staging.0.clone());
    let limit = work.service.config.limits.max_virtual_size;
    let job = work.job.clone();
    source.path = blocking(move || steps::unpack(&from, to, limit, &job)).await?;
    Ok(source)
}

async fn check(work: &Work<'_>, source: Source) -> anyhow::Result<Arc<steps::FileImage>> {
    work.enter(Stage::Checking).await?;
    let context = check_context(work.service, source.container);
    let path = source.path;
    let Checked { report, disk } = blocking(move || steps::check(&path, context)).await?;
    if let Err(error) = &disk
        && error.kind() == abbild_disk::ErrorKind::Io
    {
        bail!("reading the image failed: {error}");
    }
    work.keep_report(&report).await?;
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

/// Runs a step that blocks away from the threads that answer requests.
pub async fn blocking<T: Send + 'static>(
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
