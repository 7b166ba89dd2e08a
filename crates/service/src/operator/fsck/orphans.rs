//! What is stored and belongs to nobody.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::Context as _;

use super::{Kind, Problem, Repair, Run};
use crate::db::{fsck, image, upload};
use crate::operator::stores::entries;
use crate::removal;
use crate::vm::qemu;

/// After which what looked like an orphan is looked at again: a job that ends removes its files a
/// moment after its rows.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// A file that was written to since then may be about to get its row.
const YOUNG: Duration = Duration::from_secs(60);
/// The same of a file that becomes an image, which has no row of its own.
const YOUNG_IMAGE: Duration = Duration::from_secs(3600);

/// What may be nobody's.
#[derive(Debug)]
struct Suspect {
    kind: Kind,
    /// Number of the region.
    place: Option<usize>,
    /// The digest of an image, the id of an upload, an import or a machine.
    name: String,
    path: PathBuf,
    bytes: Option<u64>,
}

impl Run<'_> {
    /// Looks for what nobody needs in stores and directories.
    pub(super) async fn orphans(&mut self) -> anyhow::Result<()> {
        let mut suspects = self.files().await?;
        for number in 0..self.places.len() {
            match self.suspects_of(number).await {
                Ok(more) => suspects.extend(more),
                Err(error) => {
                    let slug = self.places[number].slug.clone();
                    if !self.report.unchecked.iter().any(|u| u.region == slug) {
                        self.unchecked(&slug, &error);
                    }
                }
            }
        }
        if !suspects.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        for suspect in suspects {
            if self.is_orphan(&suspect).await? {
                let repair = match self.options.repair {
                    true => Some(self.remove(&suspect).await),
                    false => None,
                };
                self.found(self.problem(&suspect), repair);
            }
        }
        Ok(())
    }

    /// Files of uploads and imports.
    async fn files(&self) -> anyhow::Result<Vec<Suspect>> {
        let operator = self.operator;
        let mut suspects = Vec::new();
        for (kind, directory) in [
            (Kind::OrphanUpload, operator.uploads()),
            (Kind::OrphanFile, operator.data().join("staging")),
        ] {
            for (path, bytes) in old_files(&directory, YOUNG)? {
                suspects.push(Suspect::file(kind, None, path, Some(bytes)));
            }
        }
        self.without_rows(suspects).await
    }

    /// Images, files and machines of a region.
    async fn suspects_of(&self, number: usize) -> anyhow::Result<Vec<Suspect>> {
        let place = &self.places[number];
        let mut suspects = Vec::new();
        for image in place.list(false).await? {
            suspects.push(Suspect {
                kind: Kind::OrphanImage,
                place: Some(number),
                name: image.digest,
                path: PathBuf::new(),
                bytes: Some(image.bytes),
            });
        }
        for (path, bytes) in old_files(place.store.incoming(), YOUNG_IMAGE)? {
            let bytes = Some(bytes);
            suspects.push(Suspect::file(Kind::OrphanFile, Some(number), path, bytes));
        }
        for path in entries(&place.machines())? {
            suspects.push(Suspect::file(Kind::OrphanMachine, Some(number), path, None));
        }
        self.without_rows(suspects).await
    }

    async fn without_rows(&self, suspects: Vec<Suspect>) -> anyhow::Result<Vec<Suspect>> {
        let mut without = Vec::new();
        for suspect in suspects {
            if self.is_orphan(&suspect).await? {
                without.push(suspect);
            }
        }
        Ok(without)
    }

    /// Whether it is still there, and no row is about it.
    async fn is_orphan(&self, suspect: &Suspect) -> anyhow::Result<bool> {
        let db = self.operator.db.read();
        let Suspect { name, path, .. } = suspect;
        let place = suspect.place.map(|number| &self.places[number]);
        let known = match (suspect.kind, place) {
            (Kind::OrphanImage, Some(place)) => {
                return Ok(!image::is_needed(db, &place.slug, name).await?
                    && place.store.contains(name).await?);
            }
            (Kind::OrphanMachine, Some(place)) => match name.parse() {
                Ok(id) => fsck::has_machine(db, &place.slug, id).await?,
                Err(_) => false,
            },
            (Kind::OrphanUpload, _) => upload::exists(db, name).await?,
            (_, None) => match name.parse() {
                Ok(image) => fsck::is_imported(db, image).await?,
                Err(_) => false,
            },
            _ => false,
        };
        Ok(!known && path.try_exists()?)
    }

    fn problem(&self, suspect: &Suspect) -> Problem {
        let region = suspect.place.map(|number| &*self.places[number].slug);
        let object = match suspect.kind {
            Kind::OrphanImage => format!("sha256:{}", suspect.name),
            _ => suspect.path.display().to_string(),
        };
        let mut problem = Problem::new(suspect.kind, region, object);
        problem.bytes = suspect.bytes;
        let (detail, outcome) = match suspect.kind {
            Kind::OrphanMachine => (
                "there is no such machine",
                "a repair moves it to `lost` in the region's directory",
            ),
            _ => ("nothing needs it", "a repair removes it"),
        };
        problem.detail = detail.into();
        problem.outcome = outcome.into();
        problem
    }

    async fn remove(&self, suspect: &Suspect) -> anyhow::Result<Repair> {
        let place = suspect.place.map(|number| &self.places[number]);
        match (suspect.kind, place) {
            (Kind::OrphanImage, Some(place)) => {
                let (db, slug) = (&self.operator.db, &place.slug);
                let store = &place.store;
                if !removal::remove(db, &self.owner, slug, store, &suspect.name).await? {
                    return Ok(Repair::Moot);
                }
            }
            (Kind::OrphanMachine, Some(place)) => return lose(&place.directory, suspect),
            _ => match fs::remove_file(&suspect.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Repair::Moot),
                result => result?,
            },
        }
        Ok(Repair::Done("removed".into()))
    }
}

/// Puts the directory of a machine aside: its disk may be all that somebody has.
fn lose(region: &Path, suspect: &Suspect) -> anyhow::Result<Repair> {
    if qemu::is_alive(&suspect.path)? {
        return Ok(Repair::Failed(format!(
            "QEMU runs on it; end the process in {}/qemu.pid, and check again",
            suspect.path.display()
        )));
    }
    let lost = region.join("lost");
    fs::create_dir_all(&lost).with_context(|| format!("creating {}", lost.display()))?;
    // A later machine cannot have the same id, but a restored database may.
    let mut target = lost.join(&suspect.name);
    let mut number = 1;
    while target.try_exists()? {
        number += 1;
        target = lost.join(format!("{}.{number}", suspect.name));
    }
    fs::rename(&suspect.path, &target)
        .with_context(|| format!("moving {}", suspect.path.display()))?;
    Ok(Repair::Done(format!("moved to {}", target.display())))
}

impl Suspect {
    fn file(kind: Kind, place: Option<usize>, path: PathBuf, bytes: Option<u64>) -> Self {
        let name = path.file_name().unwrap_or_default();
        // A machine in the making is `42.new`.
        let name = name.to_string_lossy().trim_end_matches(".new").to_owned();
        Self {
            kind,
            place,
            name,
            path,
            bytes,
        }
    }
}

/// Files that nobody has written to for `age`, and their sizes.
fn old_files(directory: &Path, age: Duration) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut old = Vec::new();
    for path in entries(directory)? {
        match fs::metadata(&path) {
            Ok(data) if data.is_file() => {
                if data.modified()?.elapsed().is_ok_and(|since| since >= age) {
                    old.push((path, data.len()));
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(old)
}
