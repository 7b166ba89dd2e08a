//! Image files of a few kilobytes, made byte by byte.

use std::io::Write as _;

/// A raw disk of 2 MiB with an MBR and one empty Linux partition.
pub fn raw() -> Vec<u8> {
    let mut disk = vec![0; 2 << 20];
    let entry = &mut disk[446..462];
    entry[4] = 0x83;
    entry[8..12].copy_from_slice(&2048_u32.to_le_bytes());
    entry[12..16].copy_from_slice(&2048_u32.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// A qcow2 version 3 of 1 MiB without data; `backing` becomes its backing file.
pub fn qcow2(backing: Option<&str>) -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let mut file = vec![0; 4 * CLUSTER];
    let mut be32 = |at: usize, value: u32| file[at..at + 4].copy_from_slice(&value.to_be_bytes());
    be32(0, 0x5146_49fb);
    be32(4, 3);
    be32(20, 16); // cluster bits
    be32(28, 1 << 20); // virtual size
    be32(36, 1); // entries of the L1 table
    be32(44, 3 << 16); // L1 table
    be32(52, 1 << 16); // refcount table
    be32(56, 1);
    be32(96, 4); // refcount order
    be32(100, 104); // header length
    if let Some(backing) = backing {
        be32(12, 512);
        be32(16, backing.len().try_into().unwrap());
        file[512..512 + backing.len()].copy_from_slice(backing.as_bytes());
    }
    file
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Bytes that differ from place to place.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}
