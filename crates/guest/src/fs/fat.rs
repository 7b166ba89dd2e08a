//! Directories of a FAT filesystem: an EFI system partition holds its boot loaders in them.
//!
//! Specification: ECMA-107, and Microsoft's "FAT File System Specification" for FAT32 and long
//! names. Only names and sizes are read. All numbers are little-endian; the boot sector says:
//!
//! | Dec | Len | Name |
//! |----:|----:|------|
//! |  11 |   2 | bytes per sector |
//! |  13 |   1 | sectors per cluster |
//! |  14 |   2 | reserved sectors, after which the tables begin |
//! |  16 |   1 | number of tables |
//! |  17 |   2 | entries of the root directory (0 in FAT32) |
//! |  19 |   2 | sectors in total, or 0 and it is at 32 |
//! |  22 |   2 | sectors per table, or 0 and it is at 36 |
//! |  44 |   4 | FAT32: first cluster of the root directory |
//!
//! A chain of clusters is followed for at most [`MAX_CLUSTERS`], so one that loops ends.

use abbild_disk::Source;

/// Clusters of one directory that are read.
const MAX_CLUSTERS: usize = 256;
/// Bytes of one directory that are read.
const MAX_DIRECTORY: usize = 256 << 10;
/// Bytes of an entry.
const ENTRY: usize = 32;
/// Attribute bits of an entry.
const DIRECTORY: u8 = 0x10;
const VOLUME_LABEL: u8 = 0x08;
/// The attributes of a piece of a long name.
const LONG_NAME: u8 = 0x0f;

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The long name if there is one.
    pub(crate) name: String,
    pub(crate) is_directory: bool,
    /// Size in bytes; 0 for a directory.
    pub(crate) len: u32,
    cluster: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// A FAT filesystem.
pub(crate) struct Fat<S> {
    source: S,
    width: Width,
    cluster_size: u64,
    /// First byte of the first table.
    table: u64,
    /// First byte and length of the root directory of FAT12 and FAT16.
    root: (u64, usize),
    root_cluster: u32,
    /// First byte of cluster 2.
    data: u64,
    /// One more than the last cluster's number.
    end: u32,
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |field| u16::from_le_bytes(*field))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |field| u32::from_le_bytes(*field))
}

impl<S: Source> Fat<S> {
    /// Reads the boot sector; `None` if it describes no filesystem.
    pub(crate) fn open(source: S) -> Option<Self> {
        let mut boot = [0; 512];
        source.read_at(0, &mut boot).ok()?;
        let sector = u64::from(le16(&boot, 11));
        let per_cluster = u64::from(boot[13]);
        if !matches!(sector, 512 | 1024 | 2048 | 4096) || !per_cluster.is_power_of_two() {
            return None;
        }
        let either = |short: u16, long: u32| match short {
            0 => u64::from(long),
            short => u64::from(short),
        };
        let table_sectors = either(le16(&boot, 22), le32(&boot, 36));
        let reserved = u64::from(le16(&boot, 14));
        let root_entries = u64::from(le16(&boot, 17));
        let root_sectors = (root_entries * ENTRY as u64).div_ceil(sector);
        let tables_end = reserved + u64::from(boot[16]) * table_sectors;
        let data = tables_end + root_sectors;
        let total = either(le16(&boot, 19), le32(&boot, 32));
        let clusters = total.checked_sub(data)? / per_cluster;
        let width = match clusters {
            0..4085 => Width::Fat12,
            4085..65525 => Width::Fat16,
            _ => Width::Fat32,
        };
        Some(Self {
            source,
            width,
            cluster_size: per_cluster * sector,
            table: reserved * sector,
            root: (
                tables_end * sector,
                usize::try_from(root_entries).ok()? * ENTRY,
            ),
            root_cluster: le32(&boot, 44),
            data: data * sector,
            end: u32::try_from(clusters).ok()?.checked_add(2)?,
        })
    }

    /// What lies in the directory `path` (`EFI/BOOT`, `` for the root); upper and lower case are
    /// the same. Empty if there is no such directory, and cut short where it is damaged.
    pub(crate) fn list(&self, path: &str) -> Vec<Entry> {
        let root = match self.width {
            Width::Fat32 => self.read_chain(self.root_cluster),
            _ => self.read(self.root.0, self.root.1),
        };
        let mut entries = parse(&root.unwrap_or_default());
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let found = entries
                .iter()
                .find(|entry| entry.is_directory && entry.name.eq_ignore_ascii_case(name));
            let Some(cluster) = found.map(|entry| entry.cluster) else {
                return Vec::new();
            };
            entries = parse(&self.read_chain(cluster).unwrap_or_default());
        }
        entries
    }

    fn read(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len.min(MAX_DIRECTORY)];
        self.source.read_at(offset, &mut bytes).ok()?;
        Some(bytes)
    }

    /// The clusters of a chain, one after another.
    fn read_chain(&self, first: u32) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        for _ in 0..MAX_CLUSTERS {
            if !(2..self.end).contains(&cluster) || bytes.len() >= MAX_DIRECTORY {
                break;
            }
            let offset = self.data + u64::from(cluster - 2) * self.cluster_size;
            let len = usize::try_from(self.cluster_size).ok()?;
            bytes.extend(self.read(offset, len)?);
            cluster = self.next(cluster)?;
        }
        Some(bytes)
    }

    /// The cluster after `cluster`; whatever lies outside the filesystem ends the chain.
    fn next(&self, cluster: u32) -> Option<u32> {
        let at = u64::from(cluster);
        let offset = match self.width {
            Width::Fat12 => at + at / 2,
            Width::Fat16 => at * 2,
            Width::Fat32 => at * 4,
        };
        let mut bytes = [0; 4];
        let len = if self.width == Width::Fat32 { 4 } else { 2 };
        self.source
            .read_at(self.table + offset, bytes.get_mut(..len)?)
            .ok()?;
        let value = u32::from_le_bytes(bytes);
        Some(match self.width {
            Width::Fat12 if cluster.is_multiple_of(2) => value & 0xfff,
            Width::Fat12 => value >> 4,
            Width::Fat16 => value,
            Width::Fat32 => value & 0x0fff_ffff,
        })
    }
}

/// The entries of a directory. Pieces of a long name stand before its entry, the last one first.
fn parse(directory: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut long: Vec<u16> = Vec::new();
    for entry in directory.chunks_exact(ENTRY) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (0xe5, _) => long.clear(),
            (_, LONG_NAME) => {
                let piece = [1..11, 14..26, 28..32].into_iter().flat_map(|part| {
                    entry[part]
                        .chunks_exact(2)
                        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
                });
                long.splice(0..0, piece.take_while(|&unit| unit != 0));
            }
            (_, attributes) => {
                let name = match long.is_empty() {
                    true => short_name(entry),
                    false => String::from_utf16_lossy(&long),
                };
                long.clear();
                if attributes & VOLUME_LABEL == 0 && name != "." && name != ".." {
                    entries.push(Entry {
                        name,
                        is_directory: attributes & DIRECTORY != 0,
                        len: le32(entry, 28),
                        cluster: u32::from(le16(entry, 20)) << 16 | u32::from(le16(entry, 26)),
                    });
                }
            }
        }
        // A name has at most 255 characters; pieces without end belong to none.
        long.truncate(260);
    }
    entries
}

/// Name and extension in eight and three bytes, filled with blanks.
fn short_name(entry: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>| {
        let bytes = entry.get(range).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim_end().to_owned()
    };
    let (name, extension) = (part(0..8), part(8..11));
    match extension.is_empty() {
        true => name,
        false => format!("{name}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// A filesystem of mkfs.vfat's with two loaders in it.
    fn image(bits: &str, kib: u64) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fat");
        File::create(&path).unwrap().set_len(kib << 10).unwrap();
        run("mkfs.vfat", &[Path::new("-F"), Path::new(bits), &path]);
        let loader = directory.path().join("loader");
        fs::write(&loader, b"MZ and more").unwrap();
        let at = [Path::new("-i"), &path];
        for made in ["::EFI", "::EFI/BOOT", "::EFI/a rather long name"] {
            run("mmd", &[at[0], at[1], Path::new(made)]);
        }
        for to in [
            "::EFI/BOOT/BOOTX64.EFI",
            "::EFI/a rather long name/shimx64-signed.efi",
        ] {
            run("mcopy", &[at[0], at[1], &loader, Path::new(to)]);
        }
        fs::read(path).unwrap()
    }

    fn run(program: &str, args: &[&Path]) {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let done = Command::new(program).args(args).env("PATH", path).output();
        let done = done.expect("dosfstools and mtools are installed by scripts/setup");
        assert!(done.status.success(), "{program}: {done:?}");
    }

    fn names(fat: &Fat<Vec<u8>>, path: &str) -> Vec<String> {
        fat.list(path).into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn names_are_read_at_every_width() {
        for (bits, kib) in [("12", 1024), ("16", 16 << 10), ("32", 64 << 10)] {
            let fat = Fat::open(image(bits, kib)).unwrap();
            assert_eq!(names(&fat, ""), ["EFI"], "FAT{bits}");
            assert_eq!(names(&fat, "/efi/"), ["BOOT", "a rather long name"]);
            assert_eq!(
                names(&fat, "EFI/A rather LONG name"),
                ["shimx64-signed.efi"]
            );
            let boot = fat.list("efi/boot");
            assert_eq!((boot[0].name.as_str(), boot[0].len), ("BOOTX64.EFI", 11));
            assert!(!boot[0].is_directory);
            assert!(names(&fat, "EFI/nothing").is_empty());
        }
    }

    #[test]
    fn a_chain_that_loops_ends() {
        let mut bytes = image("12", 1024);
        let fat = Fat::open(bytes.clone()).unwrap();
        let cluster = fat.list("")[0].cluster;
        let at = usize::try_from(fat.table).unwrap() + cluster as usize * 3 / 2;
        // The directory's only cluster is followed by itself.
        let odd = u16::from(!cluster.is_multiple_of(2)) * 4;
        bytes[at..at + 2].copy_from_slice(&((cluster as u16) << odd).to_le_bytes());
        let fat = Fat::open(bytes).unwrap();
        assert!(!fat.list("EFI").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn damage_never_panics(damage in prop::collection::vec((0..40_000_usize, any::<u8>()), 1..30)) {
            static IMAGE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let mut bytes = IMAGE.get_or_init(|| image("12", 1024)).clone();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            if let Some(fat) = Fat::open(bytes) {
                fat.list("EFI/BOOT");
            }
        }
    }
}
