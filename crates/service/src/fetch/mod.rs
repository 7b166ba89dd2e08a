//! Import by URL: the service fetches the bytes of an image itself.
//!
//! A fetch is the first step of an image's `create`, with workers of its own, so that slow servers
//! keep no import waiting. It fills the file of an upload that belongs to the image; with the last
//! byte the action is passed on to a worker for imports, and the rest is as with any upload.
//!
//! ```text
//!   receiving ─▶ queued ─▶ … (see `import`)
//!     │   ▲
//!     │   └─ again after a pause, from the last synced byte on
//!     └─▶ failed(reason)
//! ```
//!
//! - [`target`] says which URLs are taken, [`address`] which addresses: the URL is a customer's,
//!   and the service stands inside the operator's network.
//! - [`web`] makes one request and follows redirections; [`answer`] understands what comes back.
//! - [`receive`] writes it down. Bytes are counted once they are synced, together with what names
//!   the version of the file they are of. After a crash, or when a connection broke, that version
//!   is asked for from the counted byte on (`Range` with `If-Range`); from a server that cannot do
//!   so, or has another version by now, the file is fetched from the start.
//! - [`fault`] says what is final and what may pass; [`Patience`] how long it is borne with.
//!
//! `HEAD` is never asked, names and queries mean nothing, and content is told by its bytes alone.

mod address;
mod answer;
mod config;
mod fault;
mod job;
mod page;
mod receive;
pub mod target;
mod web;

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use reqwest::Url;

use crate::Service;
use crate::db::action::ActionRow;
use crate::db::from_sql_size;
use crate::jobs::JobContext;
use crate::uploads::Writing;
use answer::Answer;
pub use config::FetchConfig;
use fault::Fault;
use job::Job;
use web::Resume;
pub use web::Web;

/// Before the second attempt; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A server may ask for so much.
const LONGEST_WISH: Duration = Duration::from_secs(600);

/// Fetches what the `create` of an image is waiting for.
///
/// # Errors
/// With the reason for its owner, when it cannot be fetched.
pub async fn run(
    service: &Arc<Service>,
    action: &ActionRow,
    context: &JobContext,
) -> anyhow::Result<()> {
    match fetch(service, action, context).await {
        Ok(()) => Ok(()),
        Err(Fault::Lost) => {
            tracing::info!(action.id, "the fetch is no longer ours to carry out");
            Ok(())
        }
        Err(Fault::Hopeless(reason)) => bail!("{reason}"),
        Err(Fault::Final(reason) | Fault::Passing { reason, .. } | Fault::StartOver(reason)) => {
            bail!("the image could not be fetched: {reason}")
        }
    }
}

async fn fetch(
    service: &Arc<Service>,
    action: &ActionRow,
    context: &JobContext,
) -> Result<(), Fault> {
    let _writing = lock(&Job::find(service, action, context).await?).await?;
    // Only now nobody else moves it.
    let mut job = Job::find(service, action, context).await?;
    let url = Url::parse(&job.row.url)
        .map_err(|_| Fault::Final("the URL that was kept is none".to_owned()))?;
    let mut patience = Patience::new(&service.config.fetch, &job);
    loop {
        match attempt(&mut job, &url).await {
            Ok(true) => return job.hand_over().await,
            // A part that ended where it said it would.
            Ok(false) if patience.has_gained(&job) => {}
            Ok(false) => {
                let fault = Fault::passing("the server keeps sending nothing");
                pause(&job, patience.next(&job, fault)?).await?;
            }
            Err(fault @ (Fault::Final(_) | Fault::Hopeless(_) | Fault::Lost)) => return Err(fault),
            Err(fault) => {
                if matches!(fault, Fault::StartOver(_)) {
                    job.row.validator = None;
                }
                pause(&job, patience.next(&job, fault)?).await?;
            }
        }
    }
}

/// The file has one writer, as that of any upload. A process that was stopped while it fetched, and
/// whose lease has run out, keeps it until it goes on or is killed.
async fn lock(job: &Job) -> Result<Writing, Fault> {
    let uploads = &job.service.uploads;
    loop {
        let claimed = tokio::select! {
            claimed = uploads.take_over(&job.row.upload_id) => claimed,
            () = job.cancelled() => return Err(Fault::Lost),
        };
        match claimed {
            Ok(Some(writing)) => return Ok(writing),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(job.action, %error, "locking an upload failed");
                pause(job, FIRST_PAUSE).await?;
            }
        }
    }
}

/// Asks once, and receives what comes. Returns whether everything is there.
async fn attempt(job: &mut Job, url: &Url) -> Result<bool, Fault> {
    let resume = resume(job);
    let service = job.service.clone();
    let asked = service.web.get(url, resume.as_ref(), job.verified);
    let (host, mut response) = tokio::select! {
        answer = asked => answer?,
        () = job.cancelled() => return Err(Fault::Lost),
    };
    let part = match answer::read(&host, &mut response, resume.as_ref()).await? {
        Answer::Complete => return Ok(true),
        Answer::Bytes(part) => part,
    };
    receive::body(job, &host, response, part).await?;
    Ok(job
        .row
        .total_bytes
        .is_none_or(|total| total == job.row.received_bytes))
}

/// Where to go on, if that is possible.
fn resume(job: &Job) -> Option<Resume> {
    let validator = job.row.validator.clone()?;
    let offset = from_sql_size(job.row.received_bytes);
    (offset > 0).then_some(Resume { offset, validator })
}

/// Waits, unless the image is deleted meanwhile.
async fn pause(job: &Job, pause: Duration) -> Result<(), Fault> {
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = job.cancelled() => Err(Fault::Lost),
    }
}

/// How often and how long failures are borne with. What counts is whether the fetch gets further
/// than it ever was: a server that breaks off a hundred times in a large file is borne with, one
/// that begins again and again is not.
#[derive(Debug)]
struct Patience {
    retries: u32,
    /// Bytes that an attempt must bring for its failure not to count.
    worth: u64,
    farthest: u64,
    failures: u32,
}

impl Patience {
    fn new(config: &FetchConfig, job: &Job) -> Self {
        Self {
            retries: config.retries,
            worth: config
                .minimum_rate
                .saturating_mul(config.stall_seconds)
                .max(1),
            farthest: from_sql_size(job.row.received_bytes),
            failures: 0,
        }
    }

    /// Whether more is there than ever was; notes how much.
    fn has_gained(&mut self, job: &Job) -> bool {
        let received = from_sql_size(job.row.received_bytes);
        let gained = received.saturating_sub(self.farthest) >= self.worth;
        self.farthest = self.farthest.max(received);
        gained
    }

    /// After `fault`: how long to wait before the next attempt.
    ///
    /// # Errors
    /// With the fault, if it is the last.
    fn next(&mut self, job: &Job, fault: Fault) -> Result<Duration, Fault> {
        let (reason, wish) = match fault {
            Fault::Passing { reason, wait } => (reason, wait),
            Fault::StartOver(reason) => (reason, None),
            fault => return Err(fault),
        };
        if self.has_gained(job) {
            self.failures = 0;
        }
        self.failures += 1;
        if self.failures > self.retries {
            return Err(Fault::Final(format!(
                "{reason} (attempt {} without progress)",
                self.failures
            )));
        }
        job.check_time()?;
        tracing::info!(image.id = job.image, reason, "a fetch is interrupted");
        let doubled = FIRST_PAUSE * 2_u32.saturating_pow((self.failures - 1).min(16));
        let wish = wish.unwrap_or(Duration::ZERO).min(LONGEST_WISH);
        Ok(doubled.min(LONGEST_PAUSE).max(wish))
    }
}
