//! What is remembered of an unfinished upload, so that the same command continues it.
//!
//! One small file per upload in `$XDG_STATE_HOME/abbild/uploads` (default `~/.local/state`), named
//! by a hash of everything that makes the command the same: the service, the image file (path,
//! size, modification time) and the name of the new image. The file is locked while an upload
//! runs, so two of the same cannot get into each other's way.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use abbild_api::Id;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::credentials::directory;
use crate::failure::Failure;

/// What makes two uploads the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The service's URL.
    pub server: String,
    /// The image file, without symbolic links.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time, in nanoseconds since 1970.
    pub modified: i128,
    /// Name of the new image.
    pub name: String,
}

impl Identity {
    /// For uploading `file`, which was opened at `path`.
    ///
    /// # Errors
    /// Those of resolving the path and of `fstat`.
    pub fn new(server: &str, path: &Path, file: &File, name: &str) -> anyhow::Result<Self> {
        let (size, modified) = stamp(file)?;
        Ok(Self {
            server: server.to_owned(),
            path: path.canonicalize()?,
            size,
            modified,
            name: name.to_owned(),
        })
    }

    /// Whether `file` still has the size and modification time it had.
    pub fn matches(&self, file: &File) -> bool {
        stamp(file).is_ok_and(|stamp| stamp == (self.size, self.modified))
    }

    fn key(&self) -> String {
        let mut hash = Sha256::new();
        for part in [
            self.server.as_bytes(),
            self.path.as_os_str().as_encoded_bytes(),
            &self.size.to_le_bytes(),
            &self.modified.to_le_bytes(),
            self.name.as_bytes(),
        ] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }
}

fn stamp(file: &File) -> std::io::Result<(u64, i128)> {
    let metadata = file.metadata()?;
    let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok((metadata.len(), modified))
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Path of the upload on the service; empty if the content was known and nothing is sent.
    pub upload: String,
    /// The image that its bytes become, once that was created.
    pub image: Option<Id>,
    /// For people who look into the file.
    pub file: String,
    /// SHA-256 of what is sent, in hexadecimal.
    #[serde(default)]
    pub digest: Option<String>,
    /// Whether that is the compact form of the file.
    #[serde(default)]
    pub compact: bool,
}

/// The open, locked file of one upload.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    path: PathBuf,
}

impl StateFile {
    /// Opens the state of `identity` and returns what it holds, if it holds anything usable.
    ///
    /// # Errors
    /// If the same upload is running already, or the file cannot be used.
    pub fn open(identity: &Identity) -> anyhow::Result<(Self, Option<State>)> {
        let directory = directory("XDG_STATE_HOME", ".local/state")?.join("abbild/uploads");
        Self::open_in(&directory, identity)
    }

    fn open_in(directory: &Path, identity: &Identity) -> anyhow::Result<(Self, Option<State>)> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let path = directory.join(identity.key());
        let opening = || format!("opening {}", path.display());
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(opening)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(format!(
                    "{} is being uploaded under this name already",
                    identity.path.display()
                ))
                .hint("wait for that to end, or choose another --name")
                .into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(opening),
        }
        let mut text = String::new();
        // A file that was cut short by a crash counts as none: the upload begins anew.
        let stored = match file.read_to_string(&mut text) {
            Ok(_) => serde_json::from_str(&text).ok(),
            Err(_) => None,
        };
        Ok((Self { file, path }, stored))
    }

    /// Remembers `state`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&mut self, state: &State) -> anyhow::Result<()> {
        let saving = || format!("writing {}", self.path.display());
        let text = serde_json::to_vec(state)?;
        self.file.set_len(0).with_context(saving)?;
        self.file.rewind().with_context(saving)?;
        self.file.write_all(&text).with_context(saving)?;
        Ok(())
    }

    /// Forgets the upload.
    ///
    /// # Errors
    /// Those of removing the file.
    pub fn remove(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(dir: &Path, content: &str, name: &str) -> Identity {
        let path = dir.join("image");
        fs::write(&path, content).unwrap();
        Identity::new("http://s", &path, &File::open(&path).unwrap(), name).unwrap()
    }

    #[test]
    fn the_same_command_finds_its_state_again() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path(), "abc", "debian");
        let states = dir.path().join("states");
        let (mut file, stored) = StateFile::open_in(&states, &identity).unwrap();
        assert_eq!(stored, None);
        let mut state = State {
            upload: "/v2/uploads/a-rather-long-identifier".into(),
            image: Some(Id(7)),
            file: "image".into(),
            digest: Some("00".into()),
            compact: true,
        };
        file.save(&state).unwrap();
        state.upload = "/v2/uploads/b".into();
        file.save(&state).unwrap();
        let busy = StateFile::open_in(&states, &identity).unwrap_err();
        assert!(busy.to_string().contains("already"), "{busy}");
        drop(file);
        let (file, stored) = StateFile::open_in(&states, &identity).unwrap();
        assert_eq!(stored, Some(state));
        file.remove().unwrap();
        assert_eq!(StateFile::open_in(&states, &identity).unwrap().1, None);
    }

    #[test]
    fn another_name_or_content_is_another_upload() {
        let dir = tempfile::tempdir().unwrap();
        let first = identity(dir.path(), "abc", "debian");
        let other_name = Identity {
            name: "debian2".into(),
            ..first.clone()
        };
        assert_ne!(first.key(), other_name.key());
        let longer = identity(dir.path(), "abcd", "debian");
        assert_ne!(first.key(), longer.key());
        assert!(!first.matches(&File::open(&first.path).unwrap()));
        assert!(longer.matches(&File::open(&first.path).unwrap()));
    }

    #[test]
    fn a_damaged_state_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(dir.path(), "abc", "debian");
        fs::write(dir.path().join(identity.key()), "{\"upl").unwrap();
        assert_eq!(StateFile::open_in(dir.path(), &identity).unwrap().1, None);
    }
}
