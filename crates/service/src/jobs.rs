//! Workers: they carry out actions, one at a time each, and never lose one.
//!
//! A worker claims the oldest ready action of its kind by a lease in the database and renews it
//! while it works. A job is written so that running it again from the start ends in the same
//! state; after a crash the lease is released at the next start, or runs out and another process
//! takes the job, and it begins anew. A process that was only slow notices before it changes
//! anything (`Service::write_for`). A job that fails by no fault of its input is put off and tried
//! again ([`retry`]); any other failure moves its image or droplet, and the action, to the failed
//! state with the reason, in one transaction.
//!
//! ```text
//!             claim                    commit of the job
//!   ready ──────────▶ leased ───────────────────────────▶ completed
//!     ▲                 │ └── error ─▶ errored(reason)
//!     └─ crash, restart ┘     (also after MAX_ATTEMPTS crashes)
//!        our own fault
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use abbild_api::{DropletStatus, RegionCopyStatus, Stage};
use anyhow::{Context, bail};

use tokio::task::JoinSet;
use tracing::Instrument;

use crate::db::action::{ActionRow, MAX_ATTEMPTS};
use crate::db::{self, droplet, image};
use crate::retry::{self, Final};
use crate::telemetry::{self, StageClock};
use crate::{Service, fetch, import, machine, probe, region, removal};

/// How long a worker waits for a job to be announced. The timeout finds what nobody here
/// announces: jobs whose lease ran out, and those that another process was asked for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a job is given beside its action: where to report progress, and whether to stop.
#[derive(Debug, Clone, Default)]
pub struct JobContext {
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
    stage: Arc<Mutex<Option<StageClock>>>,
    /// Becomes true when the image or machine is deleted, and when the service is being stopped.
    pub cancel: Arc<AtomicBool>,
}

impl JobContext {
    /// Reports how far the job is.
    pub fn progress(&self, progress: abbild_convert::Progress) {
        self.done.store(progress.done, Ordering::Relaxed);
        self.total
            .store(progress.total.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// When the image or machine was deleted, or the service is being stopped.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.cancel.load(Ordering::Relaxed) {
            true => bail!("the job was called off"),
            false => Ok(()),
        }
    }

    /// A stage of an import begins, at zero; the one before is over.
    pub fn begin_stage(&self, stage: Stage) {
        self.end_stage(Some(StageClock::begin(db::word(stage))));
        self.reset();
    }

    fn end_stage(&self, next: Option<StageClock>) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(over) = std::mem::replace(&mut *stage, next) {
            over.end(self.done.load(Ordering::Relaxed));
        }
    }

    /// A new step begins at zero.
    pub fn reset(&self) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
    }

    /// Bytes that are dealt with, and how many there are; 0 if that is not known.
    pub fn snapshot(&self) -> (i64, i64) {
        let load = |a: &AtomicU64| db::sql_size(a.load(Ordering::Relaxed));
        (load(&self.done), load(&self.total))
    }
}

/// Starts the workers: few for images, whose work is heavy, more for machines. Fetches wait for
/// others most of the time, and have workers of their own to keep nothing else waiting; so have probes,
/// which take minutes. The workers end when the service is being stopped.
pub fn start(service: &Arc<Service>) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let fetches = service.config.fetch.concurrent;
    let probes = service.config.probe.concurrent;
    let kinds = [
        ("image", 2),
        ("fetch", fetches),
        ("probe", probes),
        ("droplet", 4),
    ];
    for (jobs, count) in kinds {
        for _ in 0..count {
            workers.spawn(work(service.clone(), jobs));
        }
    }
    workers
}

/// Waits until no job runs here any more, but not for longer than `limit`, and gives back what is
/// then still held, so that another process goes on with it at once.
pub async fn drain(service: &Service, mut workers: JoinSet<()>, limit: Duration) {
    let all = async {
        // Once more and again: a job may have begun while the others were told.
        while !workers.is_empty() {
            service.cancel_all();
            let next = workers.join_next();
            let _ = tokio::time::timeout(Duration::from_millis(200), next).await;
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!("jobs still run; they begin again elsewhere or at the next start");
    }
    let released = async {
        let mut tx = service.db.write().await?;
        let count = db::action::release_of(&mut tx, &service.instance).await?;
        tx.commit().await?;
        db::Result::Ok(count)
    };
    match released.await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "gave jobs back"),
        Err(error) => tracing::error!(%error, "giving jobs back failed; their leases run out"),
    }
}

async fn work(service: Arc<Service>, jobs: &'static str) {
    while !service.drain.is_draining() {
        let woken = service.wake(jobs).notified();
        match claim(&service, jobs).await {
            Ok(Some(action)) => execute(&service, action).await,
            Ok(None) => {
                tokio::select! {
                    _ = tokio::time::timeout(PATIENCE, woken) => {}
                    () = service.drain.draining() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "claiming a job failed");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn claim(service: &Service, jobs: &str) -> db::Result<Option<ActionRow>> {
    if !db::action::any_ready(service.db.read(), jobs).await? {
        return Ok(None);
    }
    let (instance, node) = (&service.instance, &service.node);
    let mut tx = service.db.write().await?;
    let action = match jobs {
        "fetch" => {
            let per_account = service.config.fetch.concurrent_per_account;
            db::action::claim_fetch(&mut tx, instance, per_account).await?
        }
        "probe" => db::action::claim_probe(&mut tx, instance).await?,
        jobs => db::action::claim(&mut tx, jobs, instance, node).await?,
    };
    let runs_here = |action: &ActionRow| service.cancels().contains_key(&action.id);
    if action.as_ref().is_some_and(runs_here) {
        // Its lease ran out because the database was away, or the process stood still. Whoever does it
        // renews the lease within seconds, and nobody is to do it beside them.
        return Ok(None);
    }
    if let Some(action) = &action
        && action.resource_type == "droplet"
    {
        droplet::settle(&mut tx, action.resource_id, node).await?;
    }
    tx.commit().await?;
    Ok(action)
}

async fn execute(service: &Arc<Service>, action: ActionRow) {
    let span = tracing::info_span!(
        "job",
        action.id,
        action.kind,
        resource = action.resource_type,
        resource.id = action.resource_id,
        region = action.region
    );
    carry_out(service, &action).instrument(span).await;
}

async fn carry_out(service: &Arc<Service>, action: &ActionRow) {
    let job = JobContext {
        cancel: service.cancel_flag(action),
        ..JobContext::default()
    };
    let ticker = tokio::spawn(tick(service.clone(), action.id, job.clone()).in_current_span());
    tracing::info!("job begins");
    let begun = Instant::now();
    let result = dispatch(service, action, &job).await;
    ticker.abort();
    job.end_stage(None);
    service.drop_cancel_flag(action);
    let outcome = match result {
        Ok(()) => {
            tracing::info!("job is done");
            "done"
        }
        // Most likely it stopped because it was told to. It begins again, so nothing is lost if
        // there was another reason.
        Err(error) if service.drain.is_draining() => {
            let reason = format!("{error:#}");
            tracing::info!(reason, "job is given back, the service is being stopped");
            "given_back"
        }
        Err(error) => {
            let settled = settle(service, action, &error).await;
            settled.unwrap_or_else(|error| {
                // The lease runs out and the job is tried again.
                tracing::error!(%error, "recording the failure failed");
                "failed"
            })
        }
    };
    let kind = format!("{}.{}", action.resource_type, action.kind);
    telemetry::job(kind, outcome, begun.elapsed());
}

async fn dispatch(
    service: &Arc<Service>,
    action: &ActionRow,
    job: &JobContext,
) -> anyhow::Result<()> {
    if action.attempts > MAX_ATTEMPTS && !retry::is_tried_for_ever(action) {
        // Other failures of a snapshot have cleared away what it left themselves.
        if action.kind == "snapshot"
            && let Err(error) = machine::forget_snapshot(service, action).await
        {
            tracing::warn!(%error, "the copy of a snapshot that is given up stays for now");
        }
        bail!(Final::new(format!(
            "the service stopped {MAX_ATTEMPTS} times while it worked on this"
        )));
    }
    match (action.resource_type.as_str(), action.kind.as_str()) {
        ("image", "create") if action.is_fetch() => fetch::run(service, action, job).await,
        ("image", "create") => import::run(service, action, job).await,
        ("image", "transfer") => region::transfer(service, action, job).await,
        ("image", "probe") => probe::run(service, action, job).await,
        ("droplet", "create") => machine::create(service, action).await,
        ("droplet", "destroy") => machine::destroy(service, action).await,
        ("droplet", _) => machine::act(service, action, job).await,
        (resource, kind) => bail!(Final::new(format!(
            "no worker knows how to {kind} an {resource}"
        ))),
    }
}

/// Renews the lease and publishes progress while a job runs.
async fn tick(service: Arc<Service>, action: i64, job: JobContext) {
    let mut last = (-1, -1);
    let mut quiet = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = job.snapshot();
        quiet += 1;
        if now == last && quiet < 10 {
            continue;
        }
        (last, quiet) = (now, 0);
        let renewed = async {
            let mut tx = service.db.write().await?;
            let progress = (now != (0, 0)).then_some(now);
            let held = db::action::renew(&mut tx, action, &service.instance, progress).await?;
            tx.commit().await?;
            db::Result::Ok(held)
        };
        match renewed.await {
            Ok(true) => {}
            // Deleted meanwhile, or taken over: what the job still did would be in vain.
            Ok(false) => job.cancel.store(true, Ordering::Relaxed),
            Err(error) => tracing::error!(%error, "renewing a lease failed"),
        }
    }
}

/// Puts a failed job off, or lets it fail; which of the two.
async fn settle(
    service: &Arc<Service>,
    action: &ActionRow,
    error: &anyhow::Error,
) -> anyhow::Result<&'static str> {
    if retry::postpone(service, action, error).await? {
        return Ok("postponed");
    }
    let mut reason = format!("{error:#}");
    if action.failures > 0 && !error.is::<Final>() {
        reason = format!("{reason} (tried {} times)", action.failures + 1);
    }
    tracing::warn!(reason, "job failed");
    fail(service, action, &reason).await?;
    Ok("failed")
}

/// Moves everything that a failed job was about to its failed state.
async fn fail(service: &Arc<Service>, action: &ActionRow, reason: &str) -> anyhow::Result<()> {
    let mut tx = service.db.write().await?;
    if !db::action::is_held(&mut tx, action.id, &service.instance).await? {
        // Whoever called it off, or took it over, moves everything else.
        return Ok(());
    }
    let id = action.resource_id;
    let mut upload = None;
    let mut digest = None;
    match (action.resource_type.as_str(), action.kind.as_str()) {
        ("image", "create") => {
            upload = image::get(&mut tx, id).await?.upload_id;
            if let Some(upload) = &upload {
                db::upload::delete(&mut tx, upload).await?;
            }
            image::fail(&mut tx, id, reason).await?;
            db::action::finish(&mut tx, action.id, Some(reason)).await?;
            // The further regions that waited for this import.
            db::action::fail_open(&mut tx, "image", id, "the import failed").await?;
        }
        ("image", "probe") => {
            db::probe::forget(&mut tx, action.id).await?;
            db::action::finish(&mut tx, action.id, Some(reason)).await?;
        }
        ("image", _) => {
            let region = action
                .region
                .as_deref()
                .context("a transfer names a region")?;
            image::move_region(&mut tx, id, region, RegionCopyStatus::Failed, Some(reason)).await?;
            db::action::finish(&mut tx, action.id, Some(reason)).await?;
        }
        // It is off, or else would be found on by the next attempt.
        ("droplet", "create" | "power_on") => {
            droplet::set_status(&mut tx, id, DropletStatus::Off, Some(reason)).await?;
            db::action::finish(&mut tx, action.id, Some(reason)).await?;
        }
        ("droplet", "snapshot") => {
            if let Some(image) = image::unfinished_snapshot(&mut *tx, id).await? {
                image::give_up(&mut tx, image, reason).await?;
                digest = image::get(&mut tx, image).await?.digest;
            }
            db::action::finish(&mut tx, action.id, Some(reason)).await?;
        }
        _ => db::action::finish(&mut tx, action.id, Some(reason)).await?,
    }
    match action.resource_type.as_str() {
        "image" => digest = image::get(&mut tx, id).await?.digest,
        _ => digest = droplet::give_up_next(&mut tx, id).await?.or(digest),
    }
    tx.commit().await?;
    if let Some(upload) = upload {
        service.uploads.remove_file(&upload)?;
    }
    // What was stored already is perhaps nobody's now.
    removal::remove_later(service, digest);
    Ok(())
}
