//! A backup that is made while the service runs, and putting it back.
//!
//! ```text
//! DIR/
//!   backup.json            what is in it; written last, so that it names what is complete
//!   abbild-TIME.db         the database: a copy by SQLite's VACUUM INTO,
//!   abbild-TIME.sql        or the output of pg_dump
//!   images/SHA256.qcow2    the images, if they were wanted
//! ```
//!
//! The database comes first, in one snapshot, and the images that it names after it. An image never
//! changes under its name, so a backup into the same directory copies only what is new, and each one
//! is verified while it is copied, as a copy from region to region is. What the directory holds
//! counts when `backup.json` is replaced, in one step.
//!
//! Not in it: the bytes of uploads that are under way, the disks of machines, and the configuration.

mod postgres;
mod restore;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use abbild_convert::{Control, sha256_file};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;
use tempfile::NamedTempFile;

use super::Operator;
use super::stores::{Progress, entries};
use crate::audit::Event;
use crate::db::fsck::{self, CopyRow};
use crate::db::{Backend, from_sql_size, sqlite_snapshot_url};
use crate::jobs::JobContext;
use crate::store::Store;

pub use restore::{Restored, restore};

const MANIFEST: &str = "backup.json";
/// The layout of the directory.
const FORMAT: u32 = 1;

/// What is in a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// RFC 3339, UTC.
    pub made_at: String,
    /// Version of Abbild that made it.
    pub version: String,
    /// File of the database.
    pub database: String,
    /// Its SHA-256.
    pub database_sha256: String,
    /// The images that the database names as available.
    pub images: Vec<BackedUp>,
}

/// An image of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackedUp {
    /// SHA-256 of its canonical form.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// The regions that have it.
    pub regions: Vec<String>,
    /// Whether it is in the backup.
    pub included: bool,
}

/// How a backup went.
#[derive(Debug, Serialize)]
pub struct BackupReport {
    /// What is in it.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Images that were copied, and not there already.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Images that could not be copied, and why.
    pub missing: Vec<String>,
}

impl Operator {
    /// Makes a backup in `directory`, which is made if need be and may have an earlier one. With
    /// `images` it has the images, too.
    ///
    /// # Errors
    /// When the directory holds something else, the database cannot be copied, or the disk is full.
    pub async fn backup(
        &self,
        directory: &Path,
        images: bool,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> anyhow::Result<BackupReport> {
        prepare(directory)?;
        let (database, copies) = self.snapshot(directory).await?;
        let mut report = BackupReport {
            manifest: Manifest {
                format: FORMAT,
                made_at: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                database_sha256: sum(&directory.join(&database))?,
                database,
                images: wanted(copies),
            },
            copied: 0,
            copied_bytes: 0,
            missing: Vec::new(),
        };
        if images {
            self.copy_images(directory, &mut report, progress).await?;
        }
        write_manifest(directory, &report.manifest)?;
        tidy(directory, &report.manifest)?;
        let mut tx = self.db.write().await?;
        let event = Event::new("backup").detail(directory.display().to_string());
        self.origin.record(&mut tx, event).await?;
        tx.commit().await?;
        Ok(report)
    }

    /// Copies the database into `directory`. Returns the name of the file, and what it says of
    /// images.
    async fn snapshot(&self, directory: &Path) -> anyhow::Result<(String, Vec<CopyRow>)> {
        let time = jiff::Timestamp::now();
        let millisecond = time.subsec_millisecond();
        let time = format!("{}-{millisecond:03}", time.strftime("%Y%m%dT%H%M%SZ"));
        let (name, copies) = match self.db.backend() {
            Backend::Sqlite => {
                let name = format!("abbild-{time}.db");
                let path = directory.join(&name);
                let text = path.to_str().context("the path is not valid UTF-8")?;
                sqlx::query("VACUUM INTO $1")
                    .bind(text)
                    .execute(self.db.read())
                    .await
                    .context("copying the database")?;
                // Nothing else has it open, and nothing may be written beside it.
                let pool = AnyPool::connect(&sqlite_snapshot_url(&path)).await?;
                let copies = fsck::copies(&pool).await?;
                pool.close().await;
                (name, copies)
            }
            Backend::Postgres => {
                let name = format!("abbild-{time}.sql");
                let url = self.config.database_url();
                let copies = postgres::dump(&self.db, &url, &directory.join(&name)).await?;
                (name, copies)
            }
        };
        File::open(directory.join(&name))?.sync_all()?;
        Ok((name, copies.into_values().flatten().collect()))
    }

    async fn copy_images(
        &self,
        directory: &Path,
        report: &mut BackupReport,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> anyhow::Result<()> {
        let target = Store::open(directory, None)?;
        let places = self.places()?;
        let total = report.manifest.images.iter().map(|i| i.bytes).sum();
        let mut done = 0;
        for image in &mut report.manifest.images {
            let before = done;
            done += image.bytes;
            if target.contains(&image.digest).await? {
                image.included = true;
                continue;
            }
            let mut obstacle = anyhow::anyhow!("no configured region has it");
            for place in places.iter().filter(|p| image.regions.contains(&p.slug)) {
                let job = JobContext::default();
                let copying = target.copy_from(&place.store, &image.digest, &job);
                let step = Progress::new("copying", before, total);
                match step.watch(progress, &job, copying).await {
                    Ok(()) => {
                        image.included = true;
                        break;
                    }
                    Err(error) => obstacle = error.context(format!("from {}", place.slug)),
                }
            }
            if image.included {
                report.copied += 1;
                report.copied_bytes += image.bytes;
            } else {
                let missing = format!("sha256:{}: {obstacle:#}", image.digest);
                report.missing.push(missing);
            }
        }
        Ok(())
    }
}

/// Each image once, with its regions.
fn wanted(copies: Vec<CopyRow>) -> Vec<BackedUp> {
    let mut images = BTreeMap::<String, BackedUp>::new();
    for row in copies {
        let image = images.entry(row.digest.clone()).or_insert(BackedUp {
            digest: row.digest,
            bytes: row.stored_bytes.map_or(0, from_sql_size),
            regions: Vec::new(),
            included: false,
        });
        if !image.regions.contains(&row.region) {
            image.regions.push(row.region);
        }
    }
    images.into_values().collect()
}

/// A directory for backups is empty, or has one already.
fn prepare(directory: &Path) -> anyhow::Result<()> {
    let context = || format!("making {}", directory.display());
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).with_context(context)?;
    let is_empty = fs::read_dir(directory)
        .with_context(context)?
        .next()
        .is_none();
    if !is_empty && !directory.join(MANIFEST).exists() && !is_unfinished(directory)? {
        bail!(
            "{} is not empty, and has no backup; name another directory",
            directory.display()
        );
    }
    Ok(())
}

/// Whether there is nothing but what a backup leaves that was interrupted.
fn is_unfinished(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let ours = name == "images" || name == "incoming" || is_database(&name);
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_database(name: &str) -> bool {
    name.starts_with("abbild-") && (name.ends_with(".db") || name.ends_with(".sql"))
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let mut file = NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut file, manifest)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(directory.join(MANIFEST))?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Reads what is in a backup.
fn read_manifest(directory: &Path) -> anyhow::Result<Manifest> {
    let path = directory.join(MANIFEST);
    let context = || format!("reading {}", path.display());
    let text = fs::read(&path).with_context(context)?;
    let manifest: Manifest = serde_json::from_slice(&text).with_context(context)?;
    if manifest.format != FORMAT {
        bail!(
            "the backup has the format {}, which is for Abbild {} or newer",
            manifest.format,
            manifest.version
        );
    }
    Ok(manifest)
}

/// Removes what only an earlier backup needed.
fn tidy(directory: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    for path in entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_database(&name) && *name != manifest.database {
            fs::remove_file(&path)?;
        }
    }
    for path in entries(&directory.join("images"))? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if !manifest.images.iter().any(|image| image.digest == *name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The SHA-256 of a file.
fn sum(path: &Path) -> anyhow::Result<String> {
    let context = || format!("reading {}", path.display());
    let file = File::open(path).with_context(context)?;
    let sum = sha256_file(&file, &Control::none()).with_context(context)?;
    Ok(hex::encode(sum))
}
