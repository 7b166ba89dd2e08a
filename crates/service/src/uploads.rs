//! The files of uploads: one per upload, appended to, one writer at a time.
//!
//! The database says how many bytes are safe; the file may hold more after a crash, and is cut
//! back before it is continued.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::fs::OpenOptions;
use tokio::io::AsyncSeekExt;

/// The directory of uploads.
#[derive(Debug, Clone)]
pub struct Uploads {
    directory: PathBuf,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// Proof that nobody else writes to an upload now.
#[derive(Debug)]
pub struct Writing {
    id: String,
    busy: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.id);
    }
}

impl Uploads {
    /// Opens the directory, creating it if need be.
    ///
    /// # Errors
    /// Those of creating it.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            busy: Arc::default(),
        })
    }

    /// The file of an upload.
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// Claims an upload for writing; `None` while somebody else has it.
    pub fn try_write(&self, id: &str) -> Option<Writing> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(id.to_owned()).then(|| Writing {
            id: id.to_owned(),
            busy: self.busy.clone(),
        })
    }

    /// Makes the empty file of a new upload, and the file's name durable.
    ///
    /// # Errors
    /// Those of creating and syncing.
    pub fn create_file(&self, id: &str) -> io::Result<()> {
        std::fs::File::create_new(self.path(id))?.sync_all()?;
        std::fs::File::open(&self.directory)?.sync_all()
    }

    /// Opens the file of an upload to go on at byte `offset`; what a crash left behind that is cut
    /// off.
    ///
    /// # Errors
    /// Those of opening and cutting.
    pub async fn open_at(&self, id: &str, offset: u64) -> io::Result<tokio::fs::File> {
        let mut file = OpenOptions::new().write(true).open(self.path(id)).await?;
        file.set_len(offset).await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok(file)
    }

    /// Removes the file of an upload; one that is not there is removed already.
    ///
    /// # Errors
    /// Those of unlinking.
    pub fn remove_file(&self, id: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes files that no row knows: their upload ended while the service was stopping.
    ///
    /// # Errors
    /// Those of listing and unlinking.
    pub fn remove_unknown(&self, known: &[String]) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if !known.iter().any(|id| *id == name) {
                self.remove_file(&name)?;
            }
        }
        Ok(())
    }
}
