//! An image on its way, in parts: from a file or a bucket, into a file or a bucket.
//!
//! Its digest is computed while it passes. The last part is followed by the verdict, before
//! whoever writes the image gives it its name; so each byte is read once, and a damaged image
//! never appears anywhere.

use std::path::Path;
use std::sync::atomic::Ordering;

use abbild_convert::Progress;
use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::jobs::JobContext;
use crate::retry::Final;

/// Bytes in each part but the last. S3 allows 10 000 parts, so that an image may have 160 GB.
pub const PART_BYTES: usize = 16 << 20;

/// The parts of one image.
pub struct Parts<'a> {
    stream: BoxStream<'a, anyhow::Result<Bytes>>,
    size: u64,
    digest: &'a str,
    hash: Sha256,
    done: u64,
    job: &'a JobContext,
}

impl<'a> Parts<'a> {
    /// Of an image of `size` bytes that should have the SHA-256 `digest`. What has passed is
    /// reported to the job.
    pub fn new(
        stream: BoxStream<'a, anyhow::Result<Bytes>>,
        size: u64,
        digest: &'a str,
        job: &'a JobContext,
    ) -> Self {
        Self {
            stream,
            size,
            digest,
            hash: Sha256::new(),
            done: 0,
            job,
        }
    }

    /// Of an image in a file.
    ///
    /// # Errors
    /// Those of opening it.
    pub async fn of_file(
        path: &Path,
        digest: &'a str,
        job: &'a JobContext,
    ) -> anyhow::Result<Self> {
        let context = || format!("opening {}", path.display());
        let file = File::open(path).await.with_context(context)?;
        let size = file.metadata().await.with_context(context)?.len();
        let stream = futures_util::stream::try_unfold(file, async |mut file| {
            let mut part = Vec::with_capacity(PART_BYTES);
            let mut head = (&mut file).take(PART_BYTES as u64);
            let length = head.read_to_end(&mut part).await?;
            Ok((length > 0).then(|| (Bytes::from(part), file)))
        });
        Ok(Self::new(stream.boxed(), size, digest, job))
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next part; `None` after the last, when the image has proved to be the right one.
    ///
    /// # Errors
    /// Those of reading, when the image is damaged, or the job is called off.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let part = self.pull().await?;
        if part.is_none() {
            let found = self.found();
            if found != self.digest {
                bail!(Final::new(format!(
                    "the stored image sha256:{} is damaged: it has the SHA-256 {found}; import \
                     the image again",
                    self.digest
                )));
            }
        }
        Ok(part)
    }

    /// Reads the image to its end, and returns the SHA-256 that it really has.
    ///
    /// # Errors
    /// Those of reading, and when the job is called off.
    pub async fn sum(mut self) -> anyhow::Result<String> {
        while self.pull().await?.is_some() {}
        Ok(self.found())
    }

    /// The SHA-256 of what has passed.
    fn found(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }

    /// The next part, without a verdict after the last.
    async fn pull(&mut self) -> anyhow::Result<Option<Bytes>> {
        if self.job.cancel.load(Ordering::Relaxed) {
            bail!("the job was called off");
        }
        let Some(part) = self.stream.next().await.transpose()? else {
            return Ok(None);
        };
        let (mut hash, bytes) = (std::mem::take(&mut self.hash), part.clone());
        // It takes some hundredths of a second.
        self.hash = tokio::task::spawn_blocking(move || {
            hash.update(&bytes);
            hash
        })
        .await?;
        self.done += part.len() as u64;
        self.job.progress(Progress {
            done: self.done,
            total: Some(self.size),
        });
        Ok(Some(part))
    }

    /// Writes the image into a file, and syncs it.
    ///
    /// # Errors
    /// As of [`next`](Self::next), and those of writing.
    pub async fn into_file(mut self, file: NamedTempFile) -> anyhow::Result<NamedTempFile> {
        let mut output = File::from_std(file.reopen()?);
        while let Some(part) = self.next().await? {
            output
                .write_all(&part)
                .await
                .context("writing the image to the store")?;
        }
        output.flush().await?;
        output.sync_all().await?;
        Ok(file)
    }
}
