//! GUIDs as GPT stores them, and the partition types that have a name.
//!
//! Types: UEFI specification 2.10, section 5.3.3, and the UAPI group's "Discoverable Partitions
//! Specification".

use std::fmt;

use crate::bytes::{be64, le16, le32};

/// A GUID: compared by value, printed in lower case as Linux does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid {
    first: u32,
    second: u16,
    third: u16,
    rest: u64,
}

impl Guid {
    /// All zeros: none.
    pub(crate) const NONE: Self = Self::new(0, 0, 0, 0);
    /// GRUB's core image on a GPT disk.
    pub const BIOS_BOOT: Self = Self::new(0x2168_6148, 0x6449, 0x6e6f, 0x744e_6565_6445_4649);
    /// EFI system partition.
    pub const EFI_SYSTEM: Self = Self::new(0xc12a_7328, 0xf81f, 0x11d2, 0xba4b_00a0_c93e_c93b);
    /// Linux file system data, of no particular use.
    pub const LINUX_DATA: Self = Self::new(0x0fc6_3daf, 0x8483, 0x4772, 0x8e79_3d69_d847_7de4);
    /// Linux swap.
    pub const LINUX_SWAP: Self = Self::new(0x0657_fd6d, 0xa4ab, 0x43c4, 0x84e5_0933_c84b_4f4f);
    /// Physical volume of LVM.
    pub const LINUX_LVM: Self = Self::new(0xe6d6_d379, 0xf507, 0x44c2, 0xa23c_238f_2a3d_f928);
    /// Member of a Linux software RAID.
    pub const LINUX_RAID: Self = Self::new(0xa19d_880f, 0x05fc, 0x4d3b, 0xa006_743f_0f84_911e);
    /// `/boot` as a partition of its own.
    pub const LINUX_BOOT: Self = Self::new(0xbc13_c2ff, 0x59e6, 0x4262, 0xa352_b275_fd6f_7172);
    /// Root file system for x86-64.
    pub const LINUX_ROOT_X86_64: Self =
        Self::new(0x4f68_bce3, 0xe8cd, 0x4db1, 0x96e7_fbca_f984_b709);
    /// Root file system for 64-bit ARM.
    pub const LINUX_ROOT_ARM64: Self =
        Self::new(0xb921_b045, 0x1df0, 0x41c3, 0xaf44_4c6f_280d_3fae);

    /// The GUID written `first-second-third-rrrr-rrrrrrrrrrrr`.
    pub const fn new(first: u32, second: u16, third: u16, rest: u64) -> Self {
        Self {
            first,
            second,
            third,
            rest,
        }
    }

    /// From the 16 bytes at `at`, of which the first three fields are little-endian (UEFI
    /// specification, appendix A).
    pub(crate) fn from_bytes(bytes: &[u8], at: usize) -> Self {
        Self {
            first: le32(bytes, at),
            second: le16(bytes, at + 4),
            third: le16(bytes, at + 6),
            rest: be64(bytes, at + 8),
        }
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            self.first,
            self.second,
            self.third,
            self.rest >> 48,
            self.rest & 0xffff_ffff_ffff
        )
    }
}

/// Types that are met on server images, and what to call them.
const NAMES: &[(Guid, &str)] = &[
    (Guid::BIOS_BOOT, "BIOS boot"),
    (Guid::EFI_SYSTEM, "EFI system"),
    (Guid::LINUX_DATA, "Linux file system"),
    (Guid::LINUX_SWAP, "Linux swap"),
    (Guid::LINUX_LVM, "Linux LVM"),
    (Guid::LINUX_RAID, "Linux RAID"),
    (Guid::LINUX_BOOT, "Linux extended boot"),
    (Guid::LINUX_ROOT_X86_64, "Linux root (x86-64)"),
    (Guid::LINUX_ROOT_ARM64, "Linux root (ARM64)"),
    (
        Guid::new(0x4447_9540, 0xf297, 0x41b2, 0x9af7_d131_d5f0_458a),
        "Linux root (x86)",
    ),
    (
        Guid::new(0x933a_c7e1, 0x2eb4, 0x4f13, 0xb844_0e14_e2ae_f915),
        "Linux home",
    ),
    (
        Guid::new(0x4d21_b016, 0xb534, 0x45c2, 0xa9fb_5c16_e091_fd2d),
        "Linux variable data",
    ),
    (
        Guid::new(0x8484_680c, 0x9521, 0x48c6, 0x9c11_b072_0656_f69e),
        "Linux /usr (x86-64)",
    ),
    (
        Guid::new(0xca7d_7ccb, 0x63ed, 0x4c53, 0x861c_1742_5360_59cc),
        "Linux LUKS",
    ),
    (
        Guid::new(0x9e1a_2d38, 0xc612, 0x4316, 0xaa26_8b49_521e_5a8b),
        "PowerPC PReP boot",
    ),
    (
        Guid::new(0xebd0_a0a2, 0xb9e5, 0x4433, 0x87c0_68b6_b726_99c7),
        "Microsoft basic data",
    ),
    (
        Guid::new(0xe3c9_e316, 0x0b5c, 0x4db8, 0x817d_f92d_f002_15ae),
        "Microsoft reserved",
    ),
    (
        Guid::new(0xde94_bba4, 0x06d1, 0x4d40, 0xa16a_bfd5_0179_d6ac),
        "Windows recovery",
    ),
    (
        Guid::new(0x83bd_6b9d, 0x7f41, 0x11dc, 0xbe0b_0015_60b8_4f0f),
        "FreeBSD boot",
    ),
    (
        Guid::new(0x516e_7cb6, 0x6ecf, 0x11d6, 0x8ff8_0002_2d09_712b),
        "FreeBSD UFS",
    ),
    (
        Guid::new(0x516e_7cb5, 0x6ecf, 0x11d6, 0x8ff8_0002_2d09_712b),
        "FreeBSD swap",
    ),
    (
        Guid::new(0x516e_7cba, 0x6ecf, 0x11d6, 0x8ff8_0002_2d09_712b),
        "FreeBSD ZFS",
    ),
    (
        Guid::new(0x6a89_8cc3, 0x1dd2, 0x11b2, 0x99a6_0800_2073_6631),
        "Solaris /usr or Apple ZFS",
    ),
    (
        Guid::new(0x5dfb_f5f4, 0x2848, 0x4bac, 0xaa5e_0d9a_20b7_45a6),
        "CoreOS /usr",
    ),
    (
        Guid::new(0x3884_dd41, 0x8582, 0x4404, 0xb9a8_e9b8_4f2d_f50e),
        "CoreOS root",
    ),
    (
        Guid::new(0xc95d_c21a, 0xdf0e, 0x4340, 0x8d7b_26cb_fa9a_03e0),
        "CoreOS reserved",
    ),
];

/// A name for `kind`, `unknown` if it has none here.
pub(super) fn type_name(kind: Guid) -> &'static str {
    NAMES
        .iter()
        .find(|(guid, _)| *guid == kind)
        .map_or("unknown", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_fields_are_little_endian_on_disk() {
        // "Hah!IdontNeedEFI", the joke in GRUB's type.
        let guid = Guid::from_bytes(b"Hah!IdontNeedEFI", 0);
        assert_eq!(guid, Guid::BIOS_BOOT);
        assert_eq!(guid.to_string(), "21686148-6449-6e6f-744e-656564454649");
        assert_eq!(type_name(guid), "BIOS boot");
    }

    #[test]
    fn no_type_is_listed_twice() {
        for (index, (guid, name)) in NAMES.iter().enumerate() {
            assert_eq!(type_name(*guid), *name, "entry {index}");
        }
    }
}
