//! One job that makes an image: its rows, stage by stage, and the end of the way, which the image of an
//! upload and the snapshot of a machine have in common.

use std::sync::Arc;

use abbild_api::{RegionCopyStatus, Stage};
use abbild_convert::Encoded;
use abbild_disk::Disk;
use abbild_guest::Report;
use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use super::{blocking, check_quota, keep_report, steps};
use crate::Service;
use crate::db::action::ActionRow;
use crate::db::{self, Tx, image, sql_size};
use crate::jobs::JobContext;
use crate::region::Region;
use crate::removal;
use crate::retry::Final;

/// A job, and the image that it makes.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The service.
    pub service: &'a Arc<Service>,
    /// The action that is carried out.
    pub action: &'a ActionRow,
    /// Where progress is reported.
    pub job: &'a JobContext,
    /// Where the image is to be available first.
    pub region: &'a Region,
    /// The image.
    pub image: i64,
}

impl<'a> Work<'a> {
    /// In the region of `action`.
    ///
    /// # Errors
    /// When that region is not configured.
    pub fn new(
        service: &'a Arc<Service>,
        action: &'a ActionRow,
        job: &'a JobContext,
        image: i64,
    ) -> anyhow::Result<Self> {
        let slug = action.region.as_deref();
        let region = service.region(slug.context("the action names no region")?)?;
        Ok(Self {
            service,
            action,
            job,
            region,
            image,
        })
    }

    /// Begins a stage, unless the image was deleted.
    ///
    /// # Errors
    /// When it was, or the job is no longer this process's.
    pub async fn enter(&self, stage: Stage) -> anyhow::Result<()> {
        self.job.begin_stage(stage);
        let mut tx = self.service.write_for(self.action).await?;
        if !image::set_stage(&mut tx, self.image, stage).await? {
            bail!(deleted());
        }
        tx.commit().await?;
        Ok(())
    }

    /// Keeps what a check found.
    ///
    /// # Errors
    /// When the job is no longer this process's.
    pub async fn keep_report(&self, report: &Report) -> anyhow::Result<()> {
        let mut tx = self.service.write_for(self.action).await?;
        keep_report(&mut tx, self.image, report).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Writes the canonical form of `disk` into a file of the region's store, which has no name yet.
    ///
    /// # Errors
    /// Of reading and writing, and when the job is called off.
    pub async fn encode<D: Disk + Send + Sync + 'static>(
        &self,
        disk: Arc<D>,
    ) -> anyhow::Result<(NamedTempFile, Encoded)> {
        self.enter(Stage::Encoding).await?;
        tracing::debug!(
            image.id = self.image,
            virtual_size_bytes = disk.virtual_size(),
            "encoding"
        );
        let file = self
            .region
            .store
            .begin()
            .context("creating a file in the region's store")?;
        let job = self.job.clone();
        blocking(move || steps::encode(&*disk, file, &job)).await
    }

    /// Gives the canonical image its name, then lets everybody see it. The action is done.
    ///
    /// # Errors
    /// When the quota does not allow it, the store fails, or the image was deleted.
    pub async fn publish(&self, file: NamedTempFile, encoded: &Encoded) -> anyhow::Result<()> {
        let (service, id) = (self.service, self.image);
        let digest = hex::encode(encoded.sha256);
        self.job.begin_stage(Stage::Storing);
        let mut tx = service.write_for(self.action).await?;
        check_quota(service, &mut tx, id, sql_size(encoded.file_size)).await?;
        if !image::begin_storing(&mut tx, id, &digest, sql_size(encoded.file_size)).await? {
            bail!(deleted());
        }
        tx.commit().await?;
        // From here on no removal begins.
        removal::wait(&service.db, &self.region.slug, &digest, self.job).await?;
        self.region
            .store
            .commit(file, &digest, self.job)
            .await
            .context("storing the image")?;

        let mut tx = service.write_for(self.action).await?;
        let row = image::get(&mut tx, id).await?;
        if row.deleted_at.is_some() {
            bail!(deleted());
        }
        if let Some(upload) = &row.upload_id {
            db::upload::delete(&mut tx, upload).await?;
        }
        let (virtual_size, size) = (sql_size(encoded.virtual_size), sql_size(encoded.file_size));
        image::set_canonical(&mut tx, id, &digest, virtual_size, size).await?;
        self.finish(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The image is available in its first region; it may go to the others.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish(&self, tx: &mut Tx) -> db::Result<()> {
        let available = RegionCopyStatus::Available;
        image::set_region(tx, self.image, &self.region.slug, available, None).await?;
        image::set_stage(tx, self.image, Stage::Available).await?;
        db::action::finish(tx, self.action.id, None).await?;
        self.probe_later(tx).await?;
        db::action::make_ready(tx, self.image, "transfer").await
    }
}

impl Work<'_> {
    /// Has the image booted once, if the operator wants that of all that are imported.
    async fn probe_later(&self, tx: &mut Tx) -> db::Result<()> {
        let wanted = self.service.config.probe.automatic && self.action.resource_type == "image";
        if wanted {
            let row = image::get(tx, self.image).await?;
            let region = &self.region.slug;
            db::action::insert_probe(tx, row.account_id, self.image, region).await?;
        }
        Ok(())
    }
}

fn deleted() -> Final {
    Final::new("the image was deleted meanwhile")
}
