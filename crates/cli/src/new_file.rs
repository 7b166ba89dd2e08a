//! A file that appears under its name when it is complete, and not before.
//!
//! Where the file system can, it has no name until then, so nothing is left behind whatever ends
//! the process. Elsewhere it has a temporary name in the same directory, which is removed on every
//! way out but SIGKILL.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempPath;

use crate::failure::Failure;

/// How temporary names begin.
const PREFIX: &str = ".abbild-";

/// A file that is being written.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Its name, if it has one already.
    temporary: Option<TempPath>,
    directory: PathBuf,
    path: PathBuf,
    replace: bool,
}

impl NewFile {
    /// Begins the file `path`, which may exist only if `replace` says that it is to be replaced.
    ///
    /// # Errors
    /// If it exists or is not a regular file, or nothing can be written in its directory.
    pub fn create(path: &Path, replace: bool) -> anyhow::Result<Self> {
        let directory = directory_for(path, replace)?;
        match unnamed(&directory) {
            Some(file) => Ok(Self {
                file,
                temporary: None,
                directory,
                path: path.to_owned(),
                replace,
            }),
            None => Self::create_named(path, replace),
        }
    }

    /// As [`NewFile::create`], with a temporary name.
    fn create_named(path: &Path, replace: bool) -> anyhow::Result<Self> {
        let directory = directory_for(path, replace)?;
        let (file, temporary) = tempfile::Builder::new()
            .prefix(PREFIX)
            // As for any new file; the umask is taken off.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&directory)
            .with_context(|| format!("creating a file in {}", directory.display()))?
            .into_parts();
        Ok(Self {
            file,
            temporary: Some(temporary),
            directory,
            path: path.to_owned(),
            replace,
        })
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it will be.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives the file its name; `durable` waits until that is on the disk.
    ///
    /// # Errors
    /// If another file came to be there in the meantime, and those of linking and renaming.
    pub fn publish(self, durable: bool) -> anyhow::Result<()> {
        let named = match self.temporary {
            Some(named) => Ok(named),
            None => link_temporary(&self.file, &self.directory),
        };
        let published = named.and_then(|named| match self.replace {
            true => named.persist(&self.path).map_err(|e| e.error),
            false => named.persist_noclobber(&self.path).map_err(|e| e.error),
        });
        match published {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists(&self.path).into());
            }
            other => other.with_context(|| format!("naming {}", self.path.display()))?,
        }
        if durable {
            File::open(&self.directory)
                .and_then(|directory| directory.sync_all())
                .with_context(|| format!("flushing {} to disk", self.directory.display()))?;
        }
        Ok(())
    }
}

/// The directory of `path`, if a file may be made there.
fn directory_for(path: &Path, replace: bool) -> anyhow::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() && !metadata.is_symlink() => {
            let message = format!("{} is not a regular file", path.display());
            Err(Failure::new(message).into())
        }
        Ok(_) if !replace => Err(exists(path).into()),
        _ => Ok(match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(format!("{} exists already", path.display())).hint("--force replaces it")
}

/// A file in `directory` without a name, where that is possible.
#[cfg(target_os = "linux")]
fn unnamed(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};

    // It gets its name by way of /proc.
    if !Path::new("/proc/self/fd").exists() {
        return None;
    }
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)).ok()?;
    Some(File::from(file))
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path) -> Option<File> {
    None
}

/// Gives a file without a name a temporary one, under which it can be renamed.
fn link_temporary(file: &File, directory: &Path) -> io::Result<TempPath> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{AtFlags, CWD, linkat};

    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(directory, |path| {
            Ok(linkat(CWD, &source, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
        })?;
    Ok(linked.into_temp_path())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Both ways of making one.
    const WAYS: [fn(&Path, bool) -> anyhow::Result<NewFile>; 2] =
        [NewFile::create, NewFile::create_named];

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_appears_when_it_is_published() {
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("out");
            let new = way(&path, false).unwrap();
            new.file().write_all(b"content").unwrap();
            assert!(!path.exists());
            new.publish(true).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"content");
            assert_eq!(names(dir.path()), ["out"]);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            fs::write(dir.path().join("usual"), "").unwrap();
            let usual = fs::metadata(dir.path().join("usual")).unwrap();
            assert_eq!(mode, usual.permissions().mode());
        }
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            drop(way(&dir.path().join("out"), false).unwrap());
            assert!(names(dir.path()).is_empty());
        }
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("out");
            let late = way(&path, false).unwrap();
            fs::write(&path, "old").unwrap();
            let early = way(&path, false).unwrap_err();
            let late = late.publish(false).unwrap_err();
            for error in [early, late] {
                assert!(error.to_string().contains("exists already"), "{error}");
            }
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(names(dir.path()), ["out"]);

            let new = way(&path, true).unwrap();
            new.file().write_all(b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
            new.publish(false).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(names(dir.path()), ["out"]);
        }
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), Path::new("/dev/null")] {
            let error = NewFile::create(path, true).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
    }
}
