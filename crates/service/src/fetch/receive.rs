//! From the body of an answer to a file: bytes are synced, then counted, as those of an upload.

use std::time::{Duration, Instant};

use abbild_convert::Progress;
use abbild_guest::Container;
use bytes::Bytes;
use reqwest::Response;

use super::answer::Part;
use super::fault::Fault;
use super::job::Job;
use crate::db::{from_sql_size, sql_size};
use crate::import::{self, early};
use crate::uploads::sink::Sink;

/// How much may have to be fetched again after a crash: so many bytes, or what came in that time.
const CHECKPOINT_BYTES: u64 = 64 << 20;
const CHECKPOINT_AFTER: Duration = Duration::from_secs(5);

/// The file that is being filled.
struct Filling<'j> {
    job: &'j mut Job,
    sink: Sink,
    received: u64,
    safe: u64,
    safe_at: Instant,
    /// With so many bytes the image is looked at again.
    next_look: Option<u64>,
}

/// Receives one answer to its end. What arrived before a fault is kept.
///
/// # Errors
/// If the connection broke off or became too slow, more comes than may, or it cannot be written.
pub async fn body(
    job: &mut Job,
    host: &str,
    mut response: Response,
    part: Part,
) -> Result<(), Fault> {
    job.check_size(part.total)?;
    let mut filling = Filling::open(job, part).await?;
    let outcome = filling.fill(host, &mut response).await;
    match outcome {
        // Nobody wants its bytes any longer.
        Err(fault @ (Fault::Lost | Fault::Hopeless(_))) => Err(fault),
        // What was counted last is all that is sure.
        outcome if filling.sink.has_failed() => outcome,
        outcome => {
            filling.checkpoint().await?;
            outcome
        }
    }
}

impl<'j> Filling<'j> {
    /// Begins where the answer does. That it begins anew is recorded before a byte of the new
    /// version replaces one of the old.
    async fn open(job: &'j mut Job, part: Part) -> Result<Self, Fault> {
        job.row.received_bytes = sql_size(part.start);
        job.row.total_bytes = part.total.map(sql_size);
        job.row.validator = part.validator;
        job.begin().await?;
        let uploads = &job.service.uploads;
        let sink = Sink::reopen(uploads, &job.row.upload_id, part.start)
            .await
            .map_err(|error| Fault::of_writing(&error))?;
        let mut filling = Self {
            job,
            sink,
            received: part.start,
            safe: part.start,
            safe_at: Instant::now(),
            next_look: early::next_look(part.start),
        };
        filling.show();
        Ok(filling)
    }

    async fn fill(&mut self, host: &str, response: &mut Response) -> Result<(), Fault> {
        let mut pace = Pace::new(&self.job.service.config.fetch);
        loop {
            let asked = Instant::now();
            let wait = pace.left().min(self.safe_for());
            let chunk = tokio::select! {
                chunk = tokio::time::timeout(wait, response.chunk()) => chunk,
                () = self.job.cancelled() => return Err(Fault::Lost),
            };
            pace.add(asked.elapsed(), chunk.as_ref().map_or(0, length))
                .map_err(|bytes| too_slow(host, bytes, pace.window))?;
            match chunk {
                Err(_elapsed) => {}
                Ok(Ok(Some(chunk))) => self.write(chunk).await?,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(Fault::of_request(error, host)),
            }
            if self.safe_for().is_zero() {
                self.checkpoint().await?;
                self.job.check_time()?;
                self.job.check_room()?;
            }
        }
    }

    /// How long what was received may stay as it is.
    fn safe_for(&self) -> Duration {
        match self.received - self.safe {
            0 => CHECKPOINT_AFTER,
            CHECKPOINT_BYTES.. => Duration::ZERO,
            _ => CHECKPOINT_AFTER.saturating_sub(self.safe_at.elapsed()),
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), Fault> {
        let end = self.received + chunk.len() as u64;
        self.job.check_size(Some(end))?;
        self.sink
            .push(chunk)
            .await
            .map_err(|error| Fault::of_writing(&error))?;
        self.received = end;
        self.show();
        if self.next_look.is_some_and(|look| self.received >= look) {
            self.look().await?;
        }
        Ok(())
    }

    /// Looks at what is here of the image, and ends the fetch if it is hopeless.
    async fn look(&mut self) -> Result<(), Fault> {
        let have = self.received;
        self.next_look = early::next_look(have);
        let service = self.job.service.clone();
        let total = self.job.row.total_bytes.map(from_sql_size);
        let looked = async {
            self.sink.flush().await?;
            let file = self.sink.file()?;
            let context = import::check_context(&service, Container::default());
            let look = move || early::refusal(&file, have, total, context);
            service.uploads.on_disk(look).await
        };
        let report = looked.await.map_err(|error| Fault::of_writing(&error))?;
        match report {
            Some(report) => Err(self.job.refuse(&report).await),
            None => Ok(()),
        }
    }

    /// Syncs the file, then counts the bytes.
    async fn checkpoint(&mut self) -> Result<(), Fault> {
        let uploads = self.job.service.uploads.clone();
        let synced = async {
            let written = self.sink.flush().await?;
            let file = self.sink.file()?;
            uploads.on_disk(move || file.sync_data()).await?;
            Ok(written)
        };
        let written = synced.await.map_err(|error| Fault::of_writing(&error))?;
        self.job.row.received_bytes = sql_size(written);
        self.job.record().await?;
        self.safe = self.received;
        self.safe_at = Instant::now();
        Ok(())
    }

    fn show(&mut self) {
        self.job.context.progress(Progress {
            done: self.received,
            total: self.job.row.total_bytes.map(from_sql_size),
        });
    }
}

fn length(chunk: &reqwest::Result<Option<Bytes>>) -> u64 {
    match chunk {
        Ok(Some(bytes)) => bytes.len() as u64,
        _ => 0,
    }
}

fn too_slow(host: &str, bytes: u64, window: Duration) -> Fault {
    Fault::passing(format!(
        "{host} sent only {bytes} bytes in {} seconds",
        window.as_secs()
    ))
}

/// Whether enough comes. Only the time spent waiting for the server counts.
#[derive(Debug)]
struct Pace {
    window: Duration,
    /// Bytes that a window must bring.
    wanted: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(config: &super::FetchConfig) -> Self {
        Self {
            window: Duration::from_secs(config.stall_seconds),
            wanted: config
                .minimum_rate
                .saturating_mul(config.stall_seconds)
                .max(1),
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How long to wait for the next bytes at most.
    fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// After waiting for `time`, `bytes` came. Fails at the end of a window that brought too few,
    /// with their number.
    fn add(&mut self, time: Duration, bytes: u64) -> Result<(), u64> {
        self.waited += time;
        self.bytes += bytes;
        if self.waited < self.window {
            return Ok(());
        }
        if self.bytes < self.wanted {
            return Err(self.bytes);
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_too_slow_and_a_steady_stream_is_not() {
        let config = super::super::FetchConfig {
            stall_seconds: 10,
            minimum_rate: 100,
            ..Default::default()
        };
        let mut drip = Pace::new(&config);
        for _ in 0..9 {
            assert_eq!(drip.add(Duration::from_secs(1), 1), Ok(()));
        }
        assert_eq!(drip.left(), Duration::from_secs(1));
        assert_eq!(drip.add(Duration::from_secs(1), 1), Err(10));

        let mut steady = Pace::new(&config);
        for _ in 0..100 {
            assert_eq!(steady.add(Duration::from_secs(1), 100), Ok(()));
        }
        let mut silent = Pace::new(&super::super::FetchConfig {
            minimum_rate: 0,
            ..config
        });
        assert_eq!(silent.add(Duration::from_secs(10), 0), Err(0));
    }
}
