//! The bytes of uploads: one file per upload, appended to, one writer at a time.
//!
//! ```text
//!   body ─▶ Sink: batches ─▶ file ─▶ fdatasync ─▶ Ledger: one transaction for many uploads ─▶ answer
//! ```
//!
//! The database says how many bytes are safe; the file may hold more after a crash, and is cut
//! back before it is continued. [`sink`] writes, [`checksum`] verifies, [`ledger`] counts, and [`capacity`]
//! says whether there is room.

pub mod capacity;
pub mod checksum;
pub mod ledger;
pub mod sink;

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::fs::OpenOptions;
use tokio::io::AsyncSeekExt as _;
use tokio::sync::{Notify, Semaphore};

use ledger::Ledger;

/// File operations that run at the same time. More of them would not make a disk faster, only take
/// threads and memory.
const DISK_OPERATIONS: usize = 16;

/// How long a newer request waits for an older one to let go of an upload.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// Bytes that all uploads together may hold in memory, about, before they go to their files.
const MEMORY: usize = 32 << 20;

/// The directory of uploads.
#[derive(Debug, Clone)]
pub struct Uploads {
    directory: PathBuf,
    writers: Arc<Mutex<HashMap<String, Arc<Writer>>>>,
    /// Counts what was synced.
    pub ledger: Arc<Ledger>,
    /// Room for file operations.
    disk: Arc<Semaphore>,
}

/// Who writes to an upload.
#[derive(Debug, Default)]
struct Writer {
    /// Tells the writer to stop, because a newer request wants to go on.
    stop: Notify,
    /// Tells those who wait that the writer has let go.
    gone: Notify,
}

/// Proof that nobody else writes to an upload now.
#[derive(Debug)]
pub struct Writing {
    id: String,
    writer: Arc<Writer>,
    writers: Arc<Mutex<HashMap<String, Arc<Writer>>>>,
}

impl Writing {
    /// Returns when somebody else wants to write.
    pub async fn wanted(&self) {
        self.writer.stop.notified().await;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        writers.remove(&self.id);
        self.writer.gone.notify_waiters();
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
            writers: Arc::default(),
            ledger: Arc::default(),
            disk: Arc::new(Semaphore::new(DISK_OPERATIONS)),
        })
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of an upload.
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// Claims an upload for writing; `None` while somebody else has it.
    pub fn try_write(&self, id: &str) -> Option<Writing> {
        let mut writers = self.writers();
        if writers.contains_key(id) {
            return None;
        }
        let writer = Arc::<Writer>::default();
        writers.insert(id.to_owned(), writer.clone());
        Some(Writing {
            id: id.to_owned(),
            writer,
            writers: self.writers.clone(),
        })
    }

    /// Claims an upload for writing, and asks whoever has it to let go: a connection that broke
    /// without a word looks to its request like a client that is slow. `None` if that takes too
    /// long.
    pub async fn take_over(&self, id: &str) -> Option<Writing> {
        let claim = async {
            loop {
                let other = self.writers().get(id).cloned();
                let Some(other) = other else {
                    if let Some(writing) = self.try_write(id) {
                        return writing;
                    }
                    continue;
                };
                let gone = other.gone.notified();
                other.stop.notify_one();
                // The writer may have gone before anybody listened.
                let _ = tokio::time::timeout(Duration::from_millis(100), gone).await;
            }
        };
        tokio::time::timeout(TAKE_OVER, claim).await.ok()
    }

    /// Bytes that one upload should collect before it writes them, so that memory stays bounded
    /// however many arrive at once.
    pub fn batch_bytes(&self) -> usize {
        (MEMORY / self.writers().len().max(1)).clamp(64 << 10, 1 << 20)
    }

    /// Runs a file operation away from the threads that answer requests, when there is room for it.
    ///
    /// # Errors
    /// Those of the operation; [`io::ErrorKind::Interrupted`] if the service is stopping.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let _room = self.disk.acquire().await.map_err(io::Error::other)?;
        match tokio::task::spawn_blocking(operation).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(io::ErrorKind::Interrupted.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Makes the empty file of a new upload, and the file's name durable.
    ///
    /// # Errors
    /// Those of creating and syncing.
    pub fn create_file(&self, id: &str) -> io::Result<()> {
        let path = self.path(id);
        std::fs::File::create_new(&path)?.sync_all()?;
        sink::sync_directory(&path)
    }

    /// Opens the file of an upload to go on at byte `offset`; what a crash left behind that is cut
    /// off.
    ///
    /// # Errors
    /// Those of opening and cutting.
    pub async fn open_at(&self, id: &str, offset: u64) -> io::Result<tokio::fs::File> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(id))
            .await?;
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
        let known: HashSet<&str> = known.iter().map(String::as_str).collect();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if !known.contains(&*name) {
                self.remove_file(&name)?;
            }
        }
        Ok(())
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<String, Arc<Writer>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_writer_takes_over_from_one_that_lets_go() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path()).unwrap();
        let first = uploads.try_write("a").unwrap();
        assert!(uploads.try_write("a").is_none());
        assert!(uploads.try_write("b").is_some(), "another upload");
        let older = tokio::spawn(async move { first.wanted().await });
        assert!(uploads.take_over("a").await.is_some());
        older.await.unwrap();
        assert!(uploads.try_write("a").is_some());
    }

    #[test]
    fn a_batch_becomes_smaller_the_more_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path()).unwrap();
        assert_eq!(uploads.batch_bytes(), 1 << 20);
        let all: Vec<_> = (0..1000)
            .map(|n| uploads.try_write(&n.to_string()))
            .collect();
        assert_eq!(uploads.batch_bytes(), 64 << 10);
        drop(all);
        assert_eq!(uploads.batch_bytes(), 1 << 20);
    }
}
