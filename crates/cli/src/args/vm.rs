//! The arguments of `abbild vm`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::parse_seconds;

#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// Create a machine from an image
    Create(VmCreateArgs),
    /// List machines
    List,
    /// Show one machine
    Show(VmRef),
    /// Log in by SSH, once the machine answers
    Ssh(VmSshArgs),
    /// Attach to the serial console
    Console(VmConsoleArgs),
    /// Start a machine that is off
    PowerOn(VmActArgs),
    /// End a machine at once, as if the power cord were pulled
    PowerOff(VmActArgs),
    /// Ask the guest to shut down, and end it if it does not
    Shutdown(VmActArgs),
    /// Ask the guest to shut down, end it if it does not, and start it again
    Reboot(VmActArgs),
    /// End a machine at once, and start it again
    PowerCycle(VmActArgs),
    /// Give a machine another name
    Rename(VmRenameArgs),
    /// Give a machine another size
    Resize(VmResizeArgs),
    /// Replace a machine's disk by a new one from an image
    Rebuild(VmRebuildArgs),
    /// Make an image of a machine's disk
    Snapshot(VmSnapshotArgs),
    /// Start another system in a machine's place, to repair its disk
    Rescue(VmRescueArgs),
    /// End a rescue, and start the machine from its own disk
    Unrescue(VmActArgs),
    /// Delete a machine and its disk
    Delete(VmRef),
}

#[derive(Debug, Args)]
pub struct VmRef {
    /// Id or name
    pub vm: String,
}

#[derive(Debug, Args)]
pub struct VmCreateArgs {
    /// Id or name of the image
    #[arg(long)]
    pub image: String,
    /// Region; the image must be available there
    #[arg(long, value_name = "SLUG")]
    pub region: String,
    /// Size, see `abbild size list`
    #[arg(long, value_name = "SLUG")]
    pub size: String,
    /// Key by name, id or fingerprint, or a public key file, which is added when unknown;
    /// may be repeated
    #[arg(
        long = "key",
        value_name = "KEY",
        required_unless_present = "user_data"
    )]
    pub keys: Vec<String>,
    /// Host name [default: made from the image's name]
    #[arg(long)]
    pub name: Option<String>,
    /// File with cloud-init user data, at most 64 KiB
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Return at once instead of waiting until it runs
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct VmSshArgs {
    /// Id or name
    pub vm: String,
    /// User [default: the image's default user]
    #[arg(long, short = 'l')]
    pub user: Option<String>,
    /// Private key, as ssh -i
    #[arg(long, short = 'i', value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Seconds to wait for the machine's SSH server
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_seconds)]
    pub timeout: Duration,
    /// Remote command, or further options of ssh
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-] detaches. Several may be attached: all see everything, and \
    whoever attached last has the keyboard. When standard input is not a terminal it is sent to the \
    machine, and the command ends once nothing has come back for --linger seconds."
)]
pub struct VmConsoleArgs {
    /// Id or name
    pub vm: String,
    /// Print everything the console has shown so far, and do not attach
    #[arg(long)]
    pub log: bool,
    /// Only look, and leave the keyboard to whoever has it
    #[arg(long, conflicts_with = "log")]
    pub watch: bool,
    /// Offer the screen to a viewer of VNC, on a port of this machine's loopback address
    #[arg(long, conflicts_with_all = ["log", "watch"])]
    pub vnc: bool,
    /// The port for --vnc [default: a free one]
    #[arg(long, requires = "vnc", default_value = "0", hide_default_value = true)]
    pub port: u16,
    /// Press keys together, and do not attach: ctrl-alt-delete, alt-sysrq-b
    #[arg(long, value_name = "KEYS", conflicts_with_all = ["log", "watch", "vnc"])]
    pub send: Option<String>,
    /// With input that is not a terminal: seconds of silence after which to end
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse_seconds)]
    pub linger: Duration,
}

/// Of what has no parameters.
#[derive(Debug, Args)]
pub struct VmActArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// Return at once instead of waiting until it is done
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A guest learns the name from its config drive when it is started the next time; one \
    that has been set up by cloud-init keeps the host name that it has."
)]
pub struct VmRenameArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// The new name
    pub name: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The machine must be off. Its disk keeps its size without --disk, and never shrinks. \
    The new size is there when it is started."
)]
pub struct VmResizeArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// Size, see `abbild size list`
    #[arg(long, value_name = "SLUG")]
    pub size: String,
    /// Let the disk grow to that of the size, for good
    #[arg(long)]
    pub disk: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Everything on the machine's disk is lost. It keeps its address, keys and user data. \
    The image may be a snapshot."
)]
pub struct VmRebuildArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// Id or name of the image [default: the one that it was made from]
    #[arg(long)]
    pub image: Option<String>,
    /// Return at once instead of waiting until it runs
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The machine may run: the image is its disk at one moment, as after a power cut."
)]
pub struct VmSnapshotArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// Name of the image [default: the machine's, with the date]
    #[arg(long)]
    pub name: Option<String>,
    /// Return at once instead of waiting until the image is available
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The machine is asked to shut down first, which may take its time; one that is \
    switched off is rescued at once. The rescue system has shells on both consoles and an SSH \
    server for root with the machine's keys. Its `rescue-chroot` checks and mounts the machine's \
    filesystems, and opens a shell inside, with network. An image has the machine's disk as a \
    further one, with the serial number `machine`; what is changed on the image is lost at the end."
)]
pub struct VmRescueArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// Id or name of an image to start, instead of the built-in rescue system
    #[arg(long)]
    pub image: Option<String>,
    /// Return at once instead of waiting until it runs
    #[arg(long)]
    pub no_wait: bool,
}
