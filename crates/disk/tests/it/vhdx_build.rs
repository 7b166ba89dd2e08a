//! Small VHDX images made byte by byte, together with what a guest must see in them.

use crate::build::pattern;

pub const MIB: usize = 1 << 20;
/// Where the parts of a test image lie, in bytes. The log has 1 MiB, metadata and BAT the same.
pub const LOG: usize = MIB;
pub const METADATA: usize = 2 * MIB;
pub const BAT: usize = 3 * MIB;
pub const DATA: usize = 4 * MIB;
/// The headers and the region tables.
pub const HEADERS: [usize; 2] = [64 << 10, 128 << 10];
pub const REGIONS: [usize; 2] = [192 << 10, 256 << 10];
/// The GUID of a dirty log.
pub const LOG_GUID: [u8; 16] = *b"log of this test";

pub const BAT_GUID: [u8; 16] = guid(0x2dc2_7766, 0xf623, 0x4200, 0x9d64_115e_9bfd_4a08);
pub const METADATA_GUID: [u8; 16] = guid(0x8b7c_a206, 0x4790, 0x4b9a, 0xb8fe_575f_050f_886e);
pub const FILE_PARAMETERS: [u8; 16] = guid(0xcaa1_6737, 0xfa36, 0x4d43, 0xb3b6_33f0_aa44_e76b);
pub const VIRTUAL_SIZE: [u8; 16] = guid(0x2fa5_4224, 0xcd1b, 0x4876, 0xb211_5dbe_d83b_f4b8);
pub const DISK_ID: [u8; 16] = guid(0xbeca_12ab, 0xb2e6, 0x4523, 0x93ef_c309_e000_c746);
pub const LOGICAL: [u8; 16] = guid(0x8141_bf1d, 0xa96f, 0x4709, 0xba47_f233_a8fa_ab5f);
pub const PHYSICAL: [u8; 16] = guid(0xcda3_48c7, 0x445d, 0x4471, 0x9cc9_e988_5251_c556);
pub const PARENT_LOCATOR: [u8; 16] = guid(0xa8d3_5f2d, 0xb30b, 0x454d, 0xabf7_d3d8_4834_ab0c);

/// A GUID as it lies on disk.
const fn guid(first: u32, second: u16, third: u16, rest: u64) -> [u8; 16] {
    let (a, b, c) = (
        first.to_le_bytes(),
        second.to_le_bytes(),
        third.to_le_bytes(),
    );
    let d = rest.to_be_bytes();
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

/// What a test image holds in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// A BAT entry of this state and no place.
    State(u8),
    /// Stored bytes made from a seed.
    Data(u8),
}

/// Shape of a test image with blocks of 1 MiB.
#[derive(Debug, Clone)]
pub struct Shape {
    pub sector: u32,
    pub blocks: Vec<Payload>,
    /// Bytes by which the virtual size falls short of the last block's end.
    pub cut: u64,
    /// Whether the blocks lie in the file in guest order, or the other way round.
    pub in_order: bool,
}

/// A VHDX image and its guest-visible content.
#[derive(Debug, Clone)]
pub struct Vhdx {
    pub bytes: Vec<u8>,
    pub guest: Vec<u8>,
}

/// An entry of the metadata table: GUID, flags, content.
type Item = ([u8; 16], u32, Vec<u8>);

impl Shape {
    pub fn new(blocks: &[Payload]) -> Self {
        Self {
            sector: 512,
            blocks: blocks.to_vec(),
            cut: 0,
            in_order: true,
        }
    }

    pub fn build(&self) -> Vhdx {
        let mut bytes = vec![0; DATA];
        bytes[..8].copy_from_slice(b"vhdxfile");
        for (at, sequence) in HEADERS.into_iter().zip([7, 8]) {
            put_header(&mut bytes, at, sequence, &[0; 16]);
        }
        let regions = [(BAT_GUID, BAT, MIB, 1), (METADATA_GUID, METADATA, MIB, 1)];
        for at in REGIONS {
            put_regions(&mut bytes, at, &regions);
        }
        put_metadata(&mut bytes, &self.items());
        let stored = self.blocks.iter().filter(|b| matches!(b, Payload::Data(_)));
        let stored = stored.count();
        let mut guest = Vec::new();
        let mut placed = 0;
        bytes.resize(DATA + stored * MIB, 0);
        for (index, payload) in self.blocks.iter().enumerate() {
            let entry = match *payload {
                Payload::State(state) => {
                    guest.resize(guest.len() + MIB, 0);
                    state.into()
                }
                Payload::Data(seed) => {
                    let slot = if self.in_order {
                        placed
                    } else {
                        stored - 1 - placed
                    };
                    placed += 1;
                    let content = pattern(seed, MIB);
                    let at = DATA + slot * MIB;
                    bytes[at..at + MIB].copy_from_slice(&content);
                    guest.extend(content);
                    bat_entry(at)
                }
            };
            put64(&mut bytes, BAT + index * 8, entry);
        }
        guest.truncate(guest.len() - self.cut as usize);
        Vhdx { bytes, guest }
    }

    /// The metadata items, all as they must be.
    pub fn items(&self) -> Vec<Item> {
        let size = (self.blocks.len() * MIB) as u64 - self.cut;
        let parameters = (MIB as u64).to_le_bytes();
        vec![
            (FILE_PARAMETERS, 4, parameters.to_vec()),
            (VIRTUAL_SIZE, 6, size.to_le_bytes().to_vec()),
            (DISK_ID, 6, vec![0x1d; 16]),
            (LOGICAL, 6, self.sector.to_le_bytes().to_vec()),
            (PHYSICAL, 6, 4096u32.to_le_bytes().to_vec()),
        ]
    }
}

/// The BAT entry of a block that is fully present at byte `at`.
pub fn bat_entry(at: usize) -> u64 {
    (at as u64 / MIB as u64) << 20 | 6
}

pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Puts the checksum of the structure of `len` bytes at `at` where it belongs.
pub fn seal(bytes: &mut [u8], at: usize, len: usize) {
    put32(bytes, at + 4, 0);
    let sum = crc32c::crc32c(&bytes[at..at + len]);
    put32(bytes, at + 4, sum);
}

pub fn put_header(bytes: &mut [u8], at: usize, sequence: u64, log_guid: &[u8; 16]) {
    bytes[at..at + 4].copy_from_slice(b"head");
    put64(bytes, at + 8, sequence);
    bytes[at + 48..at + 64].copy_from_slice(log_guid);
    put32(bytes, at + 64, 1 << 16);
    put32(bytes, at + 68, MIB as u32);
    put64(bytes, at + 72, LOG as u64);
    seal(bytes, at, 4096);
}

/// Writes a region table of (GUID, offset, length, required).
pub fn put_regions(bytes: &mut [u8], at: usize, regions: &[([u8; 16], usize, usize, u32)]) {
    bytes[at..at + (64 << 10)].fill(0);
    bytes[at..at + 4].copy_from_slice(b"regi");
    put32(bytes, at + 8, regions.len() as u32);
    for (index, (guid, offset, len, required)) in regions.iter().enumerate() {
        let entry = at + 16 + index * 32;
        bytes[entry..entry + 16].copy_from_slice(guid);
        put64(bytes, entry + 16, *offset as u64);
        put32(bytes, entry + 24, *len as u32);
        put32(bytes, entry + 28, *required);
    }
    seal(bytes, at, 64 << 10);
}

/// Writes the metadata table and its items, one after the other.
pub fn put_metadata(bytes: &mut [u8], items: &[Item]) {
    bytes[METADATA..METADATA + (128 << 10)].fill(0);
    bytes[METADATA..METADATA + 8].copy_from_slice(b"metadata");
    bytes[METADATA + 10..METADATA + 12].copy_from_slice(&(items.len() as u16).to_le_bytes());
    let mut at = 64 << 10;
    for (index, (guid, flags, content)) in items.iter().enumerate() {
        let entry = METADATA + 32 + index * 32;
        bytes[entry..entry + 16].copy_from_slice(guid);
        put32(bytes, entry + 16, at as u32);
        put32(bytes, entry + 20, content.len() as u32);
        put32(bytes, entry + 24, *flags);
        bytes[METADATA + at..METADATA + at + content.len()].copy_from_slice(content);
        at += content.len();
    }
}

/// What one descriptor of the log changes.
#[derive(Debug, Clone)]
pub enum Change {
    /// The 4 KiB at this offset of the file.
    Sector(usize, Vec<u8>),
    /// Zeros: offset and length.
    Zeros(usize, usize),
}

/// An entry of the log, which begins at byte `tail` of it unless others come before.
pub fn log_entry(sequence: u64, tail: usize, file_len: usize, changes: &[Change]) -> Vec<u8> {
    let mut entry = vec![0; (64 + changes.len() * 32).next_multiple_of(4096)];
    entry[..4].copy_from_slice(b"loge");
    put32(&mut entry, 12, tail as u32);
    put64(&mut entry, 16, sequence);
    put32(&mut entry, 24, changes.len() as u32);
    entry[32..48].copy_from_slice(&LOG_GUID);
    put64(&mut entry, 48, file_len as u64);
    put64(&mut entry, 56, file_len as u64);
    for (index, change) in changes.iter().enumerate() {
        let at = 64 + index * 32;
        put64(&mut entry, at + 24, sequence);
        match change {
            Change::Zeros(offset, len) => {
                entry[at..at + 4].copy_from_slice(b"zero");
                put64(&mut entry, at + 8, *len as u64);
                put64(&mut entry, at + 16, *offset as u64);
            }
            Change::Sector(offset, content) => {
                entry[at..at + 4].copy_from_slice(b"desc");
                entry[at + 4..at + 8].copy_from_slice(&content[4092..]);
                entry[at + 8..at + 16].copy_from_slice(&content[..8]);
                put64(&mut entry, at + 16, *offset as u64);
                let mut sector = content.clone();
                sector[..4].copy_from_slice(b"data");
                put32(&mut sector, 4, (sequence >> 32) as u32);
                put32(&mut sector, 4092, sequence as u32);
                entry.extend(sector);
            }
        }
    }
    let len = entry.len();
    put32(&mut entry, 8, len as u32);
    seal(&mut entry, 0, len);
    entry
}

impl Vhdx {
    /// Marks the log as one to be replayed.
    pub fn make_dirty(&mut self) {
        put_header(&mut self.bytes, HEADERS[1], 9, &LOG_GUID);
    }

    /// Writes `entry` at byte `at` of the log, which is a ring; where the next one goes.
    pub fn put_log(&mut self, mut at: usize, entry: &[u8]) -> usize {
        for sector in entry.chunks(4096) {
            self.bytes[LOG + at..LOG + at + 4096].copy_from_slice(sector);
            at = (at + 4096) % MIB;
        }
        at
    }

    /// The first 4 KiB of the BAT with some entries changed.
    pub fn bat_sector(&self, entries: &[(usize, u64)]) -> Vec<u8> {
        let mut sector = self.bytes[BAT..BAT + 4096].to_vec();
        for (index, entry) in entries {
            put64(&mut sector, index * 8, *entry);
        }
        sector
    }
}
