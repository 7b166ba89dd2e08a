//! The disk of a machine at one moment, while the machine goes on.
//!
//! Of a machine that is off this is the disk itself. For one that runs, QEMU is told to copy it
//! (`blockdev-backup`): whatever the guest writes meanwhile, the old content is copied first, so the
//! copy is what the disk was when the copying began, as after a power cut. Only the machine's own
//! layer is copied, into a file that we made; the image below is the same for both.
//!
//! The copying goes on in QEMU when the service ends. Whoever begins again, or gives up, first clears
//! away what is left: the job, the block node, the file.
//!
//! Reference: <https://www.qemu.org/docs/master/interop/live-block-operations.html>.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::command::{BASE_NODE, DISK_NODE};
use super::files::{self, Launch, MachineDir, remove_file};
use super::parts::build_disk;
use super::qmp::Qmp;
use super::{Qemu, blocking, process};
use crate::vm::{VmError, VmId};

/// How QEMU knows the job and the copy.
const NAME: &str = "snapshot";
/// Between two looks at how far QEMU is.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a job that is called off may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// The file that holds the disk's changes.
pub async fn make(
    qemu: &Qemu,
    id: VmId,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<PathBuf, VmError> {
    {
        let (machine, _guard) = qemu.existing(id).await?;
        clear(&machine).await?;
        if !machine.is_alive()? {
            return Ok(machine.file(files::DISK));
        }
        begin(&machine).await?;
    }
    loop {
        // Others may talk to the machine between two looks.
        {
            let (machine, _guard) = qemu.existing(id).await?;
            match look(&machine, progress).await {
                Ok(true) => return Ok(machine.file(files::SNAPSHOT)),
                Ok(false) => {}
                // The guest powered itself off: its disk rests.
                Err(_) if !machine.is_alive()? => {
                    clear(&machine).await?;
                    return Ok(machine.file(files::DISK));
                }
                Err(error) => return Err(error),
            }
        }
        sleep(PAUSE).await;
    }
}

/// Has QEMU begin to copy into a new file.
pub async fn begin(machine: &MachineDir) -> Result<(), VmError> {
    let Launch {
        image, disk_bytes, ..
    } = machine.launch()?;
    let (path, bytes) = (machine.file(files::SNAPSHOT), machine.disk_bytes()?);
    if disk_bytes != 0 && bytes > disk_bytes {
        return Err(VmError::Hypervisor(format!(
            "the disk says that it has {bytes} bytes, and {disk_bytes} is what the machine was given"
        )));
    }
    blocking(move || build_disk(&path, &image, bytes)).await?;
    machine.hand_over_file(files::SNAPSHOT)?;
    let mut qmp = process::monitor(machine).await?;
    let node = json!({
        "node-name": NAME,
        "driver": "qcow2",
        "backing": BASE_NODE,
        "file": { "driver": "file", "filename": files::SNAPSHOT },
    });
    qmp.execute_with("blockdev-add", node).await?;
    let job = json!({
        "job-id": NAME,
        "device": DISK_NODE,
        "target": NAME,
        "sync": "top",
        // Its end stays to be seen until it is dismissed.
        "auto-dismiss": false,
    });
    qmp.execute_with("blockdev-backup", job).await?;
    Ok(())
}

/// Whether the copy is complete; then it is closed.
async fn look(
    machine: &MachineDir,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<bool, VmError> {
    let mut qmp = process::monitor(machine).await?;
    let Some(job) = job(&mut qmp).await? else {
        return Err(VmError::Hypervisor(
            "QEMU no longer knows of the copy that it was making".into(),
        ));
    };
    let number = |name: &str| job.get(name).and_then(Value::as_u64).unwrap_or(0);
    let go_on = progress(number("current-progress"), number("total-progress"));
    if job["status"] != "concluded" {
        return match go_on {
            true => Ok(false),
            false => Err(VmError::Hypervisor("the copying was called off".into())),
        };
    }
    if let Some(error) = job.get("error").and_then(Value::as_str) {
        return Err(VmError::Hypervisor(format!("copying the disk: {error}")));
    }
    dismiss(&mut qmp).await?;
    close(&mut qmp).await?;
    Ok(true)
}

/// The job, if QEMU knows of one.
async fn job(qmp: &mut Qmp) -> Result<Option<Value>, VmError> {
    let jobs = qmp.execute("query-jobs").await?;
    let mut jobs = jobs.as_array().into_iter().flatten();
    Ok(jobs.find(|job| job["id"] == NAME).cloned())
}

/// Forgets a job that has ended.
async fn dismiss(qmp: &mut Qmp) -> Result<(), VmError> {
    qmp.execute_with("job-dismiss", json!({ "id": NAME }))
        .await?;
    Ok(())
}

/// Closes the copy.
async fn close(qmp: &mut Qmp) -> Result<(), VmError> {
    qmp.execute_with("blockdev-del", json!({ "node-name": NAME }))
        .await?;
    Ok(())
}

/// Removes what an attempt left, at whatever moment it ended.
pub async fn clear(machine: &MachineDir) -> Result<(), VmError> {
    if !machine.exists() {
        return Ok(());
    }
    if machine.is_alive()? {
        match forget(machine).await {
            // With QEMU its job and its nodes are gone.
            Err(_) if !machine.is_alive()? => {}
            result => result?,
        }
    }
    remove_file(&machine.file(files::SNAPSHOT))
}

async fn forget(machine: &MachineDir) -> Result<(), VmError> {
    let mut qmp = process::monitor(machine).await?;
    let deadline = Instant::now() + END_TIMEOUT;
    while let Some(job) = job(&mut qmp).await? {
        if job["status"] == "concluded" {
            dismiss(&mut qmp).await?;
            continue;
        }
        // Refused while it is ending already, which is as good.
        let _ = qmp.execute_with("job-cancel", json!({ "id": NAME })).await;
        if Instant::now() > deadline {
            return Err(VmError::Hypervisor(
                "QEMU does not end the copy that it was making".into(),
            ));
        }
        sleep(PAUSE).await;
    }
    let nodes = qmp
        .execute_with("query-named-block-nodes", json!({ "flat": true }))
        .await?;
    let mut nodes = nodes.as_array().into_iter().flatten();
    if nodes.any(|node| node["node-name"] == NAME) {
        close(&mut qmp).await?;
    }
    Ok(())
}
