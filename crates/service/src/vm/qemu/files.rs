//! The directory of a machine: all there is to know about it between two starts of the service.
//!
//! ```text
//! vms/42/            made as `42.new` and renamed, so that it is complete or absent
//!   launch.json      what QEMU is started with
//!   base.qcow2       the canonical image, by a hard link
//!   config.iso       the config drive
//!   rescue-base.qcow2 rescue-vmlinuz rescue-initrd   what it is rescued with, by hard links or copies
//! * disk.qcow2       the writable layer over the canonical image
//! * uefi-vars.fd     what the firmware remembers, if it is UEFI
//! * rescue.qcow2 rescue-vars.fd    the same of an image that it is rescued with
//! * snapshot.qcow2   a copy of disk.qcow2 as it was at one moment, while a snapshot is made
//! * serial.log       everything the serial console ever printed, old parts cut off
//!   qemu.pid         the process id of QEMU
//!   lock             locked for as long as a QEMU of this machine lives
//!   boot             the boot of the host in which it was started last
//!   qemu.log         what QEMU itself said since its last start
//!   stopped          there if the machine was switched off on request
//!   held             there if it was paused because the disk was nearly full
//! * run/             what QEMU makes itself
//!     qmp.sock       removed by it when it ends in order
//!     serial.sock vnc.sock
//!     screen.png     the screen as it was drawn last, while that is read
//! ```
//!
//! All of it is the service's, and QEMU cannot change which files there are; only what has an asterisk
//! belongs to the user of QEMU ([`confine`](super::confine)). The files above it are readable for that
//! user, but below `vms` nobody gets who was not started there.
//!
//! The lock is the one thing that says whether a machine runs. QEMU gets the locked file as its
//! standard input, so the kernel releases it when the process ends, however it ends; unlike a
//! process id it can be neither stale nor recycled, and there is no moment without an answer.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use abbild_api::{Firmware, Hardware};
use rustix::fs::{CWD, FallocateFlags, RenameFlags};
use rustix::process::{Pid, geteuid};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::confine::{self, Owner};
use super::equipment::{Equipment, Uefi};
use super::parts::{
    backing_file, build_disk, config_drive, link_image, put, readable, virtual_size,
};
use super::remains;
use crate::vm::network::Network;
use crate::vm::platform;
use crate::vm::{Rescue, VmError, VmId, VmSpec, VmStatus};

pub const DISK: &str = "disk.qcow2";
pub const SNAPSHOT: &str = "snapshot.qcow2";
pub const CONFIG_DRIVE: &str = "config.iso";
pub const RESCUE_DISK: &str = "rescue.qcow2";
pub const RESCUE_VARS: &str = "rescue-vars.fd";
pub const UEFI_VARS: &str = "uefi-vars.fd";
pub const BASE: &str = "base.qcow2";
pub const RESCUE_BASE: &str = "rescue-base.qcow2";
pub const RESCUE_KERNEL: &str = "rescue-vmlinuz";
pub const RESCUE_INITRD: &str = "rescue-initrd";
pub const RUN: &str = "run";
pub const AGENT_SOCKET: &str = "run/agent.sock";
pub const QMP_SOCKET: &str = "run/qmp.sock";
pub const SERIAL_SOCKET: &str = "run/serial.sock";
pub const VNC_SOCKET: &str = "run/vnc.sock";
pub const PID: &str = "qemu.pid";
pub const SERIAL_LOG: &str = "serial.log";
pub const SCREENSHOT: &str = "run/screen.png";
pub const QEMU_LOG: &str = "qemu.log";
/// What was where in earlier versions that is in [`RUN`] now.
const LEGACY: [&str; 3] = ["qmp.sock", "serial.sock", "vnc.sock"];
const LAUNCH: &str = "launch.json";
const LOCK: &str = "lock";
const STOPPED: &str = "stopped";
const BOOT: &str = "boot";
const HELD: &str = "held";

/// The reason of a machine that is off because its guest wanted it.
pub const POWERED_OFF: &str = "the guest powered itself off";
/// The reason of one whose QEMU did not end in order.
const KILLED: &str = "QEMU failed or was killed, or the host went down";
/// What QEMU says when a signal ends it.
const SIGNALLED: &str = "terminating on signal";

/// A guest may print for ever; when its log takes more than this on disk, all but
/// [`KEPT_LOG_BYTES`] of it is given back.
const MAX_LOG_BYTES: u64 = 16 << 20;
const KEPT_LOG_BYTES: u64 = 4 << 20;
/// How much of QEMU's own log is shown as a reason.
const REASON_BYTES: u64 = 1000;

/// What a machine is started with, each time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    pub id: VmId,
    /// Random, not derived from the id: a disk that is moved to another installation and gets the
    /// same id there must not be taken for the machine it was.
    pub uuid: String,
    pub vcpus: u32,
    pub memory_mib: u32,
    /// Size of the disk in bytes. Zero in the files of earlier versions.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Absolute.
    pub image: String,
    #[serde(flatten)]
    pub network: Network,
    /// Absent in the files of earlier versions.
    #[serde(default = "platform::before_choice")]
    pub hardware: Hardware,
}

impl Launch {
    /// Whether QEMU was started with the size that the machine is to have.
    pub fn has_size_of(&self, spec: &VmSpec) -> bool {
        let same_disk = [spec.disk_bytes, 0].contains(&self.disk_bytes);
        same_disk && (self.vcpus, self.memory_mib) == (spec.vcpus, spec.memory_mib)
    }
}

/// Attaches to an I/O error what was being done.
pub fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> VmError {
    let what = what.into();
    move |source| VmError::Io { what, source }
}

/// The directory of one machine. It need not exist.
#[derive(Debug, Clone)]
pub struct MachineDir {
    path: PathBuf,
    /// Whom what QEMU writes belongs to from the next start on.
    owner: Owner,
}

impl MachineDir {
    pub fn new(machines: &Path, id: VmId, owner: Owner) -> Self {
        Self {
            path: machines.join(id.to_string()),
            owner,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn unfinished(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Whether QEMU has been started here at least once. Before that nothing in the directory is
    /// worth keeping.
    pub fn was_started(&self) -> bool {
        self.file(QEMU_LOG).exists()
    }

    /// Makes the directory with everything that a start needs, in place of what an interrupted
    /// attempt may have left.
    pub fn build(&self, spec: &VmSpec, uefi: &Uefi) -> Result<(), VmError> {
        self.remove()?;
        self.prepare(spec, uefi)?;
        self.exchange()
    }

    /// Puts what was prepared in the place of what is there, which is removed. At any moment one of
    /// the two is there, and whole.
    pub fn exchange(&self) -> Result<(), VmError> {
        let new = self.unfinished();
        let flags = match self.exists() {
            true => RenameFlags::EXCHANGE,
            false => RenameFlags::empty(),
        };
        rustix::fs::renameat_with(CWD, &new, CWD, &self.path, flags)
            .map_err(io::Error::from)
            .and_then(|()| remains::sync(self.path.parent().unwrap_or(&self.path)))
            .and_then(|()| remains::remove(&new))
            .map_err(doing(format!("creating {}", self.path.display())))
    }

    /// Makes a new machine beside the one that is there, if one is.
    pub fn prepare(&self, spec: &VmSpec, uefi: &Uefi) -> Result<(), VmError> {
        let new = self.unfinished();
        remains::remove(&new).map_err(doing(format!("removing {}", new.display())))?;
        let image = absolute(&spec.image)?;
        let launch = Launch {
            id: spec.id,
            uuid: uuid::Uuid::new_v4().to_string(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            disk_bytes: spec.disk_bytes,
            image: image.clone(),
            network: spec.network.clone(),
            hardware: spec.hardware.clone(),
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&new)
            .map_err(doing(format!("creating {}", new.display())))?;
        link_image(Path::new(&image), &new.join(BASE))?;
        build_disk(&new.join(DISK), &image, spec.disk_bytes)?;
        if spec.hardware.firmware == Firmware::Uefi {
            uefi.copy_variables(&new.join(UEFI_VARS))?;
        }
        let drive = config_drive(spec, &launch.uuid)?;
        fs::write(new.join(CONFIG_DRIVE), drive)
            .and_then(|()| readable(&new.join(CONFIG_DRIVE)))
            .map_err(doing("writing the config drive"))?;
        let launch = serde_json::to_vec_pretty(&launch).map_err(io::Error::from);
        launch
            .and_then(|launch| fs::write(new.join(LAUNCH), launch))
            .and_then(|()| remains::sync_all(&new))
            .map_err(doing("writing launch.json"))
    }

    /// Brings what the next start reads up to date with `spec`: the machine may have been given
    /// another name or size while it was off.
    pub fn refresh(&self, spec: &VmSpec, equipment: &Equipment) -> Result<Launch, VmError> {
        let mut launch = self.launch()?;
        launch.vcpus = spec.vcpus;
        launch.memory_mib = spec.memory_mib;
        launch.network.clone_from(&spec.network);
        launch.disk_bytes = spec.disk_bytes;
        let text = serde_json::to_vec_pretty(&launch).map_err(io::Error::from);
        self.replace(LAUNCH, &text.map_err(doing("writing launch.json"))?)?;
        self.replace(CONFIG_DRIVE, &config_drive(spec, &launch.uuid)?)?;
        link_image(Path::new(&launch.image), &self.file(BASE))?;
        match &spec.rescue {
            None => self.end_rescue()?,
            Some(Rescue::System) => {
                self.end_rescue()?;
                let [kernel, initrd] = equipment.rescue.files()?;
                put(&kernel, &self.file(RESCUE_KERNEL))?;
                put(&initrd, &self.file(RESCUE_INITRD))?;
            }
            Some(Rescue::Image { file, hardware }) => {
                self.prepare_rescue(file, hardware, &equipment.uefi)?;
            }
        }
        Ok(launch)
    }

    /// Removes what a machine was rescued with.
    fn end_rescue(&self) -> Result<(), VmError> {
        let all = [
            RESCUE_DISK,
            RESCUE_VARS,
            RESCUE_BASE,
            RESCUE_KERNEL,
            RESCUE_INITRD,
        ];
        all.iter()
            .try_for_each(|name| remove_file(&self.file(name)))
    }

    /// Makes the disk of an image that a machine is rescued with, unless it has it from an earlier
    /// start.
    fn prepare_rescue(&self, file: &Path, hardware: &Hardware, uefi: &Uefi) -> Result<(), VmError> {
        let (disk, variables) = (self.file(RESCUE_DISK), self.file(RESCUE_VARS));
        link_image(file, &self.file(RESCUE_BASE))?;
        let image = absolute(file)?;
        // One of another image is left of a rescue that did not come about.
        if backing_file(&disk).is_ok_and(|backing| backing == image.as_bytes()) {
            return Ok(());
        }
        remove_file(&disk)?;
        remove_file(&variables)?;
        if hardware.firmware == Firmware::Uefi {
            uefi.copy_variables(&variables)?;
        }
        let size = virtual_size(file).map_err(doing(format!("reading the image {image}")))?;
        // Under its name only when it is whole.
        let new = self.file("rescue.new");
        remove_file(&new)?;
        build_disk(&new, &image, size)?;
        fs::rename(&new, &disk).map_err(doing("creating the rescue disk"))
    }

    /// The size of the disk as the guest sees it, in bytes.
    pub fn disk_bytes(&self) -> Result<u64, VmError> {
        virtual_size(&self.file(DISK)).map_err(doing("reading the size of the disk"))
    }

    /// Gives a file new content, all or nothing, also if the host goes down.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), VmError> {
        if fs::read(self.file(name)).is_ok_and(|present| present == content) {
            return Ok(());
        }
        let new = self.file(&format!("{name}.new"));
        File::create(&new)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| readable(&new))
            .and_then(|()| fs::rename(&new, self.file(name)))
            .map_err(doing(format!("writing {name}")))
    }

    pub fn launch(&self) -> Result<Launch, VmError> {
        let path = self.file(LAUNCH);
        fs::read(&path)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from))
            .map_err(doing(format!("reading {}", path.display())))
    }

    /// Whether a QEMU of this machine lives, by the lock.
    pub fn is_alive(&self) -> Result<bool, VmError> {
        is_locked(&self.path)
    }

    /// Takes the lock for a QEMU that is about to be started; `None` if one lives already.
    pub fn take_lock(&self) -> Result<Option<File>, VmError> {
        let path = self.file(LOCK);
        let taking = || doing(format!("taking the lock {}", path.display()));
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600);
        let lock = lock.open(&path).map_err(taking())?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(taking()(error)),
        }
    }

    /// Clears the traces of the last run and opens an empty log for the next.
    pub fn prepare_start(&self) -> Result<File, VmError> {
        fs::write(self.file(BOOT), boot_id()).map_err(doing("noting the boot of the host"))?;
        for name in [PID, STOPPED, HELD] {
            remove_file(&self.file(name))?;
        }
        self.hand_over()
            .map_err(doing("giving its files to the user of the machine"))?;
        let path = self.file(QEMU_LOG);
        File::create(&path).map_err(doing(format!("creating {}", path.display())))
    }

    /// Brings to the disk that a QEMU was started here, and that it lives: after a power cut nothing else
    /// tells that the machine ran.
    pub fn keep_start(&self) -> Result<(), VmError> {
        [self.file(BOOT), self.file(RUN), self.path.clone()]
            .iter()
            .try_for_each(|path| remains::sync(path))
            .map_err(doing("noting that the machine runs"))
    }

    /// Gives the user of the machine what QEMU writes, and an empty directory for what it makes.
    fn hand_over(&self) -> io::Result<()> {
        let run = self.file(RUN);
        remains::remove_hostile(&run)?;
        for name in LEGACY.iter().map(|name| self.file(name)) {
            gone_or(fs::remove_file(name))?;
        }
        DirBuilder::new().mode(0o700).create(&run)?;
        self.owner.hand_over_directory(&run)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file(SERIAL_LOG));
        log.map(drop)?;
        for name in [DISK, UEFI_VARS, RESCUE_DISK, RESCUE_VARS, SERIAL_LOG] {
            gone_or(self.owner.hand_over(&self.file(name)))?;
        }
        // QEMU finds its files here, and cannot see which others there are.
        let mode = if self.owner.is_other { 0o711 } else { 0o700 };
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }

    /// Gives the user of the machine a file that was made while it runs.
    pub fn hand_over_file(&self, name: &str) -> Result<(), VmError> {
        let given = self.owner.hand_over(&self.file(name));
        given.map_err(doing(format!("giving {name} to the user of the machine")))
    }

    /// Where QEMU made what is called so, which begins with `run/`. Earlier versions had it beside all
    /// else, and their machines may run still.
    fn made_by_qemu(&self, name: &str) -> PathBuf {
        let (directory, own_name) = name.split_once('/').unwrap_or((RUN, name));
        match self.file(directory).exists() {
            true => self.file(name),
            false => self.file(own_name),
        }
    }

    /// The process id of QEMU, if the process with that number works in this directory. Where the service
    /// may not see in which directory another user's process works, the user of the machine is enough: it
    /// has no other process.
    pub fn pid(&self) -> Option<Pid> {
        let pid = fs::read_to_string(self.file(PID)).ok()?;
        let pid = Pid::from_raw(pid.trim().parse().ok()?)?;
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        let ours = fs::metadata(&self.path).ok()?;
        let is_its = match fs::metadata(format!("{process}/cwd")) {
            Ok(theirs) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
            Err(_) => {
                let user = fs::metadata(self.file(RUN)).ok()?.uid();
                user != geteuid().as_raw() && user == fs::metadata(&process).ok()?.uid()
            }
        };
        is_its.then_some(pid)
    }

    /// Notes that the machine was switched off on request, or that QEMU's end needs no telling.
    pub fn mark_stopped(&self) -> Result<(), VmError> {
        fs::write(self.file(STOPPED), "").map_err(doing("noting that the machine is off"))
    }

    /// Notes that the machine is about to be paused because the disk is nearly full, or that it goes on.
    pub fn mark_held(&self, held: bool) -> Result<(), VmError> {
        let path = self.file(HELD);
        match held {
            true => fs::write(path, "").map_err(doing("noting that the machine is paused")),
            false => remove_file(&path),
        }
    }

    /// Whether the machine was paused because the disk was nearly full.
    pub fn is_held(&self) -> bool {
        self.file(HELD).exists()
    }

    /// What a machine without a QEMU is.
    pub fn rest(&self) -> VmStatus {
        match self.went_down_with_host() {
            true => VmStatus::Interrupted,
            false => VmStatus::Stopped {
                reason: self.reason(),
            },
        }
    }

    /// Whether QEMU lived when the host went down: it was started in an earlier boot of it, and did not end
    /// because its guest powered off. An orderly host ends its processes by a signal, which QEMU writes down.
    fn went_down_with_host(&self) -> bool {
        let earlier = fs::read_to_string(self.file(BOOT)).is_ok_and(|boot| boot != boot_id());
        let ended = !self.ended_in_order() || self.last_words().contains(SIGNALLED);
        earlier && !self.file(STOPPED).exists() && ended
    }

    /// Whether the last QEMU ended by itself or because it was told to, not by a fault or a power cut: then
    /// it has removed its socket.
    fn ended_in_order(&self) -> bool {
        !self.made_by_qemu(QMP_SOCKET).exists()
    }

    /// Why the last QEMU ended; `None` if that was asked for.
    pub fn reason(&self) -> Option<String> {
        if self.file(STOPPED).exists() {
            return None;
        }
        let words = self.last_words();
        Some(match self.ended_in_order() {
            _ if !self.was_started() => "it was never started".into(),
            true if words.contains(SIGNALLED) => words,
            true => POWERED_OFF.into(),
            false if words.is_empty() => KILLED.into(),
            // They may be the cause, or older.
            false => format!("{KILLED}; the last it said: {words}"),
        })
    }

    /// The end of QEMU's own log, fit to be shown: a guest has a hand in what it says.
    pub fn last_words(&self) -> String {
        let bytes = tail(&self.file(QEMU_LOG), REASON_BYTES).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').map(abbild_guest::clean);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        lines.join("\n")
    }

    /// Connects to one of the machine's sockets. It is named by an open descriptor, since its path may
    /// be longer than a socket address can hold, and so that it is the one that was looked at.
    pub async fn connect(&self, socket: &str) -> io::Result<UnixStream> {
        let socket = confine::open_socket(&self.made_by_qemu(socket))?;
        UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
    }

    /// The last `max_bytes` of what the serial console printed.
    pub fn console_log(&self, max_bytes: u64) -> Result<Vec<u8>, VmError> {
        let path = self.file(SERIAL_LOG);
        match tail(&path, max_bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(doing(format!("reading {}", path.display()))),
        }
    }

    /// At most `max_bytes` of what the serial console printed, from byte `offset` of it on.
    pub fn console_log_from(&self, offset: u64, max_bytes: u64) -> Result<Vec<u8>, VmError> {
        let path = self.file(SERIAL_LOG);
        match part(&path, offset, max_bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(doing(format!("reading {}", path.display()))),
        }
    }

    /// Gives back the disk space of the older parts of the console's log, and of QEMU's own, to which its
    /// guest can make it write for ever.
    pub fn trim_logs(&self) -> io::Result<()> {
        [SERIAL_LOG, QEMU_LOG]
            .iter()
            .try_for_each(|name| self.trim(name))
    }

    /// The file keeps its length, so QEMU can go on writing at its end meanwhile.
    fn trim(&self, name: &str) -> io::Result<()> {
        let path = self.file(name);
        let Ok(metadata) = fs::metadata(&path) else {
            return Ok(());
        };
        if metadata.blocks() * 512 <= MAX_LOG_BYTES || metadata.len() <= KEPT_LOG_BYTES {
            return Ok(());
        }
        let log = OpenOptions::new().write(true).open(&path)?;
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&log, punch, 0, metadata.len() - KEPT_LOG_BYTES)?;
        Ok(())
    }

    /// Removes everything, whether complete or not. Succeeds when there is nothing.
    pub fn remove(&self) -> Result<(), VmError> {
        let removing = || doing(format!("removing {}", self.path.display()));
        let unfinished = self.unfinished();
        // A removal that is interrupted must not leave half a machine under its real name.
        remains::remove(&unfinished)
            .and_then(|()| gone_or(fs::rename(&self.path, &unfinished)))
            .and_then(|()| remains::remove(&unfinished))
            .map_err(removing())
    }
}

/// A path as QEMU is told it, which is started in another directory.
pub fn absolute(path: &Path) -> Result<String, VmError> {
    let path = std::path::absolute(path).map_err(doing("resolving a path"))?;
    let text = path.to_str().ok_or_else(|| {
        let path = path.display();
        VmError::Hypervisor(format!("the path {path} is not valid UTF-8"))
    })?;
    Ok(text.to_owned())
}

/// Whether a QEMU lives of the machine whose directory this is.
pub fn is_locked(machine: &Path) -> Result<bool, VmError> {
    let path = machine.join(LOCK);
    let asking = || doing(format!("asking for the lock {}", path.display()));
    match File::open(&path).map(|lock| lock.try_lock_shared()) {
        Ok(Ok(())) => Ok(false),
        Ok(Err(TryLockError::WouldBlock)) => Ok(true),
        Ok(Err(TryLockError::Error(error))) => Err(asking()(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(asking()(error)),
    }
}

/// Names the present boot of the host; empty if the kernel does not say.
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

pub fn remove_file(path: &Path) -> Result<(), VmError> {
    gone_or(fs::remove_file(path)).map_err(doing(format!("removing {}", path.display())))
}

/// What is not there needs nothing done to it.
pub fn gone_or(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The last `max_bytes` of a file.
fn tail(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let len = fs::metadata(path)?.len();
    part(path, len.saturating_sub(max_bytes), max_bytes)
}

/// At most `max_bytes` of a file, from `offset` on.
fn part(path: &Path, offset: u64, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}
