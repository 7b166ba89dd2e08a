//! What a stream says about the content of its blocks (section 2.1.1.2).

use crc::{CRC_64_XZ, Crc, Digest, Table};
use sha2::{Digest as _, Sha256};

use crate::stream::Fault;

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The checks that are in use; those of other numbers were never given a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    None = 0,
    Crc32 = 1,
    Crc64 = 4,
    Sha256 = 10,
}

impl Kind {
    /// The kind that the two bytes of a stream's flags name.
    pub(super) fn from_flags(flags: &[u8]) -> Result<Self, Fault> {
        [Self::None, Self::Crc32, Self::Crc64, Self::Sha256]
            .into_iter()
            .find(|kind| flags == kind.flags())
            .ok_or_else(|| Fault::Unsupported {
                why: format!("the xz data has checks of an unknown kind, {flags:02x?}"),
                hint: "pack it again: `xz -dc IMAGE.xz | xz > NEW.xz`",
            })
    }

    pub(super) fn flags(self) -> [u8; 2] {
        [0, self as u8]
    }

    /// Length in bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32 => 4,
            Self::Crc64 => 8,
            Self::Sha256 => 32,
        }
    }
}

/// The check of a block while it is decoded.
pub(super) enum Check {
    None,
    Crc32(crc32fast::Hasher),
    Crc64(Digest<'static, u64, Table<16>>),
    Sha256(Sha256),
}

impl Check {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::None => Self::None,
            Kind::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            Kind::Crc64 => Self::Crc64(CRC64.digest()),
            Kind::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc64(crc) => crc.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    /// Whether the block's content is what `stored` was made for.
    pub(super) fn verify(self, stored: &[u8]) -> bool {
        match self {
            Self::None => stored.is_empty(),
            Self::Crc32(crc) => stored == crc.finalize().to_le_bytes(),
            Self::Crc64(crc) => stored == crc.finalize().to_le_bytes(),
            Self::Sha256(hash) => *stored == hash.finalize()[..],
        }
    }
}
