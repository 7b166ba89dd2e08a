//! The job of a fetch: what its parts share, and what it may do only while it holds its lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use abbild_api::Stage;
use abbild_guest::Report;

use super::fault::{Fault, NO_ROOM};
use crate::Service;
use crate::db::action::{self, ActionRow};
use crate::db::fetch::{self, FetchRow};
use crate::db::{self, image};
use crate::import;
use crate::jobs::JobContext;
use crate::uploads::capacity;

/// How soon a job notices that it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// One fetch that is being carried out.
pub struct Job {
    pub service: Arc<Service>,
    pub context: JobContext,
    /// The `create` of the image.
    pub action: i64,
    pub image: i64,
    /// Whether a checksum will prove the content.
    pub verified: bool,
    /// As it is in the database, or is about to be.
    pub row: FetchRow,
}

impl Job {
    /// Finds what `action` is to fetch.
    pub async fn find(
        service: &Arc<Service>,
        action: &ActionRow,
        context: &JobContext,
    ) -> Result<Self, Fault> {
        let mut tx = service.db.write().await?;
        let image = image::get(&mut tx, action.resource_id).await?;
        // An image that was deleted meanwhile has none.
        let upload = image.upload_id.ok_or(Fault::Lost)?;
        let mut row = fetch::find(&mut *tx, &upload).await?.ok_or(Fault::Lost)?;
        row.begun_at = Some(fetch::begin(&mut tx, &upload).await?);
        tx.commit().await?;
        Ok(Self {
            service: service.clone(),
            context: context.clone(),
            action: action.id,
            image: action.resource_id,
            verified: image.checksum.is_some(),
            row,
        })
    }

    /// Records how far the fetch is. A job that has lost its lease may not.
    pub async fn record(&mut self) -> Result<(), Fault> {
        let mut tx = self.service.db.write().await?;
        let held = action::hold(&mut tx, self.action, &self.service.instance).await?;
        if !held || !fetch::advance(&mut tx, &self.row).await? {
            return Err(Fault::Lost);
        }
        tx.commit().await?;
        Ok(())
    }

    /// As [`Self::record`], at the beginning of an answer, when it is known how long the file is:
    /// the fetch begins only if there is room for all of it.
    pub async fn begin(&mut self) -> Result<(), Fault> {
        let mut tx = self.service.db.write().await?;
        let held = action::hold(&mut tx, self.action, &self.service.instance).await?;
        if !held || !fetch::advance(&mut tx, &self.row).await? {
            return Err(Fault::Lost);
        }
        if !capacity::holds(&self.service, &mut tx).await? {
            return Err(no_room());
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whether what is received may still be written.
    pub fn check_room(&self) -> Result<(), Fault> {
        match capacity::running_short(&self.service) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(no_room()),
            Err(error) => Err(Fault::of_writing(&error)),
        }
    }

    /// What is here cannot become an image: keeps the report that says so, and ends the fetch.
    pub async fn refuse(&self, report: &Report) -> Fault {
        let kept = async {
            let mut tx = self.service.db.write().await?;
            if !action::hold(&mut tx, self.action, &self.service.instance).await? {
                return Err(Fault::Lost);
            }
            import::keep_report(&mut tx, self.image, report).await?;
            tx.commit().await?;
            Ok(())
        };
        match kept.await {
            Ok(()) => Fault::Hopeless(import::refusal(report)),
            Err(fault) => fault,
        }
    }

    /// Everything is here: the import may begin, by a worker for imports.
    pub async fn hand_over(&mut self) -> Result<(), Fault> {
        self.row.total_bytes = Some(self.row.received_bytes);
        let mut tx = self.service.db.write().await?;
        let held = action::hold(&mut tx, self.action, &self.service.instance).await?;
        if !held
            || !fetch::advance(&mut tx, &self.row).await?
            || !image::set_stage(&mut tx, self.image, Stage::Queued).await?
        {
            return Err(Fault::Lost);
        }
        action::pass_on(&mut tx, self.action).await?;
        tx.commit().await?;
        self.service.announce("image");
        Ok(())
    }

    /// Whether a file of `bytes`, as far as that is known, may be fetched.
    pub fn check_size(&self, bytes: Option<u64>) -> Result<(), Fault> {
        let max = self.service.config.limits.max_upload_size;
        match bytes {
            Some(bytes) if bytes > max => Err(Fault::Final(format!(
                "the file has more than the {max} bytes that an upload may have at most"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the fetch may go on.
    pub fn check_time(&self) -> Result<(), Fault> {
        let hours = self.service.config.fetch.hours;
        let begun = self.row.begun_at.unwrap_or_else(db::now);
        if db::now() < begun + i64::from(hours) * 3600 {
            return Ok(());
        }
        Err(Fault::Final(format!(
            "it was not complete after {hours} hours"
        )))
    }

    /// Ends when the image was deleted.
    pub async fn cancelled(&self) {
        while !self.context.cancel.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// It may pass, when other imports have ended.
fn no_room() -> Fault {
    Fault::passing(NO_ROOM)
}
