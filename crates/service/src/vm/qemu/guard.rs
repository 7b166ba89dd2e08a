//! Keeps machines from taking the last room on the filesystem of their region.
//!
//! Disks are thin: a machine takes what it has written, and all of them together may want more than there
//! is. When what is left falls below a reserve, machines whose files grow are paused, one look after the
//! other, before images, the database and all other machines run into a full disk. Who is paused has lost
//! nothing, and goes on from there when it is switched on again.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::files::{MachineDir, RUN, doing};
use super::{Qemu, process};
use crate::uploads::capacity;
use crate::vm::{VmError, VmId};

/// A guest that only keeps its logs is not who fills the disk.
const LITTLE: u64 = 1 << 20;

/// A machine has about twenty, and no directories but one. A QEMU that was broken out of may make any number;
/// then it is not waited for what they grow to.
const MOST_FILES: usize = 1000;
/// How long one machine may hold up the look at the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// The room of a region's machines.
#[derive(Debug)]
pub struct Guard {
    machines: PathBuf,
    reserve: u64,
    /// Bytes that each machine took when it was last looked at, while there was little room.
    taken: Mutex<HashMap<VmId, Option<u64>>>,
}

impl Guard {
    /// `reserve` is in bytes, on the filesystem of the directory `machines`.
    pub fn new(machines: PathBuf, reserve: u64) -> Self {
        Self {
            machines,
            reserve,
            taken: Mutex::default(),
        }
    }

    /// The same reserve for other machines.
    pub fn beside(&self, machines: PathBuf) -> Self {
        Self::new(machines, self.reserve)
    }

    /// # Errors
    /// There is no room for what a machine may write.
    pub fn check(&self) -> Result<(), VmError> {
        let free = self.free()?;
        if free >= self.reserve {
            return Ok(());
        }
        Err(VmError::NoRoom {
            free,
            reserve: self.reserve,
        })
    }

    fn free(&self) -> Result<u64, VmError> {
        capacity::free(&self.machines).map_err(doing("asking for the room on the disk"))
    }

    /// The machines that have grown since the last look, if there is little room; none at the first.
    fn growing(&self) -> Result<Vec<VmId>, VmError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if self.check().is_ok() {
            taken.clear();
            return Ok(Vec::new());
        }
        let now = self.sizes()?;
        let has_grown = |id: &VmId, bytes: Option<u64>| match (bytes, taken.get(id)) {
            (None, _) => true,
            (Some(bytes), Some(Some(before))) => bytes > before.saturating_add(LITTLE),
            (Some(_), _) => false,
        };
        let grown = now.iter().filter(|(id, bytes)| has_grown(id, **bytes));
        let growing = grown.map(|(id, _)| *id).collect();
        *taken = now;
        Ok(growing)
    }

    fn sizes(&self) -> Result<HashMap<VmId, Option<u64>>, VmError> {
        let entries = fs::read_dir(&self.machines).map_err(doing("listing the machines"))?;
        let ids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(ids.map(|id: VmId| (id, self.size(id))).collect())
    }

    /// What all of its files take; `None` if they are more, or elsewhere, than any machine has them. Only
    /// growth counts, so the canonical image does no harm.
    fn size(&self, id: VmId) -> Option<u64> {
        let machine = self.machines.join(id.to_string());
        let made_by_qemu = blocks(&machine.join(RUN), None)?;
        let others = blocks(&machine, Some(RUN))?;
        Some(made_by_qemu.saturating_add(others).saturating_mul(512))
    }
}

/// How many blocks of 512 bytes the files of a directory take, which may have one other directory in it;
/// `None` if it has others, or too many files.
fn blocks(directory: &Path, other: Option<&str>) -> Option<u64> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut blocks = 0_u64;
    for (count, entry) in entries.enumerate() {
        // One that is gone meanwhile takes nothing.
        let Ok(file) = entry.metadata() else { continue };
        let is_strange = file.is_dir() && other.is_none_or(|other| entry.file_name() != other);
        if is_strange || count >= MOST_FILES {
            return None;
        }
        blocks = blocks.saturating_add(file.blocks());
    }
    Some(blocks)
}

/// Pauses machines that take the last room; it is to be called every second or so.
///
/// # Errors
/// When it cannot be found out who they are. One that cannot be paused does not save the others.
pub async fn look(qemu: &Qemu) -> Result<(), VmError> {
    let pauses = qemu.guard.growing()?.into_iter().map(async |id| {
        let paused = timeout(PATIENCE, async {
            let (machine, _guard) = qemu.machine(id).await;
            pause(&machine).await
        });
        match paused.await {
            Ok(Ok(())) => tracing::warn!(machine = id, "paused, because the disk is nearly full"),
            _ if !qemu.directory(id).is_alive()? => {}
            Ok(Err(error)) => {
                tracing::error!(machine = id, %error, "it fills the disk, and goes on");
            }
            Err(_) => tracing::error!(
                machine = id,
                "it fills the disk, and could not be paused yet"
            ),
        }
        Ok(())
    });
    join_all(pauses).await.into_iter().collect()
}

async fn pause(machine: &MachineDir) -> Result<(), VmError> {
    let mut qmp = process::monitor(machine).await?;
    if process::run_state(&mut qmp).await? == "running" {
        machine.mark_held(true)?;
        qmp.execute("stop").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hides_what_it_writes_is_not_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let guard = Guard::new(scratch.path().to_owned(), u64::MAX);
        let run = scratch.path().join("1").join(RUN);
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("qmp.sock"), [1; 4096]).unwrap();
        let growing = || guard.growing().unwrap();
        assert!(growing().is_empty(), "nothing is known yet");
        assert!(growing().is_empty(), "it has not grown");
        fs::write(run.join("screen.png"), vec![1; 4 << 20]).unwrap();
        assert_eq!(growing(), [1]);
        assert!(growing().is_empty());
        let deeper = run.join(RUN);
        fs::create_dir(&deeper).unwrap();
        assert_eq!((growing(), growing()), (vec![1], vec![1]));
        fs::remove_dir(&deeper).unwrap();
        assert!(growing().is_empty());
        for number in 0..MOST_FILES {
            fs::write(run.join(number.to_string()), "").unwrap();
        }
        assert_eq!(growing(), [1]);
    }
}
