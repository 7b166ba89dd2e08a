//! Small VMDK images made byte by byte, together with what a guest must see in them.

use miniz_oxide::deflate::compress_to_vec_zlib;

use crate::build::pattern;

pub const SECTOR: usize = 512;
/// The sector of the descriptor, and how many it takes.
pub const DESCRIPTOR: usize = 1;
pub const DESCRIPTOR_SECTORS: usize = 4;

/// What a test image holds in one grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Entry 0.
    Absent,
    /// Entry 1.
    Zeroed,
    /// Bytes made from a seed, compressed in a stream.
    Data(u8),
}

/// How the file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Header, descriptor, two copies of directory and tables, grains.
    Sparse,
    /// Header, descriptor, compressed grains, tables, directory, footer.
    Stream,
    /// The same without a footer: the header names the directory.
    Complete,
}

/// Shape of a test image.
#[derive(Debug, Clone)]
pub struct Shape {
    pub layout: Layout,
    /// Sectors of a grain, and entries of a grain table.
    pub grain: usize,
    pub table: usize,
    pub grains: Vec<Grain>,
    /// Sectors by which the disk falls short of the last grain's end; at most one grain.
    pub cut: usize,
    /// Lines of the descriptor; `None` for a file without one.
    pub descriptor: Option<String>,
}

/// A VMDK image and its guest-visible content.
#[derive(Debug, Clone)]
pub struct Vmdk {
    pub bytes: Vec<u8>,
    pub guest: Vec<u8>,
    /// Where the grain directory and the first grain table are, in bytes.
    pub directory: usize,
    pub tables: usize,
}

/// A descriptor with these extents.
pub fn descriptor(create_type: &str, extents: &str) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
         createType=\"{create_type}\"\n\n{extents}\n\n#DDB\nddb.adapterType = \"ide\"\n"
    )
}

impl Shape {
    pub fn new(layout: Layout, grains: &[Grain]) -> Self {
        let mut shape = Self {
            layout,
            grain: 8,
            table: 4,
            grains: grains.to_vec(),
            cut: 0,
            descriptor: None,
        };
        shape.describe();
        shape
    }

    /// Writes a descriptor that fits.
    pub fn describe(&mut self) {
        let create_type = match self.layout {
            Layout::Sparse => "monolithicSparse",
            _ => "streamOptimized",
        };
        let extent = format!("RW {} SPARSE \"disk.vmdk\"", self.capacity());
        self.descriptor = Some(descriptor(create_type, &extent));
    }

    pub fn capacity(&self) -> usize {
        self.grains.len() * self.grain - self.cut
    }

    fn tables(&self) -> usize {
        self.grains.len().div_ceil(self.table)
    }

    fn header(&self, redundant: usize, directory: u64) -> Vec<u8> {
        let packed = self.layout != Layout::Sparse;
        let flags = if packed {
            1 | 1 << 2 | 3 << 16
        } else {
            1 | 1 << 1 | 1 << 2
        };
        let described = self.descriptor.is_some();
        let mut header = b"KDMV".to_vec();
        header.extend(if packed { 3u32 } else { 1 }.to_le_bytes());
        header.extend(u32::to_le_bytes(flags));
        header.extend((self.capacity() as u64).to_le_bytes());
        header.extend((self.grain as u64).to_le_bytes());
        header.extend((if described { DESCRIPTOR as u64 } else { 0 }).to_le_bytes());
        header.extend(
            (if described {
                DESCRIPTOR_SECTORS as u64
            } else {
                0
            })
            .to_le_bytes(),
        );
        header.extend((self.table as u32).to_le_bytes());
        header.extend((redundant as u64).to_le_bytes());
        header.extend(directory.to_le_bytes());
        header.extend(64u64.to_le_bytes());
        header.push(0);
        header.extend(b"\n \r\n");
        header.extend(u16::from(packed).to_le_bytes());
        header.resize(SECTOR, 0);
        header
    }

    fn content(&self, grain: Grain) -> Vec<u8> {
        match grain {
            Grain::Data(seed) => pattern(seed, self.grain * SECTOR),
            _ => vec![0; self.grain * SECTOR],
        }
    }

    pub fn build(&self) -> Vmdk {
        let mut guest: Vec<u8> = self
            .grains
            .iter()
            .flat_map(|&grain| self.content(grain))
            .collect();
        guest.truncate(self.capacity() * SECTOR);
        let mut bytes = vec![0; SECTOR * (DESCRIPTOR + DESCRIPTOR_SECTORS)];
        if let Some(text) = &self.descriptor {
            bytes[DESCRIPTOR * SECTOR..][..text.len()].copy_from_slice(text.as_bytes());
        }
        let mut image = Vmdk {
            bytes,
            guest,
            directory: 0,
            tables: 0,
        };
        match self.layout {
            Layout::Sparse => self.build_sparse(&mut image),
            _ => self.build_stream(&mut image),
        }
        image
    }

    fn build_sparse(&self, image: &mut Vmdk) {
        let table_sectors = (self.table * 4).div_ceil(SECTOR);
        let directory_sectors = (self.tables() * 4).div_ceil(SECTOR);
        let redundant = image.bytes.len() / SECTOR;
        let both = directory_sectors + self.tables() * table_sectors;
        let directory = redundant + both;
        image.bytes.resize((directory + both) * SECTOR, 0);
        for place in [redundant, directory] {
            for table in 0..self.tables() {
                let sector = place + directory_sectors + table * table_sectors;
                put32(&mut image.bytes, place * SECTOR + table * 4, sector);
            }
        }
        for (index, &grain) in self.grains.iter().enumerate() {
            let entry = match grain {
                Grain::Absent => 0,
                Grain::Zeroed => 1,
                Grain::Data(_) => image.bytes.len() / SECTOR,
            };
            if matches!(grain, Grain::Data(_)) {
                image.bytes.extend(self.content(grain));
            }
            for place in [redundant, directory] {
                let first = (place + directory_sectors) * SECTOR;
                let table = first + index / self.table * table_sectors * SECTOR;
                put32(&mut image.bytes, table + index % self.table * 4, entry);
            }
        }
        let header = self.header(redundant, directory as u64);
        image.bytes[..SECTOR].copy_from_slice(&header);
        image.directory = directory * SECTOR;
        image.tables = (directory + directory_sectors) * SECTOR;
    }

    fn build_stream(&self, image: &mut Vmdk) {
        let mut directory = Vec::new();
        for (number, grains) in self.grains.chunks(self.table).enumerate() {
            let mut table = vec![0; self.table];
            for (index, &grain) in grains.iter().enumerate() {
                table[index] = match grain {
                    Grain::Absent => 0,
                    Grain::Zeroed => 1,
                    Grain::Data(_) => {
                        let packed = compress_to_vec_zlib(&self.content(grain), 6);
                        let sector = (number * self.table + index) * self.grain;
                        let place = image.bytes.len() / SECTOR;
                        image.bytes.extend((sector as u64).to_le_bytes());
                        image.bytes.extend((packed.len() as u32).to_le_bytes());
                        image.bytes.extend(packed);
                        pad(&mut image.bytes);
                        place
                    }
                };
            }
            let empty = table.iter().all(|&entry| entry == 0);
            directory.push(if empty {
                0
            } else {
                marked(&mut image.bytes, 1, &entries(&table))
            });
            if number == 0 {
                image.tables = directory[0] * SECTOR;
            }
        }
        let place = marked(&mut image.bytes, 2, &entries(&directory));
        image.directory = place * SECTOR;
        let first = match self.layout {
            Layout::Complete => place as u64,
            _ => u64::MAX,
        };
        image.bytes[..SECTOR].copy_from_slice(&self.header(0, first));
        if self.layout == Layout::Stream {
            let footer = self.header(0, place as u64);
            marked(&mut image.bytes, 3, &footer);
            image.bytes.extend([0; SECTOR]);
        }
    }
}

/// Appends `content` behind a marker; its sector.
fn marked(bytes: &mut Vec<u8>, kind: u32, content: &[u8]) -> usize {
    bytes.extend((content.len().div_ceil(SECTOR) as u64).to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    pad(bytes);
    let place = bytes.len() / SECTOR;
    bytes.extend(content);
    pad(bytes);
    place
}

fn entries(entries: &[usize]) -> Vec<u8> {
    let bytes = entries.iter().map(|&entry| (entry as u32).to_le_bytes());
    bytes.flatten().collect()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
}

pub fn put32(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}

pub fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
