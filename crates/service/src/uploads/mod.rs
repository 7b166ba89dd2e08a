//! The bytes of uploads: one file per upload, appended to, one writer at a time.
//!
//! ```text
//!   body ─▶ Sink: batches ─▶ file ─▶ fdatasync ─▶ Ledger: one transaction for many uploads ─▶ answer
//! ```
//!
//! The database says how many bytes are safe; the file may hold more after a crash, and is cut
//! back before it is continued. [`sink`] writes, [`checksum`] verifies, [`ledger`] counts, [`capacity`]
//! says whether there is room, and [`lock`] keeps other processes from writing to the same upload.

pub mod capacity;
pub mod checksum;
pub mod ledger;
mod lock;
pub mod sink;

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use ledger::Ledger;
use lock::Lock;

/// File operations that run at the same time. More of them would not make a disk faster, only take
/// threads and memory.
const DISK_OPERATIONS: usize = 16;

/// How long a newer request waits for an older one to let go of an upload.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// How often a writer looks whether another process wants to go on with its upload, and how often
/// that one looks whether it may.
const LOOK: Duration = Duration::from_millis(300);

/// How old an empty file must be that no row knows before it is nobody's: it is made before its
/// row is there for others to see.
const NEWBORN: Duration = Duration::from_secs(3600);

/// Bytes that all uploads together may hold in memory, about, before they go to their files.
const MEMORY: usize = 32 << 20;

/// The directory of uploads.
#[derive(Debug, Clone)]
pub struct Uploads {
    directory: PathBuf,
    locks: PathBuf,
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
    // Let go before the place, so that whoever waits for that finds it free.
    lock: Lock,
    place: Place,
    /// When to look next whether another process wants to write.
    look: Mutex<Instant>,
}

/// The place of a writer among those of this process.
#[derive(Debug)]
struct Place {
    id: String,
    writer: Arc<Writer>,
    writers: Arc<Mutex<HashMap<String, Arc<Writer>>>>,
}

impl Writing {
    /// Returns when somebody else wants to write.
    pub async fn wanted(&self) {
        tokio::select! {
            () = self.place.writer.stop.notified() => {}
            () = self.wanted_elsewhere() => {}
        }
    }

    async fn wanted_elsewhere(&self) {
        loop {
            let look = *self.look.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::time::sleep_until(look.into()).await;
            if self.lock.is_wanted() {
                return;
            }
            *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + LOOK;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        writers.remove(&self.id);
        self.writer.gone.notify_waiters();
    }
}

impl Uploads {
    /// Opens the directories of uploads below `shared`, creating them if need be. Several processes
    /// may.
    ///
    /// # Errors
    /// Those of creating them.
    pub fn open(shared: &Path) -> io::Result<Self> {
        let (directory, locks) = (shared.join("uploads"), shared.join("locks"));
        std::fs::create_dir_all(&directory)?;
        std::fs::create_dir_all(&locks)?;
        Ok(Self {
            directory,
            locks,
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

    /// Claims an upload for writing; `None` while somebody else has it, here or in another process.
    ///
    /// # Errors
    /// Those of locking.
    pub fn try_write(&self, id: &str) -> io::Result<Option<Writing>> {
        let mut writers = self.writers();
        if writers.contains_key(id) {
            return Ok(None);
        }
        let Some(lock) = Lock::take(&self.locks, id)? else {
            return Ok(None);
        };
        let writer = Arc::<Writer>::default();
        writers.insert(id.to_owned(), writer.clone());
        let place = Place {
            id: id.to_owned(),
            writer,
            writers: self.writers.clone(),
        };
        Ok(Some(Writing {
            lock,
            place,
            look: Mutex::new(Instant::now() + LOOK),
        }))
    }

    /// Claims an upload for writing, and asks whoever has it to let go: a connection that broke
    /// without a word looks to its request like a client that is slow. `None` if that takes too
    /// long.
    ///
    /// # Errors
    /// Those of locking.
    pub async fn take_over(&self, id: &str) -> io::Result<Option<Writing>> {
        let claim = async {
            loop {
                let other = self.writers().get(id).cloned();
                let Some(other) = other else {
                    if let Some(writing) = self.try_write(id)? {
                        return Ok(writing);
                    }
                    Lock::want(&self.locks, id)?;
                    tokio::time::sleep(LOOK).await;
                    continue;
                };
                let gone = other.gone.notified();
                other.stop.notify_one();
                // The writer may have gone before anybody listened.
                let _ = tokio::time::timeout(Duration::from_millis(100), gone).await;
            }
        };
        match tokio::time::timeout(TAKE_OVER, claim).await {
            Ok(claimed) => claimed.map(Some),
            Err(_elapsed) => Ok(None),
        }
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

    /// The names of all files, for [`remove_unknown`](Self::remove_unknown).
    ///
    /// # Errors
    /// Those of listing.
    pub fn files(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.directory)?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// Removes those of `files` that no row knows: their upload ended while a process was stopping.
    /// `files` were listed before the rows were read, and a file gets its first byte when its row
    /// is there, so it is none that another process has just begun.
    ///
    /// # Errors
    /// Those of looking at them and unlinking.
    pub fn remove_unknown(&self, files: &[String], known: &[String]) -> io::Result<()> {
        let known: HashSet<&str> = known.iter().map(String::as_str).collect();
        for name in files.iter().filter(|name| !known.contains(name.as_str())) {
            match std::fs::metadata(self.path(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Ok(file)
                    if file.len() == 0
                        && file.modified()?.elapsed().unwrap_or_default() < NEWBORN =>
                {
                    continue;
                }
                found => found?,
            };
            self.remove_file(name)?;
        }
        Lock::tidy(&self.locks)
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
        let first = uploads.try_write("a").unwrap().unwrap();
        assert!(uploads.try_write("a").unwrap().is_none());
        assert!(uploads.try_write("b").unwrap().is_some(), "another upload");
        let older = tokio::spawn(async move { first.wanted().await });
        assert!(uploads.take_over("a").await.unwrap().is_some());
        older.await.unwrap();
        assert!(uploads.try_write("a").unwrap().is_some());
    }

    #[tokio::test]
    async fn a_writer_lets_go_for_another_process() {
        let directory = tempfile::tempdir().unwrap();
        let [ours, theirs] = [(); 2].map(|()| Uploads::open(directory.path()).unwrap());
        let first = theirs.try_write("a").unwrap().unwrap();
        assert!(ours.try_write("a").unwrap().is_none());
        let older = tokio::spawn(async move { first.wanted().await });
        let second = ours.take_over("a").await.unwrap().unwrap();
        older.await.unwrap();
        assert!(theirs.try_write("a").unwrap().is_none());
        let patience = tokio::time::timeout(3 * LOOK, second.wanted()).await;
        assert!(patience.is_err(), "nobody wants it now");
    }

    #[test]
    fn only_files_that_are_nobodys_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path()).unwrap();
        for (name, bytes) in [("known", "x"), ("lost", "x"), ("newborn", "")] {
            std::fs::write(uploads.path(name), bytes).unwrap();
        }
        let files = uploads.files().unwrap();
        std::fs::write(uploads.path("later"), "x").unwrap();
        uploads
            .remove_unknown(&files, &["known".to_owned()])
            .unwrap();
        let mut files = uploads.files().unwrap();
        files.sort();
        assert_eq!(files, ["known", "later", "newborn"]);
    }

    #[test]
    fn a_batch_becomes_smaller_the_more_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path()).unwrap();
        assert_eq!(uploads.batch_bytes(), 1 << 20);
        let all: Vec<_> = (0..1000)
            .map(|n| uploads.try_write(&n.to_string()).unwrap())
            .collect();
        assert_eq!(uploads.batch_bytes(), 64 << 10);
        drop(all);
        assert_eq!(uploads.batch_bytes(), 1 << 20);
    }
}
