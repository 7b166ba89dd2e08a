//! Starting and ending the QEMU process of a machine.
//!
//! QEMU starts paused and is set going through QMP once it has answered there. By then it has
//! opened every file, bound every port and built the machine, so "running" is certain; and until
//! then no virtual processor competes with that work, which halves the time when guests are
//! emulated.
//!
//! The process gets a session of its own and keeps nothing of the service open, so it outlives a
//! killed service as well as the terminal that the service was started from.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::blocking;
use super::cgroup::Groups;
use super::command::{DISK_NODE, Processor, arguments};
use super::confine::Confinement;
use super::equipment::Equipment;
use super::files::{MachineDir, QMP_SOCKET, doing};
use super::netdev;
use super::parts::virtual_size;
use super::qmp::{self, Qmp};
use crate::vm::{Rescue, VmError, VmSpec, host};

/// From start to the first answer; 0.1 s is usual, and an overloaded host takes seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// From hanging up to being gone.
const DEATH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an orderly end may take before it is forced.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the kernel may take to clear away a killed process.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at something that is about to change.
const PAUSE: Duration = Duration::from_millis(2);

impl From<qmp::Error> for VmError {
    fn from(error: qmp::Error) -> Self {
        match error {
            qmp::Error::Io(source) => VmError::Io {
                what: "talking to QEMU".into(),
                source,
            },
            other => VmError::Hypervisor(other.to_string()),
        }
    }
}

/// What machines are started with, and what they are kept in.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    pub program: &'a Path,
    pub processor: Processor,
    pub equipment: &'a Equipment,
    pub confinement: &'a Confinement,
    pub groups: Option<&'a Groups>,
}

/// Starts QEMU unless it lives already; returns when the guest runs.
pub async fn start(machine: &MachineDir, spec: &VmSpec, means: Means<'_>) -> Result<(), VmError> {
    loop {
        match machine.take_lock()? {
            Some(lock) => return launch(machine, spec, means, lock).await,
            None if resume(machine, spec, means).await? => return Ok(()),
            None => end(machine, true).await?,
        }
    }
}

async fn launch(
    machine: &MachineDir,
    spec: &VmSpec,
    means: Means<'_>,
    lock: File,
) -> Result<(), VmError> {
    let launch = {
        let (machine, spec) = (machine.clone(), spec.clone());
        let equipment = means.equipment.clone();
        blocking(move || machine.refresh(&spec, &equipment)).await?
    };
    netdev::check(&launch.network)?;
    let rescue = spec.rescue.as_ref();
    let arguments = arguments(&launch, rescue, means.processor, means.equipment)?;
    let limit = file_bytes(spec)?;
    let command = means.confinement.command(spec.id, limit, means.program);
    let log = {
        let machine = machine.clone();
        blocking(move || machine.prepare_start()).await?
    };
    let mut child = spawn(command, machine, &arguments, lock, log)?;
    let pid = child.id();
    // It runs nothing of its guest's until it is told to go on, so that the limits hold from the beginning.
    let limited = async {
        if let (Some(groups), Some(pid)) = (means.groups, pid) {
            groups.admit(pid, spec)?;
        }
        first_contact(machine, spec.disk_bytes).await
    };
    let started = timeout(START_TIMEOUT, async {
        tokio::select! {
            error = death(&mut child, machine) => Err(error),
            result = limited => result,
        }
    });
    let result = started.await.unwrap_or_else(|_| {
        let seconds = START_TIMEOUT.as_secs();
        Err(VmError::Hypervisor(format!(
            "QEMU did not answer within {seconds} seconds"
        )))
    });
    let Err(error) = result else { return Ok(()) };
    // A QEMU that dies hangs up first, and its last words say more than that.
    let last = timeout(DEATH_TIMEOUT, death(&mut child, machine)).await;
    // It may have ended by itself, which is no error here.
    let _ = child.kill().await;
    Err(last.unwrap_or(error))
}

/// Waits for the end of a QEMU that should go on, and says why it came.
async fn death(child: &mut Child, machine: &MachineDir) -> VmError {
    match child.wait().await {
        Err(error) => doing("waiting for QEMU")(error),
        Ok(status) => VmError::Hypervisor(match machine.last_words() {
            words if words.is_empty() => format!("QEMU ended at once, with {status}"),
            words => words,
        }),
    }
}

/// The command is dropped at the end, and with it the service's hold on the lock.
fn spawn(
    mut command: Command,
    machine: &MachineDir,
    arguments: &[String],
    lock: File,
    log: File,
) -> Result<Child, VmError> {
    let errors = log.try_clone().map_err(doing("opening qemu.log twice"))?;
    // It becomes QEMU under the same process id.
    command
        .args(arguments)
        .current_dir(machine.path())
        .stdin(Stdio::from(lock))
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(errors))
        .spawn()
        .map_err(doing("starting QEMU by way of `sh`"))
}

/// How large a file of the machine may become: its disk, if all of it is written, with the tables of
/// qcow2, of which a table of clusters takes most, 8 bytes for each 64 KiB. The console's log has as much.
fn file_bytes(spec: &VmSpec) -> Result<u64, VmError> {
    let rescue = match &spec.rescue {
        Some(Rescue::Image { file, .. }) => {
            virtual_size(file).map_err(doing("reading the size of the rescue image"))?
        }
        _ => 0,
    };
    let disk = spec.disk_bytes.max(rescue);
    Ok(disk.saturating_add(disk / 1024).saturating_add(64 << 20))
}

async fn first_contact(machine: &MachineDir, disk_bytes: u64) -> Result<(), VmError> {
    let stream = loop {
        match machine.connect(QMP_SOCKET).await {
            Ok(stream) => break stream,
            Err(_) => sleep(PAUSE).await,
        }
    };
    let mut qmp = Qmp::negotiate(stream).await?;
    grow(machine, &mut qmp, disk_bytes).await?;
    let begun = machine.clone();
    blocking(move || begun.keep_start()).await?;
    go(&mut qmp).await
}

async fn grow(machine: &MachineDir, qmp: &mut Qmp, disk_bytes: u64) -> Result<(), VmError> {
    if machine.disk_bytes()? < disk_bytes {
        let larger = json!({ "node-name": DISK_NODE, "size": disk_bytes });
        qmp.execute_with("block_resize", larger).await?;
    }
    Ok(())
}

/// The monitor of a machine whose QEMU answers.
pub async fn monitor(machine: &MachineDir) -> Result<Qmp, VmError> {
    let stream = machine
        .connect(QMP_SOCKET)
        .await
        .map_err(doing("connecting to QEMU"))?;
    Ok(Qmp::negotiate(stream).await?)
}

/// Sets a machine going that lives but may be paused: by a service that died in the middle of
/// starting it, or by QEMU when the host's disk was full. Returns false if it must be started anew: it
/// is beyond help, or is to have another size now.
async fn resume(machine: &MachineDir, spec: &VmSpec, means: Means<'_>) -> Result<bool, VmError> {
    let deadline = Instant::now() + START_TIMEOUT;
    let stream = loop {
        match machine.connect(QMP_SOCKET).await {
            Ok(stream) => break stream,
            Err(_) if !machine.is_alive()? => return Ok(false),
            Err(error) if Instant::now() > deadline => {
                return Err(doing("connecting to QEMU")(error));
            }
            Err(_) => sleep(PAUSE).await,
        }
    };
    let mut qmp = Qmp::negotiate(stream).await?;
    match run_state(&mut qmp).await?.as_str() {
        "running" => return Ok(true),
        "internal-error" | "guest-panicked" | "shutdown" => return Ok(false),
        _ if !machine.launch()?.has_size_of(spec) => return Ok(false),
        // Nothing of what comes after its start was certainly done.
        "prelaunch" => {
            let pid = machine
                .pid()
                .map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
            if let (Some(groups), Some(pid)) = (means.groups, pid) {
                groups.admit(pid, spec)?;
            }
            grow(machine, &mut qmp, spec.disk_bytes).await?;
        }
        _ => machine.mark_held(false)?,
    }
    go(&mut qmp).await.map(|()| true)
}

async fn go(qmp: &mut Qmp) -> Result<(), VmError> {
    if run_state(qmp).await? != "running" {
        qmp.execute("cont").await?;
        let state = run_state(qmp).await?;
        if state != "running" {
            return Err(VmError::Hypervisor(format!(
                "the machine does not run but is `{state}`"
            )));
        }
    }
    Ok(())
}

/// QEMU's word for what the machine does: `running`, `prelaunch`, `io-error` and others.
pub async fn run_state(qmp: &mut Qmp) -> Result<String, VmError> {
    let status = qmp.execute("query-status").await?;
    let state = status.get("status").and_then(|state| state.as_str());
    Ok(state.unwrap_or("unknown").to_owned())
}

/// Ends QEMU if it lives. An orderly end writes out what QEMU holds back of the disk's metadata;
/// for the guest both are a power cut.
pub async fn end(machine: &MachineDir, orderly: bool) -> Result<(), VmError> {
    if !machine.is_alive()? {
        return Ok(());
    }
    if orderly && quit(machine).await.is_ok() && wait_for_end(machine, QUIT_TIMEOUT).await? {
        return Ok(());
    }
    let deadline = Instant::now() + KILL_TIMEOUT;
    while machine.is_alive()? {
        // The process id is written a moment after the start, hence inside the loop.
        kill(machine)?;
        if wait_for_end(machine, Duration::from_millis(100)).await? {
            break;
        }
        if Instant::now() > deadline {
            let path = machine.path().display();
            return Err(VmError::Hypervisor(format!(
                "the QEMU process that works in {path} does not end\nsee `fuser -v {path}`"
            )));
        }
    }
    Ok(())
}

async fn quit(machine: &MachineDir) -> Result<(), VmError> {
    let asked = async {
        monitor(machine).await?.execute("quit").await?;
        Ok(())
    };
    let too_long = |_| {
        Err(doing("asking QEMU to end")(
            std::io::ErrorKind::TimedOut.into(),
        ))
    };
    timeout(QUIT_TIMEOUT, asked).await.unwrap_or_else(too_long)
}

fn kill(machine: &MachineDir) -> Result<(), VmError> {
    host::signal(|| machine.pid(), Signal::KILL)
        .map(drop)
        .map_err(doing("killing QEMU"))
}

/// Whether QEMU was gone before the time was over.
async fn wait_for_end(machine: &MachineDir, limit: Duration) -> Result<bool, VmError> {
    let deadline = Instant::now() + limit;
    while machine.is_alive()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
    Ok(true)
}
