//! The names of the formats, spelled as `qemu-img` spells them.

use std::fmt;

/// A disk-image format that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Bytes of the disk as they are, recognised by their partition table.
    Raw,
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
    /// Hyper-V's second virtual hard disk format.
    Vhdx,
    /// VirtualBox' disk image.
    Vdi,
    /// VMware's virtual disk.
    Vmdk,
}

impl Format {
    /// The name `qemu-img` gives the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Vmdk => "vmdk",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
