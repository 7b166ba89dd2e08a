//! A bucket of an S3 service. The key of an image is `images/SHA256.qcow2`, after a prefix.
//!
//! Large images are sent in parts, which the service joins when the last has come, so a name that
//! exists is always that of a whole image. Requests are tried again for a while, with growing
//! pauses, and one that stalls is given up: the job then fails with the reason, and nothing waits
//! for ever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
    WriteMultipart,
};

use super::Stored;
use super::parts::{PART_BYTES, Parts};
use crate::config::S3Config;
use crate::jobs::JobContext;

/// Parts on their way at the same time. With the one that is being read, this bounds the memory
/// that a copy takes: 64 MiB.
const PARTS_AT_ONCE: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SUFFIX: &str = ".qcow2";

/// A bucket; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    images: Key,
}

impl Bucket {
    /// Takes the settings; nothing is sent yet.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn new(config: &S3Config) -> anyhow::Result<Self> {
        let request = Duration::from_secs(config.request_seconds);
        let options = ClientOptions::new()
            .with_allow_http(config.endpoint.starts_with("http://"))
            .with_connect_timeout(CONNECT_TIMEOUT.min(request))
            .with_timeout(request);
        let retry = RetryConfig {
            // The time is what ends it.
            max_retries: usize::MAX,
            retry_timeout: Duration::from_secs(config.patience_seconds),
            ..RetryConfig::default()
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(&config.endpoint)
            .with_region(&config.region)
            .with_bucket_name(&config.bucket)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(config.secret_access_key.expose())
            .with_client_options(options)
            .with_retry(retry)
            .build()
            .with_context(|| format!("the settings of the bucket `{}`", config.bucket))?;
        Ok(Self {
            store: Arc::new(store),
            images: Key::from(config.prefix.as_str()).join("images"),
        })
    }

    /// Sends an image.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or the service does not take it.
    pub async fn put(&self, digest: &str, mut parts: Parts<'_>) -> anyhow::Result<()> {
        let key = self.key(digest);
        let context = || format!("sending {key} to the bucket");
        if parts.size() > PART_BYTES as u64 {
            return self.put_parts(&key, parts).await.with_context(context);
        }
        let mut payload = Vec::new();
        while let Some(part) = parts.next().await? {
            payload.push(part);
        }
        let payload = PutPayload::from_iter(payload);
        let sent = self.store.put(&key, payload).await;
        sent.map_err(cause).with_context(context)?;
        Ok(())
    }

    async fn put_parts(&self, key: &Key, mut parts: Parts<'_>) -> anyhow::Result<()> {
        let upload = self.store.put_multipart(key).await.map_err(cause)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let all = async {
            while let Some(part) = parts.next().await? {
                let free = writer.wait_for_capacity(PARTS_AT_ONCE).await;
                free.map_err(cause)?;
                writer.put(part);
            }
            anyhow::Ok(())
        };
        match all.await {
            Ok(()) => writer.finish().await.map_err(cause)?,
            Err(error) => {
                // Parts without a name would be kept, and cost.
                if let Err(error) = writer.abort().await {
                    tracing::warn!(%key, %error, "the bucket keeps the parts of a broken copy");
                }
                return Err(error);
            }
        };
        Ok(())
    }

    /// Fetches an image.
    ///
    /// # Errors
    /// When it is not there, or the service does not answer.
    pub async fn get<'a>(
        &'a self,
        digest: &'a str,
        job: &'a JobContext,
    ) -> anyhow::Result<Parts<'a>> {
        let key = self.key(digest);
        let head = self.store.head(&key).await;
        let size = head
            .map_err(cause)
            .with_context(|| format!("fetching {key} from the bucket"))?
            .size;
        let parts = futures_util::stream::iter((0..size).step_by(PART_BYTES))
            .map(move |start| {
                let key = key.clone();
                async move {
                    let range = start..size.min(start + PART_BYTES as u64);
                    let part = self.store.get_range(&key, range).await;
                    part.map_err(cause)
                        .with_context(|| format!("fetching {key} from the bucket"))
                }
            })
            .buffered(PARTS_AT_ONCE);
        Ok(Parts::new(parts.boxed(), size, digest, job))
    }

    /// Whether an image is there.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn contains(&self, digest: &str) -> anyhow::Result<bool> {
        let key = self.key(digest);
        match self.store.head(&key).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => {
                Err(cause(error)).with_context(|| format!("looking for {key} in the bucket"))
            }
        }
    }

    /// Removes an image; one that is not there is removed already.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn remove(&self, digest: &str) -> anyhow::Result<()> {
        let key = self.key(digest);
        match self.store.delete(&key).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                Err(cause(error)).with_context(|| format!("removing {key} from the bucket"))
            }
        }
    }

    /// All images.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn list(&self) -> anyhow::Result<Vec<Stored>> {
        let objects = self.store.list(Some(&self.images));
        let objects: Vec<_> = objects
            .try_collect()
            .await
            .map_err(cause)
            .context("listing the bucket")?;
        let stored = |object: &ObjectMeta| {
            Some(Stored {
                digest: object.location.filename()?.strip_suffix(SUFFIX)?.to_owned(),
                bytes: object.size,
            })
        };
        Ok(objects.iter().filter_map(stored).collect())
    }

    fn key(&self, digest: &str) -> Key {
        self.images.clone().join(format!("{digest}{SUFFIX}"))
    }
}

/// What is at the bottom of an error. The whole of it, which names the endpoint several times, is for
/// the operator, and the reason of a failed job is for customers.
fn cause(error: Error) -> anyhow::Error {
    tracing::warn!(%error, "the bucket failed");
    let mut bottom: &dyn std::error::Error = &error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    anyhow::Error::msg(bottom.to_string())
}
