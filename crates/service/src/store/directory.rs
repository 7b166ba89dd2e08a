//! A directory of canonical images.
//!
//! A file gets its final name only when it is whole and on disk: it is written under `incoming/`
//! on the same filesystem, synced, and renamed. What lies in `images/` is never written again, so
//! machines can use it as the backing file of their disks.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use super::Stored;
use crate::uploads::capacity;

/// Images, and what becomes one, on one filesystem.
#[derive(Debug, Clone)]
pub struct Directory {
    images: PathBuf,
    incoming: PathBuf,
}

impl Directory {
    /// Opens what is below `directory`, creating it if need be, and drops what an interrupted
    /// writer left: only one process uses it.
    ///
    /// # Errors
    /// When the directories cannot be made or emptied.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let images = fs_absolute(directory)?.join("images");
        let incoming = fs_absolute(directory)?.join("incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir_all(&incoming)?;
        fs::create_dir_all(&images)?;
        Ok(Self { images, incoming })
    }

    /// The same beside the process that uses it: nothing is made, nothing dropped.
    pub fn attach(directory: &Path) -> Self {
        Self {
            images: directory.join("images"),
            incoming: directory.join("incoming"),
        }
    }

    /// Whether the store can be read and written.
    ///
    /// # Errors
    /// With what is in the way.
    pub fn probe(&self) -> io::Result<()> {
        fs::metadata(&self.images)?;
        rustix::fs::access(&self.incoming, rustix::fs::Access::WRITE_OK)?;
        Ok(())
    }

    /// Bytes that may still be written, if that can be told.
    pub fn free_bytes(&self) -> Option<u64> {
        capacity::free(&self.images).ok()
    }

    /// A new file to write an image into. It vanishes unless it is [committed](Self::commit).
    ///
    /// # Errors
    /// Those of creating a file.
    pub fn begin(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.incoming)
    }

    /// Gives a written and synced file the name `digest`. An image that is there already is kept,
    /// because the bytes are the same.
    ///
    /// # Errors
    /// Those of renaming and syncing the directory.
    pub fn commit(&self, file: NamedTempFile, digest: &str) -> io::Result<()> {
        if self.path(digest).exists() {
            return Ok(());
        }
        self.replace(file, digest)
    }

    /// As [`commit`](Self::commit), but in place of an image that is there already. Whoever has that
    /// one open keeps it.
    ///
    /// # Errors
    /// Those of renaming and syncing the directory.
    pub fn replace(&self, file: NamedTempFile, digest: &str) -> io::Result<()> {
        // Machines run as other users, who get to it by a name in the machine's directory.
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o444))?;
        file.persist(self.path(digest))?;
        File::open(&self.images)?.sync_all()
    }

    /// Where the image `digest` lies, or would lie. Absolute.
    pub fn path(&self, digest: &str) -> PathBuf {
        self.images.join(format!("{digest}.qcow2"))
    }

    /// Whether the image is here.
    pub fn contains(&self, digest: &str) -> bool {
        self.path(digest).is_file()
    }

    /// Removes an image; one that is not here is removed already.
    ///
    /// # Errors
    /// Those of unlinking.
    pub fn remove(&self, digest: &str) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Notes that an image is used now, for [`forget`](Self::forget).
    ///
    /// # Errors
    /// When it is not here, or its time cannot be set.
    pub fn touch(&self, digest: &str) -> io::Result<()> {
        File::open(self.path(digest))?.set_modified(SystemTime::now())
    }

    /// Removes an image that was neither made nor [used](Self::touch) within `idle`.
    ///
    /// # Errors
    /// Those of looking at it and unlinking.
    pub fn forget(&self, digest: &str, idle: Duration) -> io::Result<()> {
        let used = match fs::metadata(self.path(digest)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata?.modified()?,
        };
        // A time in the future counts as now.
        if used.elapsed().unwrap_or_default() < idle {
            return Ok(());
        }
        self.remove(digest)
    }

    /// All images that are here.
    ///
    /// # Errors
    /// Those of listing the directory.
    pub fn list(&self) -> io::Result<Vec<Stored>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.images)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|name| name.strip_suffix(".qcow2")) else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) => all.push(Stored {
                    digest: digest.to_owned(),
                    bytes: metadata.len(),
                }),
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Where images are written before they have their names.
    pub fn incoming(&self) -> &Path {
        &self.incoming
    }
}

/// QEMU runs in another directory, so its backing files need absolute names.
fn fs_absolute(path: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(path)?;
    fs::canonicalize(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_image_appears_only_when_committed_and_leftovers_vanish() {
        let directory = tempfile::tempdir().unwrap();
        let store = Directory::open(directory.path()).unwrap();
        let mut file = store.begin().unwrap();
        file.write_all(b"image").unwrap();
        assert!(store.list().unwrap().is_empty());
        store.commit(file, "d1").unwrap();
        assert!(store.contains("d1"));

        let kept = store.begin().unwrap();
        let leftover = kept.path().to_owned();
        std::mem::forget(kept);
        assert!(leftover.exists());
        let store = Directory::open(directory.path()).unwrap();
        assert!(!leftover.exists());
        assert_eq!(store.list().unwrap()[0].digest, "d1");

        store.remove("d1").unwrap();
        store.remove("d1").unwrap();
        assert!(!store.contains("d1"));
    }

    #[test]
    fn only_what_is_idle_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Directory::open(directory.path()).unwrap();
        store.commit(store.begin().unwrap(), "d1").unwrap();
        let hour = Duration::from_secs(3600);
        let file = File::open(store.path("d1")).unwrap();
        file.set_modified(SystemTime::now() - 2 * hour).unwrap();
        store.touch("d1").unwrap();
        store.forget("d1", hour).unwrap();
        assert!(store.contains("d1"));
        file.set_modified(SystemTime::now() - 2 * hour).unwrap();
        store.forget("d1", hour).unwrap();
        assert!(!store.contains("d1"));
        store.forget("d1", hour).unwrap();
    }
}
