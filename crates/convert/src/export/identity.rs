//! Identifiers that come from the content, where others draw them at random.
//!
//! Two images are told apart by them, for example when both are registered in VirtualBox. So they
//! have to differ if the content does, and to be the same for the same content.

use sha2::{Digest, Sha256};

/// Gathers the content, piece by piece in the order of the disk.
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of a disk of `virtual_size` bytes, of which nothing is known yet but its size.
    pub(super) fn new(virtual_size: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(virtual_size.to_le_bytes());
        Self(hash)
    }

    /// Adds the checksum of a piece that is not all zeros, which is number `index` of its size.
    ///
    /// A checksum of 32 bits is enough: a change that it misses costs an identifier that two
    /// images share, not data.
    pub(super) fn add(&mut self, index: u64, checksum: u32) {
        self.0.update(index.to_le_bytes());
        self.0.update(checksum.to_le_bytes());
    }

    /// What came of it.
    pub(super) fn finish(self) -> Identity {
        Identity(self.0.finalize().into())
    }
}

/// A digest of the content of a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity([u8; 32]);

impl Identity {
    /// The identity that a digest of the content, of whatever kind, stands for.
    pub(crate) fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// A UUID for `purpose`, in the byte order of Microsoft and VirtualBox: the first three fields
    /// little-endian. Of version 8 (RFC 9562, section 5.8), which is for such uses.
    pub(super) fn guid(&self, purpose: &str) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(purpose);
        hash.update(self.0);
        let digest: [u8; 32] = hash.finalize().into();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&digest[..16]);
        uuid[6] = 0x80 | uuid[6] & 0x0f;
        uuid[8] = 0x80 | uuid[8] & 0x3f;
        guid(u128::from_be_bytes(uuid))
    }

    /// A content identifier of VMDK, of 32 bits; not one of those that mean something.
    pub(super) fn cid(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        // The highest values mark "no parent" and "not known".
        u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
    }
}

/// The bytes of a GUID that is written `{01234567-89ab-cdef-…}`, given as that number.
pub(super) const fn guid(number: u128) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = number.to_be_bytes();
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(size: u64, pieces: &[(u64, u32)]) -> Identity {
        let mut fingerprint = Fingerprint::new(size);
        for (index, checksum) in pieces {
            fingerprint.add(*index, *checksum);
        }
        fingerprint.finish()
    }

    #[test]
    fn identifiers_follow_content_and_purpose() {
        let one = identity(512, &[(0, 1)]);
        assert_eq!(one.guid("a"), identity(512, &[(0, 1)]).guid("a"));
        assert_ne!(one.guid("a"), one.guid("b"));
        for other in [
            identity(1024, &[(0, 1)]),
            identity(512, &[(1, 1)]),
            identity(512, &[(0, 2)]),
            identity(512, &[]),
        ] {
            assert_ne!(one.guid("a"), other.guid("a"));
            assert_ne!(one.cid(), other.cid());
        }
    }

    #[test]
    fn guids_are_of_version_8_in_mixed_order() {
        let bytes = identity(512, &[]).guid("a");
        assert_eq!((bytes[7] >> 4, bytes[8] >> 6), (8, 2));
        assert_eq!(
            guid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            [
                0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
                0xcd, 0xef
            ]
        );
    }
}
