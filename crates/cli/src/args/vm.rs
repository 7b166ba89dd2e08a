//! The arguments of what is done to machines.

use clap::Args;

use super::VmRef;

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
