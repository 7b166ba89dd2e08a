//! Which compressed container a file is, told by its first bytes and never by its name.
//!
//! The tests are stricter than the usual two or three magic bytes, because the same function looks
//! at decompressed disks, whose boot sector may begin with anything.

use std::fmt;

/// How many leading bytes [`Compression::detect`] wants to see; fewer do if the file is shorter.
pub const DETECT_LEN: usize = 10;

/// A compressed container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// bzip2, as written by `bzip2`, `lbzip2` and `pbzip2`.
    Bzip2,
    /// The .xz file format.
    Xz,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// The container that begins with `head`, the first [`DETECT_LEN`] bytes of a file.
    pub fn detect(head: &[u8]) -> Option<Self> {
        // RFC 1952 section 2.3: deflate is the only method, the upper three flag bits are zero.
        if let [0x1f, 0x8b, 8, flags, ..] = head
            && flags & 0xe0 == 0
        {
            return Some(Self::Gzip);
        }
        // Block size digit, then the magic of a block (pi) or of the end of an empty stream.
        if let [b'B', b'Z', b'h', b'1'..=b'9', magic @ ..] = head
            && (magic.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
                || magic.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]))
        {
            return Some(Self::Bzip2);
        }
        if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            return Some(Self::Xz);
        }
        // A frame, or one to be skipped, with which `pzstd` begins (RFC 8878 section 3.1.2).
        if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
            || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
        {
            return Some(Self::Zstd);
        }
        None
    }

    /// The command that unpacks a file of this kind.
    pub(crate) fn unpack_command(self) -> &'static str {
        match self {
            Self::Gzip => "gunzip",
            Self::Bzip2 => "bunzip2",
            Self::Xz => "unxz",
            Self::Zstd => "unzstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics_are_told_apart() {
        let cases: &[(&[u8], Option<Compression>)] = &[
            (b"\x1f\x8b\x08\x00\0\0\0\0\0\x03", Some(Compression::Gzip)),
            (b"\x1f\x8b\x08\xe0\0\0\0\0\0\x03", None),
            (b"\x1f\x8b\x07\x00\0\0\0\0\0\x03", None),
            (b"BZh91AY&SY", Some(Compression::Bzip2)),
            (b"BZh1\x17\x72\x45\x38\x50\x90", Some(Compression::Bzip2)),
            (b"BZh01AY&SY", None),
            (b"BZh9 is a text", None),
            (b"\xfd7zXZ\0", Some(Compression::Xz)),
            (b"\x28\xb5\x2f\xfd", Some(Compression::Zstd)),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", Some(Compression::Zstd)),
            (b"QFI\xfb\0\0\0\x03", None),
            (b"\x1f\x8b", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            assert_eq!(Compression::detect(head), *expected, "{head:x?}");
        }
    }
}
