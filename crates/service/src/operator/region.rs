//! Regions: how they are, and what becomes of one that left the configuration.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Serialize;

use super::Operator;
use super::fsck::listed;
use crate::audit::Event;
use crate::db::action::{self, NewAction};
use crate::db::{fsck, image, region, upload};

/// A region, as it is.
#[derive(Debug, Clone, Serialize)]
pub struct RegionState {
    /// Short name.
    pub slug: String,
    /// Name for people; null if it is not configured.
    pub name: Option<String>,
    /// Where its images are kept: `directory`, `s3`, or null if it is not configured.
    pub store: Option<&'static str>,
    /// What runs its machines; null if it is not configured.
    pub driver: Option<&'static str>,
    /// Images that are there, or on their way.
    pub images: i64,
    /// Machines.
    pub droplets: i64,
    /// Files or objects in its store, each content once; null if that cannot be told.
    pub stored_images: Option<u64>,
    /// Their bytes.
    pub stored_bytes: Option<u64>,
    /// Bytes that may still be written, if that can be told.
    pub free_bytes: Option<u64>,
    /// What is in the way of using it.
    pub obstacle: Option<String>,
}

/// What became of a region that was dropped.
#[derive(Debug, Serialize)]
pub struct Dropped {
    /// Short name.
    pub region: String,
    /// Images that are no longer in it.
    pub images: Vec<i64>,
    /// Those among them that were in no other, and failed.
    pub failed: Vec<i64>,
}

impl Operator {
    /// All regions that are configured, in that order, and then those that only rows name.
    ///
    /// # Errors
    /// Those of the database, and when the settings of a bucket are wrong.
    pub async fn regions(&self) -> anyhow::Result<Vec<RegionState>> {
        let rows = region::named(self.db.read()).await?;
        let mut rows: BTreeMap<_, _> = rows.into_iter().map(|r| (r.region.clone(), r)).collect();
        let mut all = Vec::new();
        for (place, config) in self.places()?.iter().zip(&self.config.regions) {
            let row = rows.remove(&place.slug);
            let mut state = RegionState {
                slug: place.slug.clone(),
                name: Some(config.name.clone()),
                store: Some(if place.store.is_bucket() {
                    "s3"
                } else {
                    "directory"
                }),
                driver: Some("qemu"),
                images: row.as_ref().map_or(0, |row| row.images),
                droplets: row.as_ref().map_or(0, |row| row.droplets),
                stored_images: None,
                stored_bytes: None,
                free_bytes: place.store.free_bytes(),
                obstacle: None,
            };
            match place.list(true).await {
                Ok(images) => {
                    state.stored_images = Some(images.len() as u64);
                    state.stored_bytes = Some(images.iter().map(|image| image.bytes).sum());
                }
                Err(error) => state.obstacle = Some(format!("{error:#}")),
            }
            all.push(state);
        }
        all.extend(rows.into_values().map(|row| RegionState {
            slug: row.region,
            name: None,
            store: None,
            driver: None,
            images: row.images,
            droplets: row.droplets,
            stored_images: None,
            stored_bytes: None,
            free_bytes: None,
            obstacle: Some("not configured".to_owned()),
        }));
        Ok(all)
    }

    /// Gives up a region that is no longer configured: no image is in it any more, and those that
    /// were in no other fail with the reason. Its files are not touched.
    ///
    /// # Errors
    /// When it is configured, has machines, or no row names it.
    pub async fn drop_region(&self, slug: &str) -> anyhow::Result<Dropped> {
        if self.config.regions.iter().any(|region| region.slug == slug) {
            bail!(
                "region `{slug}` is configured; take it out of the configuration, and restart the service"
            );
        }
        let mut tx = self.db.write().await?;
        let machines = region::machines(&mut tx, slug).await?;
        if !machines.is_empty() {
            bail!(
                "machines {} are in region `{slug}`; configure it again and delete them first",
                listed(&machines)
            );
        }
        let images = region::images(&mut tx, slug).await?;
        if images.is_empty() {
            bail!("nothing is in region `{slug}`; `abbild admin region list` shows all");
        }
        let mut dropped = Dropped {
            region: slug.to_owned(),
            images: images.iter().map(|(id, _)| *id).collect(),
            failed: Vec::new(),
        };
        let reason = format!("region {slug} was given up; upload the image again");
        for (id, account) in images {
            if region::call_off(&mut tx, id, slug, &reason).await? {
                // Its import was to happen there.
                let row = image::get(&mut tx, id).await?;
                image::give_up(&mut tx, id, &reason).await?;
                if let Some(id) = row.upload_id {
                    upload::delete(&mut tx, &id).await?;
                }
                dropped.failed.push(id);
            }
            image::remove_region(&mut tx, id, slug).await?;
            if fsck::fail_if_nowhere(&mut tx, id, &reason).await? {
                dropped.failed.push(id);
            }
            // For the owner, and for how long the image is kept.
            let new = NewAction {
                account,
                kind: "remove_region",
                resource_type: "image",
                resource: id,
                region: Some(slug),
                parameters: None,
                ready: false,
            };
            let trace = action::insert(&mut tx, &new).await?;
            action::finish(&mut tx, trace.id, None).await?;
        }
        region::forget_removals(&mut tx, slug).await?;
        let detail = format!(
            "{} images, {} failed",
            dropped.images.len(),
            dropped.failed.len()
        );
        let event = Event::new("region.drop").on("region", slug).detail(detail);
        self.origin.record(&mut tx, event).await?;
        tx.commit().await?;
        Ok(dropped)
    }
}
