//! The arguments of `abbild vm`.

use std::path::PathBuf;
use std::time::Duration;

use abbild_api::{Forward, Protocol};
use clap::{Args, Subcommand};

use super::parse_seconds;

#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// Create a machine from an image
    Create(VmCreateArgs),
    /// List machines
    List(VmListArgs),
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
    /// Have more ports of a machine's address lead into its guest
    Forward(VmForwardArgs),
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
    /// Give root another password, if the guest runs QEMU's guest agent
    PasswordReset(VmRef),
    /// Delete a machine and its disk
    Delete(VmRef),
}

#[derive(Debug, Args)]
pub struct VmRef {
    /// Id or name
    pub vm: String,
}

#[derive(Debug, Args)]
pub struct VmListArgs {
    /// Only those with this tag
    #[arg(long)]
    pub tag: Option<String>,
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
    /// Host name; several make as many machines [default: made from the image's name]
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// Tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// File with user data for cloud-init or Ignition, at most 64 KiB
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
    after_help = "Without ports, those that lead into the guest are listed. They stay until they are \
    removed, also while the machine is off. Port 22 always leads into the guest; see `abbild vm show`."
)]
pub struct VmForwardArgs {
    #[command(flatten)]
    pub vm: VmRef,
    /// A port of the machine's address, and the guest's if that is another: 8080:80, 443, 53/udp
    #[arg(value_name = "PORT[:GUEST_PORT][/udp]")]
    pub ports: Vec<Ports>,
    /// Have them lead into the guest no longer
    #[arg(long, requires = "ports")]
    pub remove: bool,
}

/// A port that leads into a guest, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(pub Forward);

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("`{other}` is neither tcp nor udp")),
        };
        let number = |text: &str| match text.parse::<u16>() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(format!("`{text}` is no port: a number from 1 to 65535")),
        };
        let (port, guest_port) = ports.split_once(':').unwrap_or((ports, ports));
        Ok(Self(Forward {
            port: number(port)?,
            guest_port: number(guest_port)?,
            protocol,
        }))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_meant() {
        let read = |text: &str| text.parse::<Ports>().map(|Ports(forward)| forward);
        for (text, port, guest_port, protocol) in [
            ("443", 443, 443, Protocol::Tcp),
            ("8080:80", 8080, 80, Protocol::Tcp),
            ("8080:80/tcp", 8080, 80, Protocol::Tcp),
            ("53/udp", 53, 53, Protocol::Udp),
        ] {
            let wanted = Forward {
                port,
                guest_port,
                protocol,
            };
            assert_eq!(read(text), Ok(wanted));
        }
        for wrong in [
            "", "0", "65536", "80:", ":80", "80:80:80", "80/icmp", "-1", "http",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
