//! The arguments of what an operator does with all that is stored.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ServeArgs;

/// `abbild admin fsck`
#[derive(Debug, Args)]
#[command(
    after_help = "The service may be running. Found are images that are missing, damaged (--deep) or \
    of another size, uploads with fewer bytes than were acknowledged, and what belongs to nobody. \
    --repair copies an image from another region that has it undamaged; where none has, the image \
    fails in this region with that reason, so that its owner sees it. What belongs to nobody is \
    removed, but for the directories of machines, which are moved aside to `lost`.\n\n\
    Exit status: 0 nothing is wrong, 1 something is, or was and is repaired, 2 something could not \
    be checked."
)]
pub struct AdminFsckArgs {
    /// Repair what is found
    #[arg(long)]
    pub repair: bool,
    /// Read every image, to find those whose bytes have changed
    #[arg(long)]
    pub deep: bool,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `abbild admin gc`
#[derive(Debug, Args)]
#[command(
    after_help = "Removes rows that are older than `[retention]` and `[audit]` keep, and images in \
    stores that nothing needs. The service does the same every hour. Nothing is removed that a \
    machine, an action or a region names. Idle uploads are left to the service.\n\n\
    Exit status: 0 done, 1 a store could not be used."
)]
pub struct AdminGcArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `abbild admin backup`
#[derive(Debug, Args)]
#[command(
    after_help = "The directory is made if need be; where it has a backup already, that one is brought \
    up to date, and images that it has are not copied again. Not in a backup: the bytes of uploads \
    that are under way, the disks of virtual machines, and the configuration. A PostgreSQL database \
    is copied by pg_dump.\n\n\
    Exit status: 0 all is in it, 1 an image could not be copied, or nothing could."
)]
pub struct AdminBackupArgs {
    /// Directory of the backup
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Copy the images as well, and not only the database
    #[arg(long)]
    pub objects: bool,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `abbild admin restore`
#[derive(Debug, Args)]
#[command(
    after_help = "The service must be stopped, and there must be no database yet: SQLite's file is \
    made, a PostgreSQL database must have no tables. Images are verified while they are copied; a store \
    that has one already keeps it. Machines without a disk are off; `abbild admin fsck` says whether \
    all images are there.\n\n\
    Exit status: 0 all is there, 1 images are missing, or nothing was done."
)]
pub struct AdminRestoreArgs {
    /// Directory of the backup
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `abbild admin region …`
#[derive(Debug, Subcommand)]
pub enum AdminRegionCommand {
    /// List the regions: what is in them, how much room is left, whether they can be used
    List(ServeArgs),
    /// Give up a region that is no longer configured
    #[command(
        after_help = "Images are taken out of the region; those that are in no other fail with the \
        reason. Refused while machines are there, because only a configured region can let go of \
        them. Files and objects are not touched; remove them by hand."
    )]
    Drop {
        /// Short name of the region
        slug: String,
        #[command(flatten)]
        service: ServeArgs,
    },
}
