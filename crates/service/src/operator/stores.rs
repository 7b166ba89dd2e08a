//! The stores of all regions, beside a service that may be using them, and how far long work in them
//! is.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::bail;

use super::Operator;
use crate::config::RegionConfig;
use crate::db::from_sql_size;
use crate::jobs::JobContext;
use crate::store::{Store, Stored};

/// Between two looks at how far the work is.
const LOOK: Duration = Duration::from_millis(200);

/// How far the reading or copying of images is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is done, or the region where it is done.
    pub step: &'a str,
    /// Bytes that are dealt with.
    pub done: u64,
    /// Bytes that there are.
    pub total: u64,
}

impl<'a> Progress<'a> {
    /// With `done` bytes of earlier work.
    pub(super) fn new(step: &'a str, done: u64, total: u64) -> Self {
        Self { step, done, total }
    }

    /// Waits for `work`, which reports to `job`, and passes on how far it is.
    pub(super) async fn watch<T>(
        self,
        report: &(dyn Fn(Progress<'_>) + Sync),
        job: &JobContext,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let (done, _) = job.snapshot();
            let done = self.done + from_sql_size(done);
            report(Progress { done, ..self });
            if let Ok(result) = tokio::time::timeout(LOOK, &mut work).await {
                return result;
            }
        }
    }
}

/// The store of a region, and where its machines are.
#[derive(Debug)]
pub(super) struct Place {
    /// Short name of the region.
    pub slug: String,
    /// Its directory on this host.
    pub directory: PathBuf,
    /// Its images.
    pub store: Store,
}

impl Place {
    /// All images, if the store is really there: a directory that is not mounted, or a bucket that
    /// does not answer, says nothing about what is lost.
    pub async fn list(&self, wanted: bool) -> anyhow::Result<Vec<Stored>> {
        let images = self.directory.join("images");
        if !self.store.is_bucket() && !images.is_dir() {
            if wanted {
                bail!("{} does not exist; is it mounted?", images.display());
            }
            return Ok(Vec::new());
        }
        self.store.list().await
    }

    /// Where its machines lie.
    pub fn machines(&self) -> PathBuf {
        self.directory.join("vms")
    }
}

/// Whether the service will be able to read what this process writes.
///
/// # Errors
/// When this is root, and the data belong to another user.
pub(super) fn check_user(data: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = fs::metadata(data) else {
        return Ok(()); // It will be made.
    };
    let owner = metadata.uid();
    if rustix::process::geteuid().is_root() && owner != 0 {
        bail!(
            "{} belongs to user {owner}, and the service could not read what root writes there; run \
             this as that user, for example by `runuser -u abbild -- abbild admin …`",
            data.display()
        );
    }
    Ok(())
}

/// What is in a directory; nothing if there is none.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Operator {
    /// The stores of all configured regions.
    ///
    /// # Errors
    /// When the settings of a bucket are wrong.
    pub(super) fn places(&self) -> anyhow::Result<Vec<Place>> {
        let place = |region: &RegionConfig| {
            let directory = self.config.region_directory(region);
            // As the service does it: names within must be absolute.
            let directory = std::path::absolute(directory)?;
            Ok(Place {
                slug: region.slug.clone(),
                store: Store::attach(&directory, region.s3.as_ref())?,
                directory,
            })
        };
        self.config.regions.iter().map(place).collect()
    }

    /// Where the files of uploads are.
    pub(super) fn uploads(&self) -> PathBuf {
        self.config.shared().join("uploads")
    }

    /// What is below the data directory.
    pub(super) fn data(&self) -> &Path {
        &self.config.data
    }
}
