//! The driver for one host: a QEMU process per machine.
//!
//! Read `files` first: it shows the directory that *is* a machine, and the lock that tells
//! whether it runs. `process` starts and ends QEMU, `command` is its command line, `qmp` the
//! protocol to talk to it, and `accel` finds out whether the hardware really runs guests.
//!
//! The driver itself remembers nothing. A new one on the same directory, after the service was
//! killed or updated, continues with every machine as it is.

mod accel;
mod agent;
mod cgroup;
mod command;
mod confine;
mod equipment;
mod examine;
mod files;
mod forward;
mod guard;
mod netdev;
mod parts;
mod process;
mod qmp;
mod remains;
mod screenshot;
mod snapshot;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abbild_api::{Forward, Protocol};
use tokio::net::UnixStream;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep, timeout};

use self::accel::Accelerator;
use self::agent::Agent;
use self::cgroup::Groups;
use self::confine::Confinement;
pub use self::confine::UserIds;
pub use self::equipment::{Equipment, RescueSystem, Uefi};
pub(crate) use self::examine::find_program;
pub use self::examine::{acceleration, is_alive, limits, separates_users, user};
pub use self::files::POWERED_OFF;
use self::files::{AGENT_SOCKET, MachineDir, SERIAL_SOCKET, VNC_SOCKET, doing};
use self::guard::Guard;
pub use self::parts::virtual_size;
use self::qmp::Qmp;
use super::bridge::RegionBridge;
use super::{Acceleration, Hypervisor, VmError, VmId, VmSpec, VmStatus};

/// How long a machine that is polled may take to say what it does. One that does not answer is
/// busy, not off.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long QEMU may take to notice that a console came or went: at once, but for a host that has more
/// to do than it can.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
/// What the owner of a machine is told that was about to take the last room.
const HELD: &str = "paused, because the host's disk is nearly full; switch it on when there is room, and \
                    it goes on where it was";

/// What the operator can choose.
#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// QEMU's name, looked up in `PATH`, or its path.
    pub program: PathBuf,
    /// `false` never uses KVM.
    pub allow_kvm: bool,
    /// What machines may be started with.
    pub equipment: Equipment,
    /// The control group that is divided among machines; `None` is one that was delegated to this
    /// process, if any.
    pub cgroup: Option<PathBuf>,
    /// Bytes that machines leave free on the filesystem of their directory.
    pub disk_reserve: u64,
    /// Whom machines run as, if this process may choose; `None` is the user of this process.
    pub user_ids: Option<UserIds>,
    /// What connects machines to a bridge.
    pub bridge: Option<RegionBridge>,
}

impl Default for QemuConfig {
    fn default() -> Self {
        Self {
            program: "qemu-system-x86_64".into(),
            allow_kvm: true,
            equipment: Equipment::default(),
            cgroup: None,
            disk_reserve: 0,
            user_ids: Some(UserIds::default()),
            bridge: None,
        }
    }
}

/// The driver. Only one process may use a directory at a time.
#[derive(Debug)]
pub struct Qemu {
    program: PathBuf,
    machines: PathBuf,
    equipment: Equipment,
    confinement: Confinement,
    bridge: Option<RegionBridge>,
    guard: Guard,
    groups: Option<Groups>,
    accelerator: Arc<Accelerator>,
    /// Serialises what is done to each machine; also QMP serves one client at a time.
    busy: Mutex<HashMap<VmId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Qemu {
    /// Adopts the machines in `vms/` below `dir`, and begins in the background to find out
    /// whether KVM works.
    ///
    /// # Errors
    ///
    /// QEMU is not installed, or the directory cannot be made.
    pub async fn new(dir: PathBuf, config: QemuConfig) -> Result<Self, VmError> {
        let program = find_program(&config.program)?;
        let dir = std::path::absolute(dir).map_err(doing("resolving the data directory"))?;
        let machines = dir.join("vms");
        make_directory(&machines)?;
        let confinement = Confinement::find(config.user_ids);
        let groups = Groups::find(config.cgroup.as_deref());
        let groups = groups.and_then(|groups| groups.prepare().map(|()| groups));
        tracing::info!(
            separate_users = confinement.separates_users(),
            limits = groups.as_ref().map_or_else(Clone::clone, Groups::describe),
            directory = %machines.display(),
            "how machines are kept apart"
        );
        // What was named must be there; what may be delegated need not.
        let groups = match groups {
            Err(problem) if config.cgroup.is_some() => return Err(VmError::Hypervisor(problem)),
            groups => groups.ok(),
        };
        let accelerator = Arc::new(Accelerator::new(program.clone(), dir, config.allow_kvm));
        let finding_out = Arc::clone(&accelerator);
        tokio::spawn(async move {
            let found = finding_out.get().await;
            let reason = found.fallback_reason.as_deref().unwrap_or("");
            tracing::info!(
                accelerator = found.name,
                reason,
                "virtual machines can be started"
            );
        });
        let driver = Self {
            program,
            guard: Guard::new(machines.clone(), config.disk_reserve),
            machines,
            equipment: config.equipment,
            confinement,
            bridge: config.bridge,
            groups,
            accelerator,
            busy: Mutex::default(),
        };
        driver.sweep_network().await;
        Ok(driver)
    }

    /// Removes what connected machines that are gone. Nothing depends on it now.
    async fn sweep_network(&self) {
        let Some(RegionBridge { bridge, region }) = &self.bridge else {
            return;
        };
        let exists = |id| self.directory(id).exists();
        match bridge.sweep(region, exists).await {
            Err(error) if bridge.is_used() => {
                tracing::warn!(%error, "removing what connected machines that are gone failed");
            }
            _ => {}
        }
    }

    /// Looks whether machines that run are still connected, and connects them again where somebody has
    /// changed the host's network.
    ///
    /// # Errors
    /// A program is missing, or what it says.
    pub async fn uphold_network(&self) -> Result<(), VmError> {
        let Some(RegionBridge { bridge, .. }) = &self.bridge else {
            return Ok(());
        };
        let mut machines = Vec::new();
        if bridge.is_used() {
            let reading = || doing(format!("reading {}", self.machines.display()));
            for entry in std::fs::read_dir(&self.machines).map_err(reading())? {
                let name = entry.map_err(reading())?.file_name();
                let id = name.to_str().and_then(|name| name.parse().ok());
                machines.extend(id.map(|id| self.directory(id)));
            }
        }
        let running = blocking(move || Ok(netdev::running(&machines))).await?;
        bridge.uphold(&running).await
    }

    /// A driver with the same equipment for other machines, which are in `name` beside `vms/`.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn beside(&self, name: &str) -> Result<Self, VmError> {
        let machines = self.machines.with_file_name(name);
        make_directory(&machines)?;
        Ok(Self {
            program: self.program.clone(),
            guard: self.guard.beside(machines.clone()),
            machines,
            equipment: self.equipment.clone(),
            // Its machines would need ports of their own.
            bridge: None,
            confinement: self.confinement,
            groups: self.groups.as_ref().map(|groups| groups.beside(name)),
            accelerator: Arc::clone(&self.accelerator),
            busy: Mutex::default(),
        })
    }

    /// Ends all machines and removes them, also such as are only half made. One that cannot be removed
    /// does not save the others.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub async fn delete_all(&self) -> Result<(), VmError> {
        let reading = || doing(format!("reading {}", self.machines.display()));
        for entry in std::fs::read_dir(&self.machines).map_err(reading())? {
            let name = entry.map_err(reading())?.file_name();
            let name = name.to_string_lossy();
            let id = name.split('.').next().and_then(|id| id.parse().ok());
            if let Some(id) = id
                && let Err(error) = self.delete(id).await
            {
                tracing::error!(machine = id, %error, "a machine is left behind");
            }
        }
        Ok(())
    }

    /// The machine's directory, reserved for the caller until the guard is dropped.
    async fn machine(&self, id: VmId) -> (MachineDir, OwnedMutexGuard<()>) {
        let lock = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            // Locks that nobody holds or waits for are dropped here, so the map stays small.
            busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(busy.entry(id).or_default())
        };
        let guard = lock.lock_owned().await;
        (self.directory(id), guard)
    }

    fn directory(&self, id: VmId) -> MachineDir {
        MachineDir::new(&self.machines, id, self.confinement.owner(id))
    }

    /// As [`Self::machine`], for a machine that must exist.
    async fn existing(&self, id: VmId) -> Result<(MachineDir, OwnedMutexGuard<()>), VmError> {
        let (machine, guard) = self.machine(id).await;
        if machine.exists() {
            Ok((machine, guard))
        } else {
            Err(VmError::Absent(id))
        }
    }

    /// As [`Self::existing`], for a machine that must be on.
    async fn running(&self, id: VmId) -> Result<(MachineDir, OwnedMutexGuard<()>), VmError> {
        let (machine, guard) = self.existing(id).await?;
        match machine.is_alive()? {
            true => Ok((machine, guard)),
            false => Err(VmError::NotRunning(id)),
        }
    }

    async fn run(&self, machine: &MachineDir, spec: &VmSpec) -> Result<(), VmError> {
        if machine.is_held() || !machine.is_alive()? {
            self.guard.check()?;
        }
        let user = self.confinement.owner(spec.id).user;
        netdev::connect(self.bridge.as_ref(), machine, spec, user).await?;
        let means = process::Means {
            program: &self.program,
            processor: self.accelerator.processor().await,
            equipment: &self.equipment,
            confinement: &self.confinement,
            groups: self.groups.as_ref(),
        };
        process::start(machine, spec, means).await
    }
}

impl Hypervisor for Qemu {
    async fn acceleration(&self) -> Acceleration {
        self.accelerator.get().await
    }

    fn has_rescue_system(&self) -> Result<(), VmError> {
        self.equipment.rescue.check()
    }

    fn has_room(&self) -> Result<(), VmError> {
        self.guard.check()
    }

    async fn keep_room(&self) -> Result<(), VmError> {
        guard::look(self).await
    }

    async fn create(&self, spec: &VmSpec) -> Result<(), VmError> {
        let (machine, _guard) = self.machine(spec.id).await;
        if !machine.was_started() {
            let (machine, spec) = (machine.clone(), spec.clone());
            let uefi = self.equipment.uefi.clone();
            blocking(move || machine.build(&spec, &uefi)).await?;
        }
        self.run(&machine, spec).await
    }

    async fn start(&self, spec: &VmSpec) -> Result<(), VmError> {
        let (machine, _guard) = self.existing(spec.id).await?;
        self.run(&machine, spec).await
    }

    async fn rebuild(&self, spec: &VmSpec) -> Result<(), VmError> {
        let (machine, _guard) = self.machine(spec.id).await;
        {
            let (machine, spec) = (machine.clone(), spec.clone());
            let uefi = self.equipment.uefi.clone();
            blocking(move || machine.prepare(&spec, &uefi)).await?;
        }
        process::end(&machine, false).await?;
        blocking(move || machine.exchange()).await
    }

    async fn stop(&self, id: VmId) -> Result<bool, VmError> {
        let (machine, _guard) = self.existing(id).await?;
        let lived = machine.is_alive()?;
        process::end(&machine, true).await?;
        machine.mark_stopped()?;
        Ok(lived)
    }

    async fn press_power_button(&self, id: VmId) -> Result<(), VmError> {
        let (machine, _guard) = self.running(id).await?;
        let pressed = async {
            let mut qmp = process::monitor(&machine).await?;
            Ok::<_, VmError>(qmp.execute("system_powerdown").await?)
        };
        match pressed.await {
            Ok(_) => Ok(()),
            Err(_) if !machine.is_alive()? => Err(VmError::NotRunning(id)),
            Err(error) => Err(error),
        }
    }

    async fn status(&self, id: VmId) -> Result<VmStatus, VmError> {
        let (machine, _guard) = self.machine(id).await;
        if !machine.exists() {
            return Ok(VmStatus::Absent);
        }
        if !machine.is_alive()? {
            return Ok(machine.rest());
        }
        if let Err(error) = machine.trim_logs() {
            tracing::warn!(machine = id, %error, "its logs cannot be shortened");
        }
        let asked = async { process::run_state(&mut process::monitor(&machine).await?).await };
        Ok(match timeout(STATUS_TIMEOUT, asked).await {
            Ok(Ok(state)) if state == "paused" && machine.is_held() => VmStatus::Stopped {
                reason: Some(HELD.into()),
            },
            Ok(Ok(state)) => status_of(&state),
            // It ended while it was being asked, or is too busy to answer.
            Ok(Err(_)) if !machine.is_alive()? => machine.rest(),
            Ok(Err(_)) | Err(_) => VmStatus::Running,
        })
    }

    async fn console(&self, id: VmId) -> Result<UnixStream, VmError> {
        let (machine, _guard) = self.running(id).await?;
        let mut qmp = process::monitor(&machine).await?;
        // A second client would be accepted by the system and then hear nothing, so ask first.
        if !console_becomes(&mut qmp, false).await? {
            return Err(VmError::ConsoleBusy(id));
        }
        let console = machine.connect(SERIAL_SOCKET).await;
        let console = console.map_err(doing("connecting to the serial console"))?;
        if !console_becomes(&mut qmp, true).await? {
            return Err(VmError::ConsoleBusy(id));
        }
        Ok(console)
    }

    async fn screen(&self, id: VmId) -> Result<UnixStream, VmError> {
        let (machine, _guard) = self.running(id).await?;
        match machine.connect(VNC_SOCKET).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(VmError::NoScreen(id))
            }
            connected => connected.map_err(doing("connecting to the screen")),
        }
    }

    async fn press_keys(&self, id: VmId, keys: &[String]) -> Result<(), VmError> {
        let (machine, _guard) = self.running(id).await?;
        let keys: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({ "type": "qcode", "data": key }))
            .collect();
        let mut qmp = process::monitor(&machine).await?;
        let keys = serde_json::json!({ "keys": keys });
        qmp.execute_with("send-key", keys).await?;
        Ok(())
    }

    async fn set_password(&self, id: VmId, user: &str, hash: &str) -> Result<(), VmError> {
        let (machine, guard) = self.running(id).await?;
        let socket = machine.connect(AGENT_SOCKET).await;
        // It is the guest's to answer, and others need the machine meanwhile.
        drop(guard);
        let set = async { Agent::greet(socket?).await?.set_password(user, hash).await };
        set.await.map_err(|error| match error {
            agent::Error::Io(error) => {
                tracing::info!(machine = id, %error, "no guest agent answers");
                VmError::NoAgent(id)
            }
            agent::Error::Refused(words) => VmError::AgentRefused { id, words },
        })
    }

    async fn console_log(&self, id: VmId, max_bytes: u64) -> Result<Vec<u8>, VmError> {
        let machine = self.directory(id);
        if !machine.exists() {
            return Err(VmError::Absent(id));
        }
        blocking(move || machine.console_log(max_bytes)).await
    }

    async fn console_log_from(
        &self,
        id: VmId,
        offset: u64,
        max_bytes: u64,
    ) -> Result<Vec<u8>, VmError> {
        let machine = self.directory(id);
        if !machine.exists() {
            return Err(VmError::Absent(id));
        }
        blocking(move || machine.console_log_from(offset, max_bytes)).await
    }

    async fn screenshot(&self, id: VmId) -> Result<Vec<u8>, VmError> {
        let (machine, _guard) = self.running(id).await?;
        screenshot::take(&machine).await
    }

    async fn forward(&self, id: VmId, forward: Forward) -> Result<(), VmError> {
        let (machine, _guard) = self.running(id).await?;
        forward::add(&machine, &forward).await
    }

    async fn unforward(&self, id: VmId, port: u16, protocol: Protocol) -> Result<(), VmError> {
        let (machine, _guard) = self.running(id).await?;
        forward::remove(&machine, port, protocol).await
    }

    async fn snapshot(
        &self,
        id: VmId,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<PathBuf, VmError> {
        snapshot::make(self, id, progress).await
    }

    async fn forget_snapshot(&self, id: VmId) -> Result<(), VmError> {
        let (machine, _guard) = self.machine(id).await;
        snapshot::clear(&machine).await
    }

    async fn delete(&self, id: VmId) -> Result<(), VmError> {
        let (machine, _guard) = self.machine(id).await;
        process::end(&machine, false).await?;
        netdev::disconnect(self.bridge.as_ref(), &machine, id).await?;
        if let Some(groups) = &self.groups {
            groups.remove(id);
        }
        blocking(move || machine.remove()).await
    }
}

fn make_directory(machines: &std::path::Path) -> Result<(), VmError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(machines)
        .map_err(doing(format!("creating {}", machines.display())))
}

/// What QEMU's run state means for the customer.
fn status_of(state: &str) -> VmStatus {
    let reason = match state {
        "io-error" => "paused, because the host could not write to its disk (is it full?)",
        "internal-error" => "halted, because the host's processor could not continue the guest",
        "prelaunch" => "its start was interrupted",
        "paused" => "paused by an operator",
        "guest-panicked" => "halted, because the guest's kernel panicked",
        "shutdown" => POWERED_OFF,
        _ => return VmStatus::Running,
    };
    VmStatus::Stopped {
        reason: Some(reason.into()),
    }
}

/// Waits until the serial console has a client, or has none. QEMU marks the latter in the name of
/// the character device.
async fn console_becomes(qmp: &mut Qmp, connected: bool) -> Result<bool, VmError> {
    let deadline = Instant::now() + CONSOLE_TIMEOUT;
    loop {
        let devices = qmp.execute("query-chardev").await?;
        let mut devices = devices.as_array().into_iter().flatten();
        let serial = devices.find(|device| device["label"] == "serial");
        let name = serial.and_then(|serial| serial["filename"].as_str());
        let Some(name) = name else {
            return Err(VmError::Hypervisor(
                "the machine has no serial console".into(),
            ));
        };
        if name.starts_with("disconnected:") != connected {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

/// Runs file operations where they do not hold up others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VmError> + Send + 'static,
) -> Result<T, VmError> {
    let finished = tokio::task::spawn_blocking(work).await;
    finished.map_err(|error| doing("working on files")(std::io::Error::other(error)))?
}
