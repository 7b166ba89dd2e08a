//! Writing the body of a request to an upload, whatever protocol it came by.
//!
//! Every so many bytes there is a checkpoint: the file is synced and the bytes are counted, while
//! further bytes arrive. What is counted is never taken back, so a body with a checksum is counted
//! only when its checksum was right. What arrived before a connection broke is kept.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use abbild_guest::{Container, Report};
use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use metrics::counter;
use tokio::task::JoinHandle;

use super::super::{ApiError, ApiResult};
use super::{headers, refuse};
use crate::Service;
use crate::db::sql_size;
use crate::db::upload::UploadRow;
use crate::import::{self, early};
use crate::telemetry::RECEIVED_BYTES;
use crate::uploads::checksum::{Checksum, Hasher};
use crate::uploads::ledger::{Entry, Recorded};
use crate::uploads::sink::Sink;
use crate::uploads::{Writing, capacity};

/// How much may have to be sent again after a crash, about.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// How long a client may send nothing.
const STALL: Duration = Duration::from_secs(60);

/// How a body is to be taken.
#[derive(Debug, Default)]
pub struct Terms {
    /// The length of the whole upload, if this request says it for the first time.
    pub length: Option<u64>,
    /// The checksum of the body.
    pub checksum: Option<Checksum>,
    /// Whether a checksum follows the body.
    pub checksum_follows: bool,
    /// Whether the end of the body is the end of the upload, if its length is not known.
    pub ends_upload: bool,
}

/// Receives in a task of its own, because the future of a request is dropped when its connection
/// breaks. How many bytes the upload has then.
pub async fn receive(
    service: &Arc<Service>,
    row: UploadRow,
    body: Body,
    terms: Terms,
    writing: Writing,
) -> ApiResult<u64> {
    let service = service.clone();
    let task = async move {
        let mut receiver = Receiver::open(service, row, terms).await?;
        receiver.run(body, &writing).await
    };
    tokio::spawn(task).await.map_err(ApiError::internal)?
}

struct Receiver {
    service: Arc<Service>,
    row: UploadRow,
    terms: Terms,
    sink: Sink,
    /// Bytes that were taken from the body, and those before.
    received: u64,
    /// Bytes up to the last checkpoint.
    counted: u64,
    /// With so many bytes the image is looked at again.
    next_look: Option<u64>,
    /// The checkpoint that is under way.
    checkpoint: Option<JoinHandle<ApiResult<()>>>,
}

impl Receiver {
    async fn open(service: Arc<Service>, row: UploadRow, terms: Terms) -> ApiResult<Self> {
        let received = row.received();
        let hasher = terms.checksum.as_ref().map(Checksum::hasher);
        let sink = Sink::open(&service.uploads, &row.id, received, hasher)
            .await
            .map_err(|e| ApiError::writing(&e))?;
        // The first bytes of a part are not those of an image.
        let next_look = match row.is_partial() {
            true => None,
            false => early::next_look(received),
        };
        Ok(Self {
            service,
            row,
            terms,
            sink,
            received,
            counted: received,
            next_look,
            checkpoint: None,
        })
    }

    fn length(&self) -> Option<u64> {
        self.row.length().or(self.terms.length)
    }

    /// Whether nothing may be counted before the end of the body.
    fn is_checked(&self) -> bool {
        self.terms.checksum.is_some() || self.terms.checksum_follows
    }

    async fn run(&mut self, body: Body, writing: &Writing) -> ApiResult<u64> {
        let outcome = match self.take(body, writing).await {
            Ok(trailers) => self.compare(trailers.as_ref()).await,
            Err(error) => Err(error),
        };
        if self.row.failure.is_some() {
            return outcome.map(|()| self.received);
        }
        let kept = match outcome.is_err() && self.is_checked() {
            true => self.forget_body().await,
            false => self.keep(outcome.is_ok()).await,
        };
        outcome.and(kept).map(|()| self.received)
    }

    /// The last checkpoint of this request; `whole` if the body came to its end.
    async fn keep(&mut self, whole: bool) -> ApiResult<()> {
        if whole && self.terms.ends_upload && self.length().is_none() {
            self.terms.length = Some(self.received);
        }
        if self.length() != Some(self.received) && self.next_look.is_some() {
            self.look().await?;
        }
        self.settle().await?;
        self.begin_checkpoint().await?;
        self.settle().await
    }

    /// Takes the body to its end, and returns its trailers.
    async fn take(&mut self, mut body: Body, writing: &Writing) -> ApiResult<Option<HeaderMap>> {
        let mut session = self.service.drain.session();
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(STALL, body.frame()) => frame,
                () = writing.wanted() => {
                    return Err(ApiError::conflict("a newer request goes on with this upload"));
                }
                () = session.draining() => return Err(ApiError::stopping()),
            };
            let Ok(frame) = frame else {
                return Err(ApiError::bad_request(format!(
                    "nothing was sent for {} seconds; what arrived is kept",
                    STALL.as_secs()
                )));
            };
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame =
                frame.map_err(|e| ApiError::bad_request(format!("the body broke off: {e}")))?;
            match frame.into_data() {
                Ok(bytes) => self.take_piece(bytes).await?,
                Err(frame) => return Ok(frame.into_trailers().ok()),
            }
        }
    }

    async fn take_piece(&mut self, bytes: Bytes) -> ApiResult<()> {
        let end = self.received + bytes.len() as u64;
        let max = self.service.config.limits.max_upload_size;
        match self.length() {
            Some(length) if end > length => {
                return Err(ApiError::too_large(format!(
                    "the body goes beyond the upload's length of {length} bytes"
                )));
            }
            None if end > max => return Err(super::tus::too_large(max, end)),
            _ => {}
        }
        self.sink
            .push(bytes)
            .await
            .map_err(|e| ApiError::writing(&e))?;
        self.received = end;
        if self.next_look.is_some_and(|look| end >= look) {
            self.look().await?;
        }
        if end - self.counted >= CHECKPOINT_BYTES && !self.is_checked() {
            capacity::check_running(&self.service)?;
            self.settle().await?;
            self.begin_checkpoint().await?;
        }
        Ok(())
    }

    /// Syncs what is here, and counts it, while more arrives.
    async fn begin_checkpoint(&mut self) -> ApiResult<()> {
        let written = self.sink.flush().await;
        let received = written.map_err(|e| ApiError::writing(&e))?;
        let file = self.sink.file().map_err(|e| ApiError::writing(&e))?;
        counter!(RECEIVED_BYTES).increment(received - self.counted);
        let before = std::mem::replace(&mut self.counted, received);
        let entry = Entry {
            id: self.row.id.clone(),
            before: sql_size(before),
            received: sql_size(received),
            length: self.terms.length.map(sql_size),
            complete: self.length() == Some(received) && !self.row.is_partial(),
        };
        self.checkpoint = Some(tokio::spawn(count(self.service.clone(), file, entry)));
        Ok(())
    }

    /// Waits for the checkpoint that is under way.
    async fn settle(&mut self) -> ApiResult<()> {
        match self.checkpoint.take() {
            Some(checkpoint) => checkpoint.await.map_err(ApiError::internal)?,
            None => Ok(()),
        }
    }

    /// Looks at what is here of the image; refuses the upload if it is hopeless.
    async fn look(&mut self) -> ApiResult<()> {
        let written = self.sink.flush().await;
        let have = written.map_err(|e| ApiError::writing(&e))?;
        self.next_look = early::next_look(have);
        let file = self.sink.file().map_err(|e| ApiError::writing(&e))?;
        let (total, context) = (
            self.length(),
            import::check_context(&self.service, Container::default()),
        );
        let look = move || early::refusal(&file, have, total, context);
        let report = self.service.uploads.on_disk(look).await;
        match report.map_err(|e| ApiError::writing(&e))? {
            Some(report) => Err(self.refuse(&report).await?),
            None => Ok(()),
        }
    }

    async fn refuse(&mut self, report: &Report) -> ApiResult<ApiError> {
        let reason = import::refusal(report);
        self.settle().await?;
        refuse(&self.service, &self.row.id, &reason, Some(report)).await?;
        self.row.failure = Some(reason.clone());
        Ok(ApiError::unprocessable(reason))
    }

    /// Compares the checksum of the body, before or behind it, with what arrived.
    async fn compare(&mut self, trailers: Option<&HeaderMap>) -> ApiResult<()> {
        let written = self.sink.flush().await;
        written.map_err(|e| ApiError::writing(&e))?;
        if self.terms.checksum_follows {
            let trailer = trailers.map(headers::checksum).transpose()?.flatten();
            let checksum = trailer.ok_or_else(|| {
                ApiError::bad_request("the trailer `Upload-Checksum` was announced and is missing")
            })?;
            let hasher = self.hash_again(checksum.hasher()).await?;
            return checksum.verify(hasher).map_err(ApiError::checksum_mismatch);
        }
        match (&self.terms.checksum, self.sink.take_hasher()) {
            (Some(checksum), Some(hasher)) => {
                checksum.verify(hasher).map_err(ApiError::checksum_mismatch)
            }
            _ => Ok(()),
        }
    }

    /// Feeds the body, which is in the file, to `hasher`.
    async fn hash_again(&self, mut hasher: Hasher) -> ApiResult<Hasher> {
        let file = self.sink.file().map_err(|e| ApiError::writing(&e))?;
        let (from, to) = (self.counted, self.received);
        let hash = move || {
            let mut buffer = vec![0; 1 << 20];
            let mut at = from;
            while at < to {
                let len = usize::try_from(to - at).map_or(buffer.len(), |l| l.min(buffer.len()));
                file.read_exact_at(&mut buffer[..len], at)?;
                hasher.update(&buffer[..len]);
                at += len as u64;
            }
            Ok(hasher)
        };
        let hashed = self.service.uploads.on_disk(hash).await;
        hashed.map_err(|e| ApiError::writing(&e))
    }

    /// Throws away what has not been counted.
    async fn forget_body(&mut self) -> ApiResult<()> {
        let cut = self.sink.cut(self.counted).await;
        cut.map_err(|e| ApiError::writing(&e))?;
        self.received = self.counted;
        // The length was said together with bytes that were not what they should be.
        self.terms.length = None;
        Ok(())
    }
}

async fn count(service: Arc<Service>, file: File, entry: Entry) -> ApiResult<()> {
    let synced = service.uploads.on_disk(move || file.sync_data()).await;
    synced.map_err(|e| ApiError::writing(&e))?;
    match service.uploads.ledger.record(&service, entry).await? {
        Recorded::Gone => Err(ApiError::not_found()),
        Recorded::Counted | Recorded::Ready => Ok(()),
    }
}
