//! Small disks made byte by byte, together with what a guest must see in them.

use miniz_oxide::deflate::compress_to_vec;
use ruzstd::encoding::{CompressionLevel, compress_to_vec as compress_zstd};

/// What a test image holds in one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// No L2 entry.
    Absent,
    /// The zero flag, version 3 only.
    Zero,
    /// Stored bytes made from a seed.
    Data(u8),
    /// The same, compressed.
    Packed(u8),
}

/// Bytes that differ from cluster to cluster and compress by about half.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| {
            if at / 16 % 2 == 0 {
                seed
            } else {
                (at as u8).wrapping_mul(31) ^ (at >> 8) as u8
            }
        })
        .collect()
}

/// A qcow2 image and its guest-visible content.
pub struct Qcow2 {
    pub bytes: Vec<u8>,
    pub guest: Vec<u8>,
}

/// Shape of a test image.
#[derive(Debug, Clone)]
pub struct Shape {
    pub version: u32,
    pub cluster_bits: u32,
    pub zstd: bool,
    pub clusters: Vec<Cluster>,
    /// Bytes by which the virtual size falls short of the last cluster's end.
    pub cut: u64,
}

impl Shape {
    pub fn new(cluster_bits: u32, clusters: &[Cluster]) -> Self {
        Self {
            version: 3,
            cluster_bits,
            zstd: false,
            clusters: clusters.to_vec(),
            cut: 0,
        }
    }

    /// Layout: header, L1 table (padded to clusters), L2 tables, then data in guest order.
    pub fn build(&self) -> Qcow2 {
        let cluster = 1usize << self.cluster_bits;
        let per_table = cluster / 8;
        let tables = self.clusters.len().div_ceil(per_table).max(1);
        let l1_clusters = (tables * 8).div_ceil(cluster);
        let first_table = (1 + l1_clusters) * cluster;
        let mut bytes = vec![0; first_table + tables * cluster];
        let mut guest = Vec::new();
        self.write_header(&mut bytes, tables as u32);
        for table in 0..tables {
            let entry = (first_table + table * cluster) as u64 | 1 << 63;
            put64(&mut bytes, cluster + table * 8, entry);
        }
        for (index, kind) in self.clusters.iter().enumerate() {
            let (entry, content) = self.append(&mut bytes, *kind);
            put64(&mut bytes, first_table + index * 8, entry);
            guest.extend(content);
        }
        guest.truncate(guest.len() - self.cut as usize);
        Qcow2 { bytes, guest }
    }

    /// Stores one cluster; its L2 entry and its content.
    fn append(&self, bytes: &mut Vec<u8>, kind: Cluster) -> (u64, Vec<u8>) {
        let cluster = 1usize << self.cluster_bits;
        match kind {
            Cluster::Absent => (0, vec![0; cluster]),
            Cluster::Zero => (1, vec![0; cluster]),
            Cluster::Data(seed) => {
                bytes.resize(bytes.len().next_multiple_of(cluster), 0);
                let entry = bytes.len() as u64 | 1 << 63;
                let content = pattern(seed, cluster);
                bytes.extend(&content);
                (entry, content)
            }
            Cluster::Packed(seed) => {
                let content = pattern(seed, cluster);
                let packed = if self.zstd {
                    compress_zstd(content.as_slice(), CompressionLevel::Fastest)
                } else {
                    compress_to_vec(&content, 6)
                };
                let offset = bytes.len() as u64;
                let sectors = (offset % 512 + packed.len() as u64).div_ceil(512) - 1;
                bytes.extend(packed);
                let entry = 1 << 62 | sectors << (62 - (self.cluster_bits - 8)) | offset;
                (entry, content)
            }
        }
    }

    fn write_header(&self, bytes: &mut [u8], l1_size: u32) {
        let size = ((self.clusters.len() as u64) << self.cluster_bits) - self.cut;
        bytes[..4].copy_from_slice(b"QFI\xfb");
        put32(bytes, 4, self.version);
        put32(bytes, 20, self.cluster_bits);
        put64(bytes, 24, size);
        put32(bytes, 36, l1_size);
        put64(bytes, 40, 1 << self.cluster_bits);
        if self.version == 3 {
            put32(bytes, 96, 4);
            put32(bytes, 100, if self.zstd { 112 } else { 104 });
        }
        if self.zstd {
            put64(bytes, 72, 1 << 3);
            bytes[104] = 1;
        }
    }
}

pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

pub fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

/// Writes a boot record with `entries` of (status, type, first sector, sectors) at `sector`.
pub fn put_mbr(disk: &mut [u8], sector: usize, entries: &[(u8, u8, u32, u32)]) {
    let base = sector * 512;
    for (index, (status, kind, start, count)) in entries.iter().enumerate() {
        let at = base + 446 + index * 16;
        disk[at..at + 16].fill(0);
        disk[at] = *status;
        disk[at + 4] = *kind;
        disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
    }
    disk[base + 510..base + 512].copy_from_slice(&[0x55, 0xaa]);
}

/// A disk of `sectors` sectors with a protective MBR and two intact copies of a GPT, whose
/// partitions are (type GUID on disk, first sector, last sector, name).
pub fn gpt_disk(
    sector: usize,
    sectors: usize,
    partitions: &[([u8; 16], u64, u64, &str)],
) -> Vec<u8> {
    let mut disk = vec![0; sector * sectors];
    put_mbr(&mut disk, 0, &[(0, 0xee, 1, u32::MAX)]);
    let mut entries = vec![0; 128 * 128];
    for (index, (kind, first, last, name)) in partitions.iter().enumerate() {
        let entry = &mut entries[index * 128..][..128];
        entry[..16].copy_from_slice(kind);
        entry[16..32].fill(0x10 + index as u8);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (unit, slot) in name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
            slot.copy_from_slice(&unit.to_le_bytes());
        }
    }
    let table_sectors = entries.len() / sector;
    let last = sectors - 1;
    for (here, other, table) in [(1, last, 2), (last, 1, last - table_sectors)] {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x0001_0000u32.to_le_bytes());
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        header[24..32].copy_from_slice(&(here as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(other as u64).to_le_bytes());
        header[56..72].fill(0xd1);
        header[72..80].copy_from_slice(&(table as u64).to_le_bytes());
        header[80..84].copy_from_slice(&128u32.to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        let crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        disk[here * sector..][..92].copy_from_slice(&header);
        disk[table * sector..][..entries.len()].copy_from_slice(&entries);
    }
    disk
}
