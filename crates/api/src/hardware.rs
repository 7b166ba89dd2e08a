//! The hardware that a machine sees.

use serde::{Deserialize, Serialize};

/// Which hardware a machine was given when it got its disk, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hardware {
    /// The mainboard, as QEMU names it.
    pub chipset: Chipset,
    /// What starts the boot loader.
    pub firmware: Firmware,
    /// Why it is this firmware.
    pub firmware_note: String,
    /// Disk and network card.
    pub devices: Devices,
    /// Why it is these.
    pub devices_note: String,
    /// Bytes in a sector of the disk: those that the image's partition table counts in.
    #[serde(default = "usual_sector")]
    pub sector_size: u32,
}

fn usual_sector() -> u32 {
    512
}

/// A mainboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Chipset {
    /// Intel's of 2009, with PCI Express and AHCI.
    Q35,
    /// Intel's of 1996: machines that an earlier version made.
    I440fx,
}

/// What starts the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF, with variables of the machine's own.
    Uefi,
}

/// Which kind of disk and network card a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Devices {
    /// virtio-blk and virtio-net.
    Virtio,
    /// SATA (AHCI) and e1000.
    Emulated,
}
