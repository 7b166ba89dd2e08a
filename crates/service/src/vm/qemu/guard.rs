//! Keeps machines from taking the last room on the filesystem of their region.
//!
//! Disks are thin: a machine takes what it has written, and all of them together may want more than there
//! is. When what is left falls below a reserve, machines whose files grow are paused, one look after the
//! other, before images, the database and all other machines run into a full disk. Who is paused has lost
//! nothing, and goes on from there when it is switched on again.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
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

/// A machine has about twenty; a QEMU that was broken out of may make any number, and is not to take our
/// time as well.
const MOST_FILES: usize = 1000;
/// How long one machine may hold up the look at the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// The room of a region's machines.
#[derive(Debug)]
pub struct Guard {
    machines: PathBuf,
    reserve: u64,
    /// Bytes that each running machine took when it was last looked at, while there was little room.
    taken: Mutex<HashMap<VmId, u64>>,
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
        let grown = |(id, bytes): (&VmId, &u64)| {
            let before = taken.get(id)?;
            (*bytes > before + LITTLE).then_some(*id)
        };
        let growing = now.iter().filter_map(grown).collect();
        *taken = now;
        Ok(growing)
    }

    fn sizes(&self) -> Result<HashMap<VmId, u64>, VmError> {
        let entries = fs::read_dir(&self.machines).map_err(doing("listing the machines"))?;
        let ids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(ids.map(|id: VmId| (id, self.size(id))).collect())
    }

    /// What all of its files take. Only growth counts, so the canonical image does no harm.
    fn size(&self, id: VmId) -> u64 {
        let machine = self.machines.join(id.to_string());
        let entries = [machine.join(RUN), machine].map(fs::read_dir);
        let files = entries.into_iter().flatten().flat_map(|entries| {
            let files = entries.flatten().take(MOST_FILES);
            files.filter_map(|file| Some(file.metadata().ok()?.blocks()))
        });
        files.sum::<u64>().saturating_mul(512)
    }
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
