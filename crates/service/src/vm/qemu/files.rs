//! The directory of a machine: all there is to know about it between two starts of the service.
//!
//! ```text
//! vms/42/            0700; made as `42.new` and renamed, so that it is complete or absent
//!   launch.json      what QEMU is started with
//!   disk.qcow2       the writable layer over the canonical image
//!   config.iso       the config drive
//!   uefi-vars.fd     what the firmware remembers, if it is UEFI
//!   rescue.qcow2 rescue-vars.fd    the same of an image that it is rescued with
//!   snapshot.qcow2   a copy of disk.qcow2 as it was at one moment, while a snapshot is made
//!   lock             locked for as long as a QEMU of this machine lives
//!   qemu.pid         written by QEMU, and removed by it when it ends in order
//!   qmp.sock serial.sock vnc.sock   served by QEMU
//!   serial.log       everything the serial console ever printed, old parts cut off
//!   boot             the boot of the host in which it was started last
//!   qemu.log         what QEMU itself said since its last start
//!   stopped          there if the machine was switched off on request
//! ```
//!
//! The lock is the one thing that says whether a machine runs. QEMU gets the locked file as its
//! standard input, so the kernel releases it when the process ends, however it ends; unlike a
//! process id it can be neither stale nor recycled, and there is no moment without an answer.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use abbild_api::{Firmware, Hardware};
use abbild_convert::{Backing, create_overlay};
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, RenameFlags};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::equipment::{Equipment, Uefi};
use crate::vm::config_drive::ConfigDrive;
use crate::vm::network::{Network, mac_address};
use crate::vm::platform;
use crate::vm::{Rescue, VmError, VmId, VmSpec, VmStatus};

pub const DISK: &str = "disk.qcow2";
pub const SNAPSHOT: &str = "snapshot.qcow2";
pub const CONFIG_DRIVE: &str = "config.iso";
pub const RESCUE_DISK: &str = "rescue.qcow2";
pub const RESCUE_VARS: &str = "rescue-vars.fd";
pub const UEFI_VARS: &str = "uefi-vars.fd";
pub const QMP_SOCKET: &str = "qmp.sock";
pub const SERIAL_SOCKET: &str = "serial.sock";
pub const VNC_SOCKET: &str = "vnc.sock";
pub const SERIAL_LOG: &str = "serial.log";
pub const QEMU_LOG: &str = "qemu.log";
pub const PID: &str = "qemu.pid";
const LAUNCH: &str = "launch.json";
const LOCK: &str = "lock";
const STOPPED: &str = "stopped";
const BOOT: &str = "boot";

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
    /// Absolute.
    pub image: String,
    #[serde(flatten)]
    pub network: Network,
    /// Absent in the files of earlier versions.
    #[serde(default = "platform::before_choice")]
    pub hardware: Hardware,
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
}

impl MachineDir {
    pub fn new(machines: &Path, id: VmId) -> Self {
        Self {
            path: machines.join(id.to_string()),
        }
    }

    /// The directory at `path`, whatever its name.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
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
        let doing = || doing(format!("creating {}", self.path.display()));
        if !self.exists() {
            return fs::rename(&new, &self.path).map_err(doing());
        }
        rustix::fs::renameat_with(CWD, &new, CWD, &self.path, RenameFlags::EXCHANGE)
            .map_err(io::Error::from)
            .and_then(|()| fs::remove_dir_all(&new))
            .map_err(doing())
    }

    /// Makes a new machine beside the one that is there, if one is.
    pub fn prepare(&self, spec: &VmSpec, uefi: &Uefi) -> Result<(), VmError> {
        let new = self.unfinished();
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(doing(format!("removing {}", new.display()))(error));
            }
            _ => {}
        }
        let image = absolute(&spec.image)?;
        let launch = Launch {
            id: spec.id,
            uuid: uuid::Uuid::new_v4().to_string(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            image: image.clone(),
            network: spec.network.clone(),
            hardware: spec.hardware.clone(),
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&new)
            .map_err(doing(format!("creating {}", new.display())))?;
        build_disk(&new.join(DISK), &image, spec.disk_bytes)?;
        if spec.hardware.firmware == Firmware::Uefi {
            uefi.copy_variables(&new.join(UEFI_VARS))?;
        }
        let drive = config_drive(spec, &launch.uuid)?;
        fs::write(new.join(CONFIG_DRIVE), drive).map_err(doing("writing the config drive"))?;
        let launch = serde_json::to_vec_pretty(&launch).map_err(io::Error::from);
        launch
            .and_then(|launch| fs::write(new.join(LAUNCH), launch))
            .map_err(doing("writing launch.json"))
    }

    /// Brings what the next start reads up to date with `spec`: the machine may have been given
    /// another name or size while it was off.
    pub fn refresh(&self, spec: &VmSpec, equipment: &Equipment) -> Result<Launch, VmError> {
        let mut launch = self.launch()?;
        launch.vcpus = spec.vcpus;
        launch.memory_mib = spec.memory_mib;
        launch.network.clone_from(&spec.network);
        let text = serde_json::to_vec_pretty(&launch).map_err(io::Error::from);
        self.replace(LAUNCH, &text.map_err(doing("writing launch.json"))?)?;
        self.replace(CONFIG_DRIVE, &config_drive(spec, &launch.uuid)?)?;
        self.prepare_rescue(spec.rescue.as_ref(), &equipment.uefi)?;
        Ok(launch)
    }

    /// Makes the disk of an image that a machine is rescued with, unless it has it from an earlier
    /// start; removes it when the rescue is over.
    fn prepare_rescue(&self, rescue: Option<&Rescue>, uefi: &Uefi) -> Result<(), VmError> {
        let (disk, variables) = (self.file(RESCUE_DISK), self.file(RESCUE_VARS));
        let Some(Rescue::Image { file, hardware }) = rescue else {
            remove_file(&disk)?;
            return remove_file(&variables);
        };
        if disk.exists() {
            return Ok(());
        }
        if hardware.firmware == Firmware::Uefi {
            uefi.copy_variables(&variables)?;
        }
        let image = absolute(file)?;
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
        let path = self.file(LOCK);
        let asking = || doing(format!("asking for the lock {}", path.display()));
        match File::open(&path).map(|lock| lock.try_lock_shared()) {
            Ok(Ok(())) => Ok(false),
            Ok(Err(TryLockError::WouldBlock)) => Ok(true),
            Ok(Err(TryLockError::Error(error))) => Err(asking()(error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(asking()(error)),
        }
    }

    /// Takes the lock for a QEMU that is about to be started; `None` if one lives already.
    pub fn take_lock(&self) -> Result<Option<File>, VmError> {
        let path = self.file(LOCK);
        let taking = || doing(format!("taking the lock {}", path.display()));
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).read(true).write(true);
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
        for name in [QMP_SOCKET, SERIAL_SOCKET, VNC_SOCKET, PID, STOPPED] {
            remove_file(&self.file(name))?;
        }
        let path = self.file(QEMU_LOG);
        File::create(&path).map_err(doing(format!("creating {}", path.display())))
    }

    /// The process id that QEMU wrote, if that is a process which works in this directory; ours
    /// do, and hardly anything else would.
    pub fn pid(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(self.file(PID))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let ours = fs::metadata(&self.path).ok()?;
        let theirs = fs::metadata(format!("/proc/{pid}/cwd")).ok()?;
        ((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())).then_some(pid)
    }

    /// Notes that the machine was switched off on request, or that QEMU's end needs no telling.
    pub fn mark_stopped(&self) -> Result<(), VmError> {
        fs::write(self.file(STOPPED), "").map_err(doing("noting that the machine is off"))
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

    /// Whether QEMU lived when the host went down: it was started in an earlier boot of it, and ended
    /// neither because its guest powered off nor by a fault of its own. An orderly host ends its
    /// processes by a signal, which QEMU writes down.
    fn went_down_with_host(&self) -> bool {
        let earlier = fs::read_to_string(self.file(BOOT)).is_ok_and(|boot| boot != boot_id());
        let words = self.last_words();
        let killed = words.is_empty() && self.file(PID).exists();
        let ended = words.contains("terminating on signal");
        earlier && !self.file(STOPPED).exists() && (killed || ended)
    }

    /// Why the last QEMU ended; `None` if that was asked for.
    pub fn reason(&self) -> Option<String> {
        if self.file(STOPPED).exists() {
            return None;
        }
        let words = self.last_words();
        if !words.is_empty() {
            return Some(words);
        }
        // In an orderly end QEMU removes the file.
        Some(if self.file(PID).exists() {
            "QEMU was killed, or the host went down".into()
        } else if self.was_started() {
            "the guest powered itself off".into()
        } else {
            "it was never started".into()
        })
    }

    /// The end of QEMU's own log.
    pub fn last_words(&self) -> String {
        let bytes = tail(&self.file(QEMU_LOG), REASON_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    /// Connects to one of the machine's sockets. The directory is named by an open descriptor,
    /// since its own path may be longer than a socket address can hold.
    pub async fn connect(&self, socket: &str) -> io::Result<UnixStream> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory: OwnedFd = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let number = directory.as_raw_fd();
        UnixStream::connect(format!("/proc/self/fd/{number}/{socket}")).await
    }

    /// The last `max_bytes` of what the serial console printed.
    pub fn console_log(&self, max_bytes: u64) -> Result<Vec<u8>, VmError> {
        let path = self.file(SERIAL_LOG);
        match tail(&path, max_bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(doing(format!("reading {}", path.display()))),
        }
    }

    /// Gives back the disk space of the console log's older part. The file keeps its length, so
    /// QEMU can go on appending meanwhile.
    pub fn trim_console_log(&self) -> io::Result<()> {
        let path = self.file(SERIAL_LOG);
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
        let gone_or = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(removing()(error)),
            _ => Ok(()),
        };
        gone_or(fs::remove_dir_all(&unfinished))?;
        // A removal that is interrupted must not leave half a machine under its real name.
        gone_or(fs::rename(&self.path, &unfinished))?;
        gone_or(fs::remove_dir_all(&unfinished))
    }
}

fn config_drive(spec: &VmSpec, uuid: &str) -> Result<Vec<u8>, VmError> {
    let drive = ConfigDrive {
        uuid,
        name: &spec.name,
        ssh_keys: &spec.ssh_keys,
        availability_zone: &spec.region,
        mac: &mac_address(spec.id),
        // What the customer wants done in the machine is not for the system that repairs it.
        user_data: spec.user_data.as_deref().filter(|_| spec.rescue.is_none()),
    };
    let drive = drive.image().map_err(io::Error::other);
    drive.map_err(doing("making the config drive"))
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

pub fn build_disk(path: &Path, image: &str, disk_bytes: u64) -> Result<(), VmError> {
    let virtual_size =
        virtual_size(Path::new(image)).map_err(doing(format!("reading the image {image}")))?;
    let disk = File::create_new(path).map_err(doing("creating the disk"))?;
    let backing = Backing {
        file_name: image,
        virtual_size,
    };
    create_overlay(&disk, &backing, disk_bytes).map_err(|error| VmError::Io {
        what: "making the disk".into(),
        source: io::Error::other(error),
    })
}

/// The size that a qcow2 file states (qcow2 specification, header, byte 24).
pub fn virtual_size(path: &Path) -> io::Result<u64> {
    let mut header = [0; 32];
    File::open(path)?.read_exact_at(&mut header, 0)?;
    let [.., a, b, c, d, e, f, g, h] = header;
    if !header.starts_with(b"QFI\xfb") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no qcow2 file",
        ));
    }
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// Names the present boot of the host; empty if the kernel does not say.
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

pub fn remove_file(path: &Path) -> Result<(), VmError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(doing(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The last `max_bytes` of a file.
fn tail(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(max_bytes)))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}
