//! The image store of a region: canonical images, each named by its SHA-256.
//!
//! A store is a [`Directory`], or a bucket of an S3 service ([`bucket`]) with a directory before
//! it. In the second case the bucket is what counts, and the directory holds copies: machines need
//! a file as the backing file of their disks, and an image that was just made need not be fetched
//! again. What is in a store is never written again, and appears under its name only when it is
//! whole, verified and durable.
//!
//! Nothing here knows who needs an image: [`crate::removal`] decides what is removed.

mod bucket;
mod directory;
mod parts;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use abbild_convert::{Control, copy_verified};
use anyhow::Context;
use tempfile::NamedTempFile;

use crate::config::S3Config;
use crate::jobs::JobContext;
use crate::retry::of_convert;
use bucket::Bucket;
use directory::Directory;
use parts::Parts;

/// An image in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name: the SHA-256 that it should have.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
}

/// The store of one region; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    directory: Directory,
    bucket: Option<Bucket>,
}

impl Store {
    /// Opens the store below `directory`, creating it if need be, and drops what an interrupted
    /// writer left there. A bucket is not spoken to yet.
    ///
    /// # Errors
    /// When the directories cannot be made or emptied, or the settings of the bucket are wrong.
    pub fn open(directory: &Path, s3: Option<&S3Config>) -> anyhow::Result<Self> {
        Ok(Self {
            directory: Directory::open(directory)
                .with_context(|| format!("opening the store in {}", directory.display()))?,
            bucket: s3.map(Bucket::new).transpose()?,
        })
    }

    /// Opens a store that another process may be using: nothing is made, nothing dropped.
    ///
    /// # Errors
    /// When the settings of the bucket are wrong.
    pub fn attach(directory: &Path, s3: Option<&S3Config>) -> anyhow::Result<Self> {
        Ok(Self {
            directory: Directory::attach(directory),
            bucket: s3.map(Bucket::new).transpose()?,
        })
    }

    /// Whether the store can be read, and its directory written.
    ///
    /// # Errors
    /// With what is in the way.
    pub async fn probe(&self) -> anyhow::Result<()> {
        let directory = self.directory.clone();
        // A network filesystem that is away blocks whoever looks at it.
        tokio::task::spawn_blocking(move || directory.probe()).await??;
        if let Some(bucket) = &self.bucket {
            bucket.contains("probe").await?;
        }
        Ok(())
    }

    /// Bytes that may still be written, if that can be told: of a bucket it cannot.
    pub fn free_bytes(&self) -> Option<u64> {
        match self.bucket {
            Some(_) => None,
            None => self.directory.free_bytes(),
        }
    }

    /// A new file to write an image into. It vanishes unless it is [committed](Self::commit).
    ///
    /// # Errors
    /// Those of creating a file.
    pub fn begin(&self) -> io::Result<NamedTempFile> {
        self.directory.begin()
    }

    /// Gives a written and synced file the name `digest`. An image that is there already is kept,
    /// because the bytes are the same.
    ///
    /// # Errors
    /// When it cannot be sent or renamed, or the job is called off.
    pub async fn commit(
        &self,
        file: NamedTempFile,
        digest: &str,
        job: &JobContext,
    ) -> anyhow::Result<()> {
        if let Some(bucket) = &self.bucket
            && !bucket.contains(digest).await?
        {
            let parts = Parts::of_file(file.path(), digest, job).await?;
            bucket.put(digest, parts).await?;
        }
        self.directory.commit(file, digest)?;
        Ok(())
    }

    /// Copies the image `digest` from another store, verified, in place of one that is here already.
    /// A bucket gets the bytes without a stop on this host.
    ///
    /// # Errors
    /// When it cannot be read there or written here, is damaged, or the job is called off.
    pub async fn copy_from(
        &self,
        source: &Self,
        digest: &str,
        job: &JobContext,
    ) -> anyhow::Result<()> {
        if let Some(bucket) = &self.bucket {
            let parts = match &source.bucket {
                Some(source) => source.get(digest, job).await?,
                None => Parts::of_file(&source.directory.path(digest), digest, job).await?,
            };
            return bucket.put(digest, parts).await;
        }
        let file = match &source.bucket {
            Some(source) => {
                source
                    .get(digest, job)
                    .await?
                    .into_file(self.begin()?)
                    .await?
            }
            None => copy(&source.directory, &self.directory, digest, job).await?,
        };
        self.directory.replace(file, digest)?;
        Ok(())
    }

    /// Reads an image to its end, and returns the SHA-256 that it really has.
    ///
    /// # Errors
    /// When it cannot be read, or the job is called off.
    pub async fn sum(&self, digest: &str, job: &JobContext) -> anyhow::Result<String> {
        match &self.bucket {
            Some(bucket) => bucket.get(digest, job).await?.sum().await,
            None => self.sum_file(digest, job).await,
        }
    }

    /// As [`sum`](Self::sum), of the file on this host, which may be a mere copy.
    ///
    /// # Errors
    /// As of [`sum`](Self::sum).
    pub async fn sum_file(&self, digest: &str, job: &JobContext) -> anyhow::Result<String> {
        let path = self.directory.path(digest);
        Parts::of_file(&path, digest, job).await?.sum().await
    }

    /// Fetches the file of an image anew from the bucket, in place of the copy that is here.
    ///
    /// # Errors
    /// As of [`file`](Self::file).
    pub async fn refresh_copy(&self, digest: &str, job: &JobContext) -> anyhow::Result<()> {
        if let Some(bucket) = &self.bucket {
            let parts = bucket.get(digest, job).await?;
            let file = parts.into_file(self.begin()?).await?;
            self.directory.replace(file, digest)?;
        }
        Ok(())
    }

    /// Sends the copy on this host to the bucket anew. Returns false when there is none, or it is
    /// damaged.
    ///
    /// # Errors
    /// When it cannot be read, or the bucket does not take it.
    pub async fn send_copy(&self, digest: &str, job: &JobContext) -> anyhow::Result<bool> {
        let Some(bucket) = &self.bucket else {
            return Ok(false);
        };
        if !self.directory.contains(digest) || self.sum_file(digest, job).await? != digest {
            return Ok(false);
        }
        let parts = Parts::of_file(&self.directory.path(digest), digest, job).await?;
        bucket.put(digest, parts).await?;
        Ok(true)
    }

    /// Whether the images are kept in a bucket, and files on this host are copies.
    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// Where images are written on this host before they have their names.
    pub fn incoming(&self) -> &Path {
        self.directory.incoming()
    }

    /// Whether the image is here.
    ///
    /// # Errors
    /// When the bucket does not answer.
    pub async fn contains(&self, digest: &str) -> anyhow::Result<bool> {
        match &self.bucket {
            Some(bucket) => bucket.contains(digest).await,
            None => Ok(self.directory.contains(digest)),
        }
    }

    /// The file of the image on this host, fetched and verified first if need be. Absolute. It
    /// stays while a machine of this host needs it, and a while longer.
    ///
    /// # Errors
    /// When the image is not here, damaged, or the bucket does not answer.
    pub async fn file(&self, digest: &str) -> anyhow::Result<PathBuf> {
        if let Some(bucket) = &self.bucket {
            if self.directory.contains(digest) {
                self.directory.touch(digest)?;
            } else {
                let job = JobContext::default();
                let parts = bucket.get(digest, &job).await?;
                let file = parts.into_file(self.begin()?).await?;
                self.directory.commit(file, digest)?;
            }
        }
        Ok(self.directory.path(digest))
    }

    /// Opens [the file](Self::file). It can be read as long as it is open, whatever is removed.
    ///
    /// # Errors
    /// As of [`file`](Self::file), and those of opening.
    pub async fn open_file(&self, digest: &str) -> anyhow::Result<File> {
        let path = self.file(digest).await?;
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }

    /// Removes an image; one that is not here is removed already.
    ///
    /// # Errors
    /// When the bucket does not answer, or those of unlinking.
    pub async fn remove(&self, digest: &str) -> anyhow::Result<()> {
        if let Some(bucket) = &self.bucket {
            bucket.remove(digest).await?;
        }
        self.directory.remove(digest)?;
        Ok(())
    }

    /// All images that are here.
    ///
    /// # Errors
    /// When the bucket does not answer, or those of listing the directory.
    pub async fn list(&self) -> anyhow::Result<Vec<Stored>> {
        match &self.bucket {
            Some(bucket) => bucket.list().await,
            None => Ok(self.directory.list()?),
        }
    }

    /// Files that are mere copies of what is, or was, in a bucket.
    ///
    /// # Errors
    /// Those of listing the directory.
    pub fn copies(&self) -> io::Result<Vec<Stored>> {
        match self.bucket {
            Some(_) => self.directory.list(),
            None => Ok(Vec::new()),
        }
    }

    /// Removes one of the [`copies`](Self::copies), unless it was made or used within `idle`.
    ///
    /// # Errors
    /// Those of looking at it and unlinking.
    pub fn forget_copy(&self, digest: &str, idle: Duration) -> io::Result<()> {
        self.directory.forget(digest, idle)
    }
}

async fn copy(
    from: &Directory,
    to: &Directory,
    digest: &str,
    job: &JobContext,
) -> anyhow::Result<NamedTempFile> {
    let path = from.path(digest);
    let file = to.begin().context("creating a file in the store")?;
    let mut expected = [0; 32];
    hex::decode_to_slice(digest, &mut expected)?;
    let job = job.clone();
    tokio::task::spawn_blocking(move || {
        let from = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let progress = |p: abbild_convert::Progress| job.progress(p);
        let control = Control::none()
            .with_progress(&progress)
            .with_cancel(&job.cancel);
        copy_verified(&from, file.as_file(), &expected, &control).map_err(of_convert)?;
        Ok(file)
    })
    .await?
}
