//! Putting a backup back, where there is nothing yet.
//!
//! Images come first and the database last, so that a restore that was interrupted can be begun
//! again. Images that a store has already are left as they are: a bucket outlives its service.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;

use super::{Manifest, postgres, read_manifest, sum};
use crate::audit::{Event, Origin};
use crate::config::Config;
use crate::db::{self, Backend, Db, Tx, image, restore, sqlite_url};
use crate::jobs::JobContext;
use crate::operator::stores::{Progress, check_user};
use crate::start::lock;
use crate::store::Store;

/// Told to customers whose bytes were on their way.
const UPLOAD: &str = "the service was restored from a backup, which has no unfinished uploads; \
    upload the image again";
/// Told to customers whose machines lost their disks.
const MACHINE: &str = "the service was restored from a backup, which has no disks of machines; \
    switched on, it begins anew from its image";

/// How a restore went.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// When the backup was made.
    pub made_at: String,
    /// Images that were put into a store, once for each region.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Images that neither the backup nor the store of a region has.
    pub missing: Vec<String>,
    /// Uploads that were under way and are given up.
    pub uploads: u64,
    /// Machines that are without a disk now.
    pub droplets: u64,
}

/// Puts a backup back: into the data directory, the database and the stores of a configuration,
/// whose service must not be running.
///
/// # Errors
/// When there is a database already, the backup is damaged, or something cannot be written.
pub async fn restore(
    config: &Config,
    directory: &Path,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> anyhow::Result<Restored> {
    check_user(&config.data)?;
    let manifest = read_manifest(directory)?;
    let source = directory.join(&manifest.database);
    if sum(&source)? != manifest.database_sha256 {
        bail!(
            "{} is damaged: its SHA-256 is another one",
            source.display()
        );
    }
    let _lock = lock(&config.data)?;
    let target = Target::of(config, &manifest)?;
    target.check_empty().await?;
    let mut restored = Restored {
        made_at: manifest.made_at.clone(),
        images: 0,
        bytes: 0,
        missing: Vec::new(),
        uploads: 0,
        droplets: 0,
    };
    images(config, directory, &manifest, &mut restored, progress).await?;
    let db = target.fill(&source).await?;
    let mut tx = db.write().await?;
    settle(config, &mut tx, &mut restored).await?;
    let event = Event::new("restore").detail(format!("from {}", manifest.made_at));
    Origin::operator().record(&mut tx, event).await?;
    tx.commit().await?;
    db.read().close().await;
    target.finish()?;
    Ok(restored)
}

/// Where the database goes.
enum Target {
    /// A file that does not exist yet.
    Sqlite(PathBuf),
    /// A database without tables, by its URL.
    Postgres(String),
}

impl Target {
    fn of(config: &Config, manifest: &Manifest) -> anyhow::Result<Self> {
        let url = config.database_url();
        match (Backend::of(&url), manifest.database.ends_with(".sql")) {
            (Some(Backend::Sqlite), false) => {
                let options = SqliteConnectOptions::from_str(&url)?;
                Ok(Self::Sqlite(options.get_filename().to_owned()))
            }
            (Some(Backend::Postgres), true) => Ok(Self::Postgres(url)),
            (_, true) => bail!("the backup is of PostgreSQL; name such a `database`"),
            (_, false) => bail!("the backup is of SQLite, and `database` is none"),
        }
    }

    async fn check_empty(&self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(path) if path.exists() => bail!(
                "{} exists already; a restore begins with nothing",
                path.display()
            ),
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(url) => {
                let db = Db::connect(url).await?;
                let tables: i64 = sqlx::query_scalar(
                    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'public'",
                )
                .fetch_one(db.read())
                .await?;
                db.read().close().await;
                if tables > 0 {
                    bail!("the database has tables already; a restore begins with nothing");
                }
                Ok(())
            }
        }
    }

    /// Copies the database, and brings its schema up to date.
    async fn fill(&self, source: &Path) -> anyhow::Result<Db> {
        match self {
            Self::Sqlite(path) => {
                let new = unfinished(path);
                for leftover in [&new, &beside(&new, "-wal"), &beside(&new, "-shm")] {
                    if leftover.exists() {
                        fs::remove_file(leftover)?;
                    }
                }
                fs::copy(source, &new).with_context(|| format!("copying to {}", new.display()))?;
                Db::open(&sqlite_url(&new)).await
            }
            Self::Postgres(url) => {
                postgres::load(url, source).await?;
                Db::open(url).await
            }
        }
    }

    /// Gives a file its name, when nothing is open any more.
    fn finish(&self) -> anyhow::Result<()> {
        let Self::Sqlite(path) = self else {
            return Ok(());
        };
        let new = unfinished(path);
        if beside(&new, "-wal").exists() {
            bail!("{} is still in use; begin again", new.display());
        }
        File::open(&new)?.sync_all()?;
        fs::rename(&new, path)?;
        crate::uploads::sink::sync_directory(path)?;
        Ok(())
    }
}

fn unfinished(path: &Path) -> PathBuf {
    beside(path, ".restore")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Puts the images into the stores that should have them, verified.
async fn images(
    config: &Config,
    directory: &Path,
    manifest: &Manifest,
    restored: &mut Restored,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> anyhow::Result<()> {
    let source = Store::attach(directory, None)?;
    for region in &config.regions {
        let place = config.region_directory(region);
        let _lock = lock(&place)?;
        let store = Store::open(&place, region.s3.as_ref())?;
        let here = |image: &&super::BackedUp| image.regions.contains(&region.slug);
        let total = manifest.images.iter().filter(here).map(|i| i.bytes).sum();
        let mut done = 0;
        for image in manifest.images.iter().filter(here) {
            let step = Progress::new(&region.slug, done, total);
            done += image.bytes;
            if store.contains(&image.digest).await? {
                continue;
            }
            if !source.contains(&image.digest).await? {
                let missing = format!("sha256:{} in {}", image.digest, region.slug);
                restored.missing.push(missing);
                continue;
            }
            let job = JobContext::default();
            let copying = store.copy_from(&source, &image.digest, &job);
            step.watch(progress, &job, copying).await?;
            restored.images += 1;
            restored.bytes += image.bytes;
        }
    }
    let known: BTreeSet<_> = config.regions.iter().map(|r| r.slug.as_str()).collect();
    for image in &manifest.images {
        for region in image.regions.iter().filter(|r| !known.contains(r.as_str())) {
            let missing = format!(
                "sha256:{} in {region}, which is not configured",
                image.digest
            );
            restored.missing.push(missing);
        }
    }
    Ok(())
}

/// Ends what the backup has rows of and nothing else: uploads, and machines without a disk.
async fn settle(config: &Config, tx: &mut Tx, restored: &mut Restored) -> anyhow::Result<()> {
    for upload in db::upload::all_ids(&mut **tx).await? {
        if let Some(image) = image::by_upload(tx, &upload).await? {
            image::give_up(tx, image.id, UPLOAD).await?;
        }
        db::upload::delete(tx, &upload).await?;
        restored.uploads += 1;
    }
    for (id, region) in restore::machines(tx).await? {
        let place = config.regions.iter().find(|r| r.slug == region);
        let disk = place.map(|r| config.region_directory(r).join("vms").join(id.to_string()));
        if disk.is_some_and(|disk| disk.is_dir()) {
            restore::adopt_machine(tx, id).await?;
        } else {
            restore::lose_machine(tx, id, MACHINE).await?;
            db::action::fail_open(tx, "droplet", id, MACHINE).await?;
            restored.droplets += 1;
        }
    }
    restore::forget_processes(tx).await?;
    Ok(())
}
