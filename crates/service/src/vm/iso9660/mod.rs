//! A writer for the one kind of CD image that a config drive needs.
//!
//! Layout, in sectors of 2048 bytes: sixteen empty ones, the primary volume descriptor, the end of
//! the descriptors, both path tables, every directory, one continuation area, then the files:
//!
//! ```text
//! 0        16    17    18..          ..           ..
//! ├ system ┼ PVD ┼ end ┼ path tables ┼ directories ┼ ER ┼ file contents ┤
//! ```
//!
//! The base is ECMA-119 (ISO 9660) at its strictest, with invented 8.3 names; real names,
//! permissions and the like are in Rock Ridge entries (IEEE P1282, RRIP 1.12, on top of SUSP 1.12),
//! which is what Linux, the BSDs and `blkid` read. Files with the same content share their sectors.
//! The same tree gives the same bytes: no clock is read.
//!
//! Not supported, because a config drive has no use for it: links, devices, owners other than root,
//! names longer than 160 bytes, files of 4 GiB and more.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

const SECTOR: usize = 2048;
/// Everything is dated 1 January 2000, so that equal trees give equal images.
const DATE: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
/// A directory record is at most 255 bytes; the fixed Rock Ridge entries leave this for the name.
const MAX_NAME: usize = 160;
/// What the continuation area says about the extensions in use (SUSP 5.5, "ER").
const ER_ID: &[u8] = b"RRIP_1991A";
const ER_DESCRIPTION: &[u8] = b"THE ROCK RIDGE INTERCHANGE PROTOCOL";

/// Why a tree cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A path has an empty, overlong or special component, or is a file and a directory at once.
    #[error("`{0}` cannot be a path on a CD image")]
    Path(String),
    /// The image would need sector numbers beyond 32 bits, or a file of 4 GiB.
    #[error("the contents are too large for a CD image")]
    TooLarge,
}

/// The files of an image, by path from the root with `/` between components.
#[derive(Debug, Clone, Default)]
pub struct Tree<'a> {
    files: BTreeMap<String, &'a [u8]>,
}

impl<'a> Tree<'a> {
    /// Adds a file; its directories come into being with it.
    pub fn file(&mut self, path: impl Into<String>, content: &'a [u8]) -> &mut Self {
        self.files.insert(path.into(), content);
        self
    }

    /// The image, with `label` as its volume name.
    ///
    /// # Errors
    ///
    /// A path that ISO 9660 with Rock Ridge cannot hold, or contents beyond 32-bit sizes.
    pub fn image(&self, label: &str) -> Result<Vec<u8>, Error> {
        let directories = self.directories()?;
        let layout = Layout::of(&directories)?;
        let mut image = vec![0; SECTOR * 16];
        image.extend(primary_descriptor(label, &layout, &directories)?);
        image.extend(sector(b"\xffCD001\x01"));
        for big_endian in [false, true] {
            image.extend(pad(path_table(&directories, &layout, big_endian)?));
        }
        for number in 0..directories.len() {
            image.extend(layout.directory_bytes(&directories, number)?);
        }
        image.extend(sector(&extension_reference()));
        for content in &layout.contents {
            image.extend(pad(content.to_vec()));
        }
        Ok(image)
    }

    /// Every directory, parents first and in path-table order, with its entries sorted by their
    /// ISO names.
    fn directories(&self) -> Result<Vec<Directory<'a>>, Error> {
        let mut directories = vec![Directory::default()];
        for (path, content) in &self.files {
            let mut at = 0;
            let mut components = path.split('/').peekable();
            while let Some(name) = components.next() {
                let bad = || Error::Path(path.clone());
                if name.is_empty() || name == "." || name == ".." || name.len() > MAX_NAME {
                    return Err(bad());
                }
                let known = directories[at]
                    .entries
                    .iter()
                    .find(|entry| entry.name == name);
                at = match (known.map(|entry| entry.node), components.peek()) {
                    (None, None) => {
                        directories[at].add(name, Node::File(content));
                        break;
                    }
                    (Some(Node::Directory(child)), Some(_)) => child,
                    (None, Some(_)) => {
                        let child = directories.len();
                        directories[at].add(name, Node::Directory(child));
                        directories.push(Directory {
                            parent: at,
                            ..Directory::default()
                        });
                        child
                    }
                    _ => return Err(bad()),
                };
            }
        }
        Ok(breadth_first(directories))
    }
}

#[derive(Debug, Clone, Copy)]
enum Node<'a> {
    File(&'a [u8]),
    /// Index of the directory.
    Directory(usize),
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    name: String,
    /// The name that plain ISO 9660 readers see: unique, ascending.
    iso_name: Vec<u8>,
    node: Node<'a>,
}

#[derive(Debug, Clone, Default)]
struct Directory<'a> {
    /// Index of the parent; the root's is its own.
    parent: usize,
    entries: Vec<Entry<'a>>,
}

impl<'a> Directory<'a> {
    /// Numbered names sort as they were added, which is the order of the real names.
    fn add(&mut self, name: &str, node: Node<'a>) {
        let number = self.entries.len();
        let iso_name = match node {
            Node::File(_) => format!("F{number:07}.;1"),
            Node::Directory(_) => format!("F{number:07}"),
        };
        self.entries.push(Entry {
            name: name.into(),
            iso_name: iso_name.into_bytes(),
            node,
        });
    }
}

/// Renumbers directories by depth, then parent, then name: the order that path tables demand
/// (ECMA-119 6.9.1).
fn breadth_first(directories: Vec<Directory<'_>>) -> Vec<Directory<'_>> {
    let mut order = vec![0];
    let mut next = 0;
    while let Some(&number) = order.get(next) {
        order.extend(
            directories[number]
                .entries
                .iter()
                .filter_map(|entry| match entry.node {
                    Node::Directory(child) => Some(child),
                    Node::File(_) => None,
                }),
        );
        next += 1;
    }
    let mut new_number = vec![0; directories.len()];
    for (new, &old) in order.iter().enumerate() {
        new_number[old] = new;
    }
    let renumber = |old: usize| {
        let mut directory = directories[old].clone();
        directory.parent = new_number[directory.parent];
        for entry in &mut directory.entries {
            if let Node::Directory(child) = &mut entry.node {
                *child = new_number[*child];
            }
        }
        directory
    };
    order.iter().map(|&old| renumber(old)).collect()
}

/// Which sectors everything occupies.
#[derive(Debug)]
struct Layout<'a> {
    path_table_len: u32,
    /// Sector of the little-endian path table; the big-endian one follows.
    path_table_at: u32,
    /// First sector and length in bytes of each directory.
    directories: Vec<(u32, u32)>,
    extension_sector: u32,
    /// First sector of each distinct content.
    files: BTreeMap<&'a [u8], u32>,
    /// The distinct contents in the order of their sectors.
    contents: Vec<&'a [u8]>,
    sectors: u32,
}

impl<'a> Layout<'a> {
    fn of(directories: &[Directory<'a>]) -> Result<Self, Error> {
        let mut layout = Layout {
            path_table_len: 0,
            path_table_at: 0,
            directories: vec![(0, 0); directories.len()],
            extension_sector: 0,
            files: BTreeMap::new(),
            contents: Vec::new(),
            sectors: 18,
        };
        // The table's length does not depend on the sector numbers in it, and no more do the
        // directories' lengths; both are built once with zeros to be measured.
        let table = path_table(directories, &layout, false)?;
        layout.path_table_len = size(table.len())?;
        layout.path_table_at = layout.take(table.len())?;
        layout.take(table.len())?;
        for number in 0..directories.len() {
            let len = layout.directory_bytes(directories, number)?.len();
            layout.directories[number] = (layout.take(len)?, size(len)?);
        }
        layout.extension_sector = layout.take(SECTOR)?;
        for entry in directories.iter().flat_map(|directory| &directory.entries) {
            if let Node::File(content) = entry.node
                && !content.is_empty()
                && !layout.files.contains_key(content)
            {
                let at = layout.take(content.len())?;
                layout.files.insert(content, at);
                layout.contents.push(content);
            }
        }
        Ok(layout)
    }

    /// Reserves sectors for `len` bytes and says where they begin.
    fn take(&mut self, len: usize) -> Result<u32, Error> {
        let first = self.sectors;
        let more = size(len.div_ceil(SECTOR))?;
        self.sectors = first.checked_add(more).ok_or(Error::TooLarge)?;
        Ok(first)
    }

    /// The records of a directory; none of them straddles a sector (ECMA-119 6.8.1.1).
    fn directory_bytes(
        &self,
        directories: &[Directory<'a>],
        number: usize,
    ) -> Result<Vec<u8>, Error> {
        let directory = &directories[number];
        let mut bytes = Vec::new();
        let mut push = |record: Vec<u8>| {
            let room = SECTOR - bytes.len() % SECTOR;
            if record.len() > room {
                bytes.resize(bytes.len() + room, 0);
            }
            bytes.extend(record);
        };
        let subdirectories = |of: usize| {
            let entries = directories[of].entries.iter();
            entries
                .filter(|entry| matches!(entry.node, Node::Directory(_)))
                .count()
        };
        let links = |of: usize| size(subdirectories(of) + 2);
        let mut dot = Vec::new();
        if number == 0 {
            // "SP" opens the protocol in the root; "CE" leads to the "ER" in its own sector.
            dot.extend(susp(b"SP", &[0xbe, 0xef, 0]));
            let area = [self.extension_sector, 0, size(extension_reference().len())?];
            dot.extend(susp(b"CE", &area.map(both32).concat()));
        }
        dot.extend(attributes(0o040_555, links(number)?));
        push(record(&[0], self.directories[number], true, &dot)?);
        let parent = directory.parent;
        let dot_dot = attributes(0o040_555, links(parent)?);
        push(record(&[1], self.directories[parent], true, &dot_dot)?);
        for entry in &directory.entries {
            let mut system_use = match entry.node {
                Node::Directory(child) => attributes(0o040_555, links(child)?),
                Node::File(_) => attributes(0o100_444, 1),
            };
            system_use.extend(susp(b"NM", &[&[0], entry.name.as_bytes()].concat()));
            push(match entry.node {
                Node::Directory(child) => {
                    record(&entry.iso_name, self.directories[child], true, &system_use)?
                }
                Node::File(content) => {
                    let at = self.files.get(content).copied().unwrap_or(0);
                    record(
                        &entry.iso_name,
                        (at, size(content.len())?),
                        false,
                        &system_use,
                    )?
                }
            });
        }
        Ok(pad(bytes))
    }
}

/// A directory record, ECMA-119 9.1.
fn record(
    name: &[u8],
    (at, len): (u32, u32),
    directory: bool,
    system_use: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut record = vec![0, 0];
    record.extend(both32(at));
    record.extend(both32(len));
    record.extend(DATE);
    record.extend([if directory { 2 } else { 0 }, 0, 0]);
    record.extend(both16(1));
    record.push(u8::try_from(name.len()).map_err(|_| Error::TooLarge)?);
    record.extend(name);
    even(&mut record);
    record.extend(system_use);
    even(&mut record);
    record[0] = u8::try_from(record.len()).map_err(|_| Error::TooLarge)?;
    Ok(record)
}

/// A System Use entry, SUSP 4.1; `data` is short by construction.
fn susp(signature: &[u8; 2], data: &[u8]) -> Vec<u8> {
    let len = u8::try_from(data.len() + 4).unwrap_or(u8::MAX);
    [signature.as_slice(), &[len, 1], data].concat()
}

/// POSIX attributes for root, RRIP 4.1.1 "PX" in its first form without an inode number, and the
/// "RR" entry by which readers older than RRIP 1.12 recognise the protocol.
fn attributes(mode: u32, links: u32) -> Vec<u8> {
    const PX_AND_NM: u8 = 0b1001;
    let mut entries = susp(b"RR", &[PX_AND_NM]);
    entries.extend(susp(b"PX", &[mode, links, 0, 0].map(both32).concat()));
    entries
}

fn extension_reference() -> Vec<u8> {
    let lengths = [ER_ID.len(), ER_DESCRIPTION.len(), 0].map(|len| len as u8);
    susp(b"ER", &[&lengths, &[1][..], ER_ID, ER_DESCRIPTION].concat())
}

/// ECMA-119 9.4; the table exists in both byte orders.
fn path_table(
    directories: &[Directory<'_>],
    layout: &Layout<'_>,
    big_endian: bool,
) -> Result<Vec<u8>, Error> {
    let mut names: Vec<&[u8]> = vec![&[0]; directories.len()];
    for entry in directories.iter().flat_map(|directory| &directory.entries) {
        if let Node::Directory(child) = entry.node {
            names[child] = &entry.iso_name;
        }
    }
    let mut table = Vec::new();
    for ((directory, name), (at, _)) in directories.iter().zip(names).zip(&layout.directories) {
        let parent = u16::try_from(directory.parent + 1).map_err(|_| Error::TooLarge)?;
        table.extend([u8::try_from(name.len()).map_err(|_| Error::TooLarge)?, 0]);
        if big_endian {
            table.extend(at.to_be_bytes());
            table.extend(parent.to_be_bytes());
        } else {
            table.extend(at.to_le_bytes());
            table.extend(parent.to_le_bytes());
        }
        table.extend(name);
        even(&mut table);
    }
    Ok(table)
}

/// ECMA-119 8.4. The label is kept as given although lower-case letters break 8.4.10: OpenStack's
/// tools write it so, and guests look for exactly that.
fn primary_descriptor(
    label: &str,
    layout: &Layout<'_>,
    directories: &[Directory<'_>],
) -> Result<Vec<u8>, Error> {
    let text = |text: &str, len: usize| {
        let mut bytes: Vec<u8> = text.bytes().take(len).collect();
        bytes.resize(len, b' ');
        bytes
    };
    let table_sectors = size(
        path_table(directories, layout, false)?
            .len()
            .div_ceil(SECTOR),
    )?;
    let mut descriptor = b"\x01CD001\x01\0".to_vec();
    descriptor.extend(text("LINUX", 32));
    descriptor.extend(text(label, 32));
    descriptor.extend([0; 8]);
    descriptor.extend(both32(layout.sectors));
    descriptor.extend([0; 32]);
    for value in [1, 1, SECTOR as u16] {
        descriptor.extend(both16(value));
    }
    descriptor.extend(both32(layout.path_table_len));
    descriptor.extend(layout.path_table_at.to_le_bytes());
    descriptor.extend([0; 4]);
    descriptor.extend((layout.path_table_at + table_sectors).to_be_bytes());
    descriptor.extend([0; 4]);
    descriptor.extend(record(&[0], layout.directories[0], true, &[])?);
    descriptor.extend(text("", 128 * 4 + 37 * 3));
    const YEAR_2000: &[u8] = b"2000010100000000\0";
    const NEVER: &[u8] = b"0000000000000000\0";
    descriptor.extend([YEAR_2000, YEAR_2000, NEVER, YEAR_2000].concat());
    descriptor.push(1);
    Ok(sector(&descriptor))
}

fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

fn both32(value: u32) -> Vec<u8> {
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

fn size(len: usize) -> Result<u32, Error> {
    u32::try_from(len).map_err(|_| Error::TooLarge)
}

fn even(bytes: &mut Vec<u8>) {
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
}

fn sector(bytes: &[u8]) -> Vec<u8> {
    pad(bytes.to_vec())
}

fn pad(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}
