//! Removing at once what the service removes in its own time.

use serde::Serialize;

use super::Operator;
use crate::audit::Event;
use crate::db::image;
use crate::removal;
use crate::retention::{self, Expired};

/// What was removed, or would be.
#[derive(Debug, Default, Serialize)]
pub struct Garbage {
    /// Whether everything is still there.
    pub dry_run: bool,
    /// Rows that are older than the configuration keeps.
    #[serde(flatten)]
    pub rows: Expired,
    /// Images in stores that nothing needs.
    pub stored_images: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Stores that could not be used, and why.
    pub obstacles: Vec<String>,
}

impl Operator {
    /// Removes rows that are older than `[retention]` keeps, and images that nothing needs from
    /// all stores. With `dry_run` it only counts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn gc(&self, dry_run: bool) -> anyhow::Result<Garbage> {
        let mut garbage = Garbage {
            dry_run,
            rows: retention::expire(&self.db, &self.config, dry_run).await?,
            ..Garbage::default()
        };
        let owner = Self::instance();
        for place in self.places()? {
            let images = match place.list(false).await {
                Ok(images) => images,
                Err(error) => {
                    garbage.obstacles.push(format!("{}: {error:#}", place.slug));
                    continue;
                }
            };
            for stored in images {
                let (slug, store, digest) = (&place.slug, &place.store, &stored.digest);
                let removed = match dry_run {
                    true => Ok(!image::is_needed(self.db.read(), slug, digest).await?),
                    false => removal::remove(&self.db, &owner, slug, store, digest).await,
                };
                match removed {
                    Ok(true) => {
                        garbage.stored_images += 1;
                        garbage.stored_bytes += stored.bytes;
                    }
                    Ok(false) => {}
                    Err(error) => garbage.obstacles.push(format!("{slug}: {error:#}")),
                }
            }
        }
        if !dry_run {
            let mut tx = self.db.write().await?;
            let detail = format!(
                "{} failed images, {} actions, {} stored images",
                garbage.rows.failed_images, garbage.rows.actions, garbage.stored_images
            );
            let event = Event::new("gc").detail(detail);
            self.origin.record(&mut tx, event).await?;
            tx.commit().await?;
        }
        Ok(garbage)
    }
}
