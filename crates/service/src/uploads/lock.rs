//! One writer of an upload among all processes that share its directory.
//!
//! The lock is that of a file of its own (`flock`), which the kernel lets go when the process
//! ends, however it ends; between hosts it holds where the filesystem takes locks over, as NFSv4
//! and CephFS do. A lease with a time would end while its holder merely slept, and whoever slept
//! could then wake up and write into bytes that another process has acknowledged.
//!
//! A second file, `ID.wanted`, asks the holder to let go. Both are removed by whoever holds the
//! lock, so a lock counts only if its file still has its name.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock of upload `id` below `directory`; `None` if another process has it.
    ///
    /// # Errors
    /// Those of making and locking its file.
    pub fn take(directory: &Path, id: &str) -> io::Result<Option<Self>> {
        let path = directory.join(id);
        loop {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Its holder may have removed it since it was opened.
            match std::fs::metadata(&path) {
                Ok(named) if named.ino() == file.metadata()?.ino() => {
                    remove(&wanted(&path));
                    return Ok(Some(Self { path, _file: file }));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    /// Asks whoever has the lock to let go.
    ///
    /// # Errors
    /// Those of making a file.
    pub fn want(directory: &Path, id: &str) -> io::Result<()> {
        File::create(wanted(&directory.join(id))).map(|_| ())
    }

    /// Whether somebody asked for it.
    pub fn is_wanted(&self) -> bool {
        wanted(&self.path).exists()
    }

    /// Removes the files of locks that nobody holds: their processes were killed.
    ///
    /// # Errors
    /// Those of listing the directory and locking.
    pub fn tidy(directory: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            drop(Self::take(directory, name.trim_end_matches(WANTED))?);
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        remove(&wanted(&self.path));
        remove(&self.path);
    }
}

const WANTED: &str = ".wanted";

fn wanted(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(WANTED);
    name.into()
}

/// What stays is removed with the next lock.
fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "removing a lock file failed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let lock = Lock::take(path, "a").unwrap().unwrap();
        assert!(Lock::take(path, "a").unwrap().is_none());
        assert!(Lock::take(path, "b").unwrap().is_some());
        assert!(!lock.is_wanted());
        Lock::want(path, "a").unwrap();
        assert!(lock.is_wanted());
        drop(lock);
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
        let lock = Lock::take(path, "a").unwrap().unwrap();
        assert!(!lock.is_wanted());
    }

    #[test]
    fn many_threads_are_never_holders_together() {
        let directory = tempfile::tempdir().unwrap();
        let held = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Some(lock) = Lock::take(directory.path(), "a").unwrap() {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert_eq!(held.fetch_add(1, SeqCst), 0);
                            held.fetch_sub(1, SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_of_the_dead_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["dead", "dead.wanted", "gone.wanted"] {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        let lock = Lock::take(directory.path(), "alive").unwrap().unwrap();
        Lock::tidy(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(!lock.is_wanted());
    }
}
