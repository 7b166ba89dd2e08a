//! Virtual machines: the one trait that every hypervisor driver implements, and what it is told.
//!
//! The service decides *what* shall run (rows in the database) and calls a driver to make it so.
//! A driver keeps no state that it could not find again: everything about a machine lies in its
//! own directory or in the hypervisor, so that machines outlive the service and are adopted again
//! when it returns. [`qemu`] is the driver for one machine.
//!
//! ```text
//!            create                     guest powers off / stop
//!   (none) ─────────▶ running ────────────────────────────────▶ stopped
//!                        ▲  │                                      │
//!                        │  └──────── delete ──▶ (none) ◀── delete ┘
//!                        └───────────────── start ─────────────────┘
//! ```

pub mod bridge;
pub mod config_drive;
mod host;
pub mod iso9660;
pub mod mac;
pub mod network;
pub mod platform;
pub mod qemu;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use abbild_api::{Forward, Hardware, Protocol};
use tokio::net::UnixStream;

use self::network::Network;

/// The permanent number of a machine: the droplet id.
pub type VmId = i64;

/// Everything a driver needs to bring a machine into being.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// The droplet id; also names the machine's directory.
    pub id: VmId,
    /// Host name for the guest.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Size of the root disk in bytes; at least the virtual size of the image.
    pub disk_bytes: u64,
    /// The canonical image in the region's store. It is only ever read.
    pub image: PathBuf,
    /// How it is connected.
    pub network: Network,
    /// OpenSSH public keys for the default user, verbatim, with the name of each.
    pub ssh_keys: Vec<(String, String)>,
    /// cloud-init user data, any content.
    pub user_data: Option<Vec<u8>>,
    /// What the guest is told beside that.
    pub vendor: config_drive::Vendor,
    /// What the machine is made of.
    pub hardware: Hardware,
    /// What it runs instead of its own system.
    pub rescue: Option<Rescue>,
    /// Slug of the region, told to the guest as its availability zone.
    pub region: String,
}

/// What a machine runs while its own system is being repaired. It has its own disk as a further one,
/// with the serial number [`RESCUED_DISK`].
#[derive(Debug, Clone)]
pub enum Rescue {
    /// The driver's rescue system.
    System,
    /// An image, with a disk that is thrown away when the rescue is over.
    Image {
        /// The canonical image in the region's store. It is only ever read.
        file: PathBuf,
        /// What suits it.
        hardware: Hardware,
    },
}

/// By this serial number a rescue system knows the disk of the machine.
pub const RESCUED_DISK: &str = "machine";

/// The keys of a machine, by QEMU's names (`QKeyCode` in its QMP reference).
#[rustfmt::skip]
pub const KEYS: [&str; 82] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m",
    "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z",
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9",
    "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12",
    "ctrl", "ctrl_r", "alt", "alt_r", "shift", "shift_r", "meta_l", "meta_r",
    "delete", "insert", "home", "end", "pgup", "pgdn", "up", "down", "left", "right",
    "ret", "esc", "tab", "spc", "backspace", "sysrq", "print", "pause", "scroll_lock", "caps_lock",
    "minus", "equal", "comma", "dot", "slash", "semicolon",
];

/// What a machine is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmStatus {
    /// The hypervisor runs it.
    Running,
    /// It exists, but is off. `reason` is what ended it, where that is known.
    Stopped {
        /// For example the last line that the hypervisor logged before it died.
        reason: Option<String>,
    },
    /// It ran until the host went down, and nobody has started it since.
    Interrupted,
    /// The driver knows nothing of it.
    Absent,
}

/// How guests are executed here, for `abbild doctor`, the log and each machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceleration {
    /// `kvm` or `tcg`.
    pub name: &'static str,
    /// Why it is not `kvm`; `None` when it is.
    pub fallback_reason: Option<String>,
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The hypervisor program refused or died; the text is its own last words.
    #[error("the hypervisor failed: {0}")]
    Hypervisor(String),
    /// A file or socket of the machine could not be used.
    #[error("{what} failed")]
    Io {
        /// What was being done, as a gerund phrase with its object.
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// There is no such machine.
    #[error("machine {0} does not exist on this host")]
    Absent(VmId),
    /// Another program listens where a port of the machine should be reachable.
    #[error(
        "port {port} of {address}, which should lead into the machine, cannot be used: {source}\nsee \
         who listens there with `ss -tulnp`"
    )]
    Port {
        /// The address allotted to the machine.
        address: Ipv4Addr,
        /// The host port.
        port: u16,
        /// The system's answer to an attempt to bind it.
        source: std::io::Error,
    },
    /// What connects the machine to a bridge could not be put in place.
    #[error("the network of the machine cannot be used: {0}")]
    Network(String),
    /// What machines may write would take room that is for everybody.
    #[error(
        "the region's disk is nearly full: {free} bytes are free, and {reserve} are kept for other things\nits \
         operator can make room, or lower `vm.disk_reserve`"
    )]
    NoRoom {
        /// Bytes.
        free: u64,
        /// Bytes.
        reserve: u64,
    },
    /// Nothing in the guest does what only it can do.
    #[error(
        "no guest agent answers in machine {0}\ninstall `qemu-guest-agent` in it, or do it yourself on its \
         recovery console, `abbild vm console {0}`"
    )]
    NoAgent(VmId),
    /// The guest agent will not.
    #[error("the guest agent in machine {id} refused: {words}")]
    AgentRefused {
        /// The machine.
        id: VmId,
        /// The agent's words.
        words: String,
    },
    /// A serial console has one reader at a time.
    #[error("the console of machine {0} is in use\nclose the other session first")]
    ConsoleBusy(VmId),
    /// The machine is off, and what was asked needs it on.
    #[error("machine {0} is not running")]
    NotRunning(VmId),
    /// It was started by a version that gave machines no screen.
    #[error("machine {0} was started without a screen\nswitch it off and on")]
    NoScreen(VmId),
}

/// A hypervisor of one region.
///
/// Every method may be repeated: creating what runs, stopping what is off and deleting what is
/// gone succeed, so that a job which is run again after a crash ends in the same state.
pub trait Hypervisor: Send + Sync {
    /// How guests are executed. Finding out may take a second or two, once for each boot of the
    /// host; it begins at construction, so that nobody has to wait for it who does not need it.
    fn acceleration(&self) -> impl Future<Output = Acceleration> + Send;

    /// Whether there is a rescue system of the driver's own.
    ///
    /// # Errors
    /// Says what is missing, and what to do.
    fn has_rescue_system(&self) -> Result<(), VmError>;

    /// Whether there is room for what a machine may write.
    ///
    /// # Errors
    /// [`VmError::NoRoom`]
    fn has_room(&self) -> Result<(), VmError>;

    /// Looks whether machines are about to take room that is for everybody, and pauses those. To be
    /// called every second or so.
    fn keep_room(&self) -> impl Future<Output = Result<(), VmError>> + Send;

    /// Makes the disk and the config drive and starts the machine; returns once it runs.
    fn create(&self, spec: &VmSpec) -> impl Future<Output = Result<(), VmError>> + Send;

    /// Starts a stopped machine again from its own disk. All else is as `spec` says now: its name,
    /// processors, memory, keys, and the size of the disk, which may have grown. The image below the
    /// disk stays the one that it was made from.
    fn start(&self, spec: &VmSpec) -> impl Future<Output = Result<(), VmError>> + Send;

    /// Ends the machine and gives it a new disk, made from the image in `spec`, and another identity.
    /// It does not start it. Until the new disk is complete nothing changes.
    fn rebuild(&self, spec: &VmSpec) -> impl Future<Output = Result<(), VmError>> + Send;

    /// Ends the machine at once, as if the power cord were pulled. Says whether it ran, or was paused.
    fn stop(&self, id: VmId) -> impl Future<Output = Result<bool, VmError>> + Send;

    /// Asks the guest to shut down, as by its power button (ACPI). It may take its time, or not
    /// react at all. A machine that is off is [`VmError::NotRunning`].
    fn press_power_button(&self, id: VmId) -> impl Future<Output = Result<(), VmError>> + Send;

    /// What the machine is doing now.
    fn status(&self, id: VmId) -> impl Future<Output = Result<VmStatus, VmError>> + Send;

    /// A byte stream to the serial console, from now on. One at a time.
    fn console(&self, id: VmId) -> impl Future<Output = Result<UnixStream, VmError>> + Send;

    /// A byte stream to the screen, in the protocol of VNC. Several at a time.
    fn screen(&self, id: VmId) -> impl Future<Output = Result<UnixStream, VmError>> + Send;

    /// Presses keys together, by names of [`KEYS`], and lets them go.
    fn press_keys(
        &self,
        id: VmId,
        keys: &[String],
    ) -> impl Future<Output = Result<(), VmError>> + Send;

    /// Has the guest agent set a user's password, given as its hash in the form of crypt(5). A machine
    /// that is off is [`VmError::NotRunning`].
    ///
    /// # Errors
    /// [`VmError::NoAgent`], [`VmError::AgentRefused`]
    fn set_password(
        &self,
        id: VmId,
        user: &str,
        hash: &str,
    ) -> impl Future<Output = Result<(), VmError>> + Send;

    /// The last `max_bytes` of what the serial console printed so far.
    fn console_log(
        &self,
        id: VmId,
        max_bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>, VmError>> + Send;

    /// At most `max_bytes` of what the serial console printed, from byte `offset` of it on. Of what a
    /// guest prints without end the oldest parts are zeros after a while.
    fn console_log_from(
        &self,
        id: VmId,
        offset: u64,
        max_bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>, VmError>> + Send;

    /// What the screen shows now, as PNG. A machine that is off is [`VmError::NotRunning`].
    fn screenshot(&self, id: VmId) -> impl Future<Output = Result<Vec<u8>, VmError>> + Send;

    /// Has a port of the machine's address lead into the guest from now on. After the next start, what
    /// [`VmSpec::network`] says is so. A machine that is off is [`VmError::NotRunning`].
    fn forward(
        &self,
        id: VmId,
        forward: Forward,
    ) -> impl Future<Output = Result<(), VmError>> + Send;

    /// The opposite of [`Self::forward`].
    fn unforward(
        &self,
        id: VmId,
        port: u16,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), VmError>> + Send;

    /// A file with what the guest has changed of its image, as it is at one moment, to be read together
    /// with the image. A machine that runs goes on; `progress` is told the bytes that are dealt with and
    /// how many there are, and says whether to go on. Nobody may start or end the machine until
    /// [`Self::forget_snapshot`].
    fn snapshot(
        &self,
        id: VmId,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> impl Future<Output = Result<PathBuf, VmError>> + Send;

    /// Removes what [`Self::snapshot`] made, whether it came to its end or not.
    fn forget_snapshot(&self, id: VmId) -> impl Future<Output = Result<(), VmError>> + Send;

    /// Ends the machine and removes its disk, config drive, log and sockets.
    fn delete(&self, id: VmId) -> impl Future<Output = Result<(), VmError>> + Send;
}
