//! Disks: partitions behind an MBR or a GPT.

/// Where the first partition begins.
pub const START: usize = 1 << 20;
const SECTOR: usize = 512;

/// The GUID of the disk and, but for the last digits, of its partitions.
pub const DISK_ID: &str = "00112233-4455-6677-8899-aabbccddee00";
/// The same for an MBR.
pub const DISK_SIGNATURE: &str = "1234abcd";

/// Linux file system data.
pub const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// One partition.
pub struct Part {
    bytes: Vec<u8>,
    name: &'static str,
    kind: &'static str,
    type_byte: u8,
    active: bool,
    attributes: u64,
}

impl Part {
    /// A Linux partition that holds `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            name: "",
            kind: LINUX,
            type_byte: 0x83,
            active: false,
            attributes: 0,
        }
    }

    /// Its name in a GPT.
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Its type in a GPT.
    pub fn of_type(mut self, guid: &'static str) -> Self {
        self.kind = guid;
        self
    }

    /// Its attribute bits in a GPT.
    pub fn with_attributes(mut self, attributes: u64) -> Self {
        self.attributes = attributes;
        self
    }

    /// Marked in an MBR as the one to boot.
    pub fn active(mut self) -> Self {
        self.active = true;
        self
    }
}

/// A disk in the making.
pub struct Disk {
    gpt: bool,
    parts: Vec<Part>,
}

impl Disk {
    /// With an MBR and boot code in it; at most four partitions.
    pub fn mbr(parts: impl IntoIterator<Item = Part>) -> Self {
        Self {
            gpt: false,
            parts: parts.into_iter().collect(),
        }
    }

    /// With a GPT. The partition with number N has the unique GUID [`DISK_ID`] plus N.
    pub fn gpt(parts: impl IntoIterator<Item = Part>) -> Self {
        Self {
            gpt: true,
            parts: parts.into_iter().collect(),
        }
    }

    /// The whole disk.
    pub fn bytes(self) -> Vec<u8> {
        let mut disk = vec![0; START];
        let mut places = Vec::new();
        for part in &self.parts {
            let start = disk.len();
            disk.extend_from_slice(&part.bytes);
            disk.resize(disk.len().next_multiple_of(START), 0);
            places.push((start / SECTOR, (disk.len() - start) / SECTOR));
        }
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        if self.gpt {
            disk.resize(disk.len() + START, 0);
            write_gpt(&mut disk, &self.parts, &places);
        } else {
            disk[..10].fill(0x90);
            let signature = u32::from_str_radix(DISK_SIGNATURE, 16).unwrap();
            disk[440..444].copy_from_slice(&signature.to_le_bytes());
            for (index, (part, &place)) in self.parts.iter().zip(&places).enumerate() {
                write_mbr_entry(&mut disk, index, part.type_byte, place);
                disk[446 + 16 * index] = u8::from(part.active) << 7;
            }
        }
        disk
    }
}

fn write_mbr_entry(disk: &mut [u8], index: usize, kind: u8, (start, count): (usize, usize)) {
    let entry = &mut disk[446 + 16 * index..][..16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
    entry[12..16].copy_from_slice(&u32::try_from(count).unwrap().to_le_bytes());
}

/// UEFI specification 2.10, section 5.3: both headers, both copies of 128 entries.
fn write_gpt(disk: &mut [u8], parts: &[Part], places: &[(usize, usize)]) {
    let sectors = disk.len() / SECTOR;
    write_mbr_entry(disk, 0, 0xee, (1, sectors - 1));
    let mut entries = vec![0; 128 * 128];
    for (index, (part, &(start, count))) in parts.iter().zip(places).enumerate() {
        let entry = &mut entries[128 * index..][..128];
        entry[..16].copy_from_slice(&guid(part.kind));
        entry[16..32].copy_from_slice(&guid(DISK_ID));
        entry[31] = u8::try_from(index + 1).unwrap();
        let last = start + count - 1;
        for (at, number) in [(32, start as u64), (40, last as u64), (48, part.attributes)] {
            entry[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        for (at, unit) in part.name.encode_utf16().enumerate() {
            entry[56 + 2 * at..][..2].copy_from_slice(&unit.to_le_bytes());
        }
    }
    let copies = [(1, sectors - 1, 2), (sectors - 1, 1, sectors - 33)];
    for (here, other, table) in copies {
        disk[table * SECTOR..][..entries.len()].copy_from_slice(&entries);
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[10] = 1;
        header[12] = 92;
        for (at, number) in [
            (24, here),
            (32, other),
            (40, 34),
            (48, sectors - 34),
            (72, table),
        ] {
            header[at..at + 8].copy_from_slice(&(number as u64).to_le_bytes());
        }
        header[56..72].copy_from_slice(&guid(DISK_ID));
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        let checksum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
        disk[here * SECTOR..][..92].copy_from_slice(&header);
    }
}

/// As a GPT stores it: the first three fields are little-endian.
fn guid(text: &str) -> [u8; 16] {
    let hex = text.replace('-', "");
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    order.map(byte)
}

/// The disk as a static VDI image, for what a raw file would be refused for: all blocks of 1 MiB
/// are there, in order.
pub fn vdi(mut disk: Vec<u8>) -> Vec<u8> {
    const BLOCK: usize = 1 << 20;
    disk.resize(disk.len().next_multiple_of(BLOCK), 0);
    let blocks = disk.len() / BLOCK;
    let mut image = vec![0; BLOCK];
    let mut put = |at: usize, number: u64, len: usize| {
        image[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
    };
    put(64, 0xbeda_107f, 4);
    put(68, 0x0001_0001, 4);
    put(72, 400, 4);
    put(76, 2, 4);
    put(340, 512, 4);
    put(344, BLOCK as u64, 4);
    put(360, 512, 4);
    put(368, disk.len() as u64, 8);
    put(376, BLOCK as u64, 4);
    put(384, blocks as u64, 4);
    put(388, blocks as u64, 4);
    for block in 0..blocks {
        put(512 + 4 * block, block as u64, 4);
    }
    image.extend(disk);
    image
}
