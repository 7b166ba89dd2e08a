//! The descriptor: a text that says of which files a disk is made, and of which other disk it is a
//! change (section "The Descriptor File" of the specification).
//!
//! It lies in the one file of a disk, or beside its many. In a file of its own it is an upload by
//! mistake, and is refused with the command that makes one file of all.

use crate::bytes::{name_list, printable_name};
use crate::{Error, ErrorKind, Format, Range, Result, Source};

/// The longest descriptor that is read. A disk of 2 TiB in pieces of 2 GiB takes 64 KiB.
pub(crate) const MAX_LEN: u64 = 256 << 10;
/// The most extents that are accepted.
const MAX_EXTENTS: usize = 4096;
/// The value of `parentCID` in a disk that is no change of another.
const NO_PARENT: &str = "ffffffff";

/// How the bytes of an extent are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As they are, from this sector of the file on.
    Flat(u64),
    /// In grains; the file has a header of its own.
    Sparse,
    /// Not at all.
    Zero,
    /// In some other way, or not to be read.
    Other,
}

/// A line of the descriptor: a run of the disk and the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    pub sectors: u64,
    pub kind: Kind,
    /// As it stands there; empty for [`Kind::Zero`].
    pub name: Vec<u8>,
    /// The line, for messages.
    line: Vec<u8>,
}

/// A parsed descriptor.
#[derive(Debug)]
pub(crate) struct Descriptor {
    create_type: Vec<u8>,
    has_parent: bool,
    pub extents: Vec<Extent>,
}

/// An error about the descriptor.
fn fault(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, code, message).in_format(Format::Vmdk)
}

/// Whether `head`, the beginning of a file, is a descriptor: after comments its first line gives
/// the version.
pub(crate) fn is_descriptor(head: &[u8]) -> bool {
    let first = lines(head).find(|line| !line.is_empty() && !line.starts_with(b"#"));
    let starts_well = |line: &[u8]| key_and_value(line).is_some_and(|(key, _)| key == b"version");
    let has_type = || lines(head).any(|line| line.starts_with(b"createType"));
    // The usual comment is enough, should the text be damaged behind it.
    head.starts_with(b"# Disk DescriptorFile") || first.is_some_and(starts_well) && has_type()
}

/// The lines of a text that a NUL may end, without the blanks around them.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == 0)
        .next()
        .unwrap_or_default()
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
}

/// `key = "value"`, without the blanks and quotes.
fn key_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&byte| byte == b'=')?;
    let value = line[at + 1..].trim_ascii();
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    Some((line[..at].trim_ascii(), unquoted.unwrap_or(value)))
}

impl Descriptor {
    /// Reads the whole of `source`.
    pub(crate) fn read<S: Source>(source: &Range<S>) -> Result<Self> {
        if source.len() > MAX_LEN {
            return Err(fault(
                ErrorKind::Corrupt,
                "descriptor-size",
                format!(
                    "the descriptor has {} bytes; at most {MAX_LEN} are accepted",
                    source.len()
                ),
            ));
        }
        // At most `MAX_LEN`.
        let mut text = vec![0; source.len() as usize];
        source
            .read_at(0, &mut text)
            .map_err(|e| e.in_format(Format::Vmdk))?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let mut descriptor = Self {
            create_type: Vec::new(),
            has_parent: false,
            extents: Vec::new(),
        };
        for line in lines(text) {
            if line.starts_with(b"#") {
                continue;
            }
            if let Some(extent) = extent(line)? {
                descriptor.extents.push(extent);
                if descriptor.extents.len() > MAX_EXTENTS {
                    return Err(fault(
                        ErrorKind::Corrupt,
                        "extent-count",
                        format!("the descriptor lists more than {MAX_EXTENTS} extents"),
                    ));
                }
            } else if let Some((key, value)) = key_and_value(line) {
                if key.eq_ignore_ascii_case(b"createType") {
                    descriptor.create_type = value.to_vec();
                } else if key.eq_ignore_ascii_case(b"parentCID") {
                    descriptor.has_parent |= !value.eq_ignore_ascii_case(NO_PARENT.as_bytes());
                } else if key.eq_ignore_ascii_case(b"parentFileNameHint") {
                    descriptor.has_parent = true;
                }
            }
        }
        Ok(descriptor)
    }

    /// Checks that the disk is no change of another, and is made of something.
    fn check_whole(&self) -> Result<()> {
        if self.has_parent {
            return Err(fault(
                ErrorKind::Refused,
                "parent",
                "the disk is only a change of another disk, which is never opened",
            )
            .with_hint(
                "where the other disk is, make a self-contained image: \
                 `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
            ));
        }
        if self.extents.is_empty() {
            return Err(fault(
                ErrorKind::Corrupt,
                "descriptor",
                "the descriptor names no extent, which is what the disk would be made of",
            ));
        }
        Ok(())
    }

    fn check_type(&self, known: &[&str]) -> Result<()> {
        let is_own = |known: &&str| self.create_type.eq_ignore_ascii_case(known.as_bytes());
        if known.iter().any(is_own) {
            return Ok(());
        }
        Err(fault(
            ErrorKind::Unsupported,
            "create-type",
            format!(
                "disks of type `{}` are not supported here; {} are",
                printable_name(&self.create_type),
                known.join(", ")
            ),
        )
        .with_hint("convert it: `qemu-img convert -O qcow2 IMAGE NEW.qcow2`"))
    }

    /// Checks the descriptor in the only file of a disk, whose header speaks of `sectors` in
    /// grains of `grain` sectors.
    ///
    /// The file may have been renamed, so the name in the descriptor says nothing as long as it
    /// is only a name.
    pub(super) fn check_embedded(&self, sectors: u64, grain: u64) -> Result<()> {
        self.check_whole()?;
        let mut names = self.extents.iter();
        let other = match (names.next(), names.next()) {
            (Some(only), None) if only.kind == Kind::Sparse && is_plain(&only.name) => None,
            (Some(first), None) => Some(first),
            (_, second) => second,
        };
        if let Some(other) = other {
            return Err(fault(
                ErrorKind::Refused,
                "extent-file",
                format!(
                    "the descriptor names another file, which is never opened: `{}`",
                    printable_name(&other.line)
                ),
            )
            .with_hint(
                "where that file is, make a self-contained image: \
                 `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
            ));
        }
        self.check_type(&["monolithicSparse", "streamOptimized"])?;
        self.extents
            .iter()
            .try_for_each(|extent| extent.check_capacity(sectors, grain))
    }

    /// Checks the descriptor of a disk whose files may all be there.
    pub(crate) fn check_parts(&self) -> Result<()> {
        self.check_whole()?;
        for extent in &self.extents {
            let code = match extent.kind {
                Kind::Other => "extent-type",
                Kind::Flat(_) | Kind::Sparse if !is_plain(&extent.name) => "extent-file",
                _ => continue,
            };
            return Err(fault(
                ErrorKind::Refused,
                code,
                format!(
                    "an extent is not a plain file beside the descriptor: `{}`",
                    printable_name(&extent.line)
                ),
            )
            .with_hint(
                "where all its parts are, make a self-contained image: \
                 `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
            ));
        }
        self.check_type(&[
            "monolithicFlat",
            "twoGbMaxExtentFlat",
            "twoGbMaxExtentSparse",
            "vmfs",
        ])
    }

    /// The names of the files, in the order of the disk.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.extents.iter().map(|extent| extent.name.as_slice());
        names.filter(|name| !name.is_empty())
    }
}

impl Extent {
    /// Checks the number of sectors that the header of the extent's own file has: the same, or
    /// rounded up to whole grains.
    pub(super) fn check_capacity(&self, sectors: u64, grain: u64) -> Result<()> {
        if sectors >= self.sectors && sectors - self.sectors < grain {
            return Ok(());
        }
        Err(fault(
            ErrorKind::Corrupt,
            "extent-size",
            format!(
                "the header speaks of {sectors} sectors and the descriptor of {}",
                self.sectors
            ),
        ))
    }
}

/// Whether `name` is a file name and no path, drive or URL.
fn is_plain(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| b"/\\:".contains(byte))
}

/// Parses `RW 4192256 SPARSE "name" 0`: access, sectors, type, file, and the first sector in it.
/// `None` for a line that is no extent.
fn extent(line: &[u8]) -> Result<Option<Extent>> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace);
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        rest = tail;
        word
    };
    let access = word();
    if ![&b"RW"[..], b"RDONLY", b"NOACCESS"].contains(&access) {
        return Ok(None);
    }
    let damaged = || {
        fault(
            ErrorKind::Corrupt,
            "descriptor",
            format!("this line is damaged: `{}`", printable_name(line)),
        )
    };
    let sectors = number(word()).filter(|&sectors| sectors > 0);
    let sectors = sectors.ok_or_else(damaged)?;
    let kind = word();
    let (name, offset) = match rest.trim_ascii_start().strip_prefix(b"\"") {
        Some(quoted) => {
            let end = quoted.iter().position(|&byte| byte == b'"');
            let (name, tail) = quoted.split_at(end.ok_or_else(damaged)?);
            (name, tail[1..].trim_ascii())
        }
        None => (&b""[..], rest.trim_ascii()),
    };
    // VMFS is a file system of VMware's; its extents are plain files.
    let kind = match kind {
        _ if access == b"NOACCESS" => Kind::Other,
        b"FLAT" => Kind::Flat(number(offset).ok_or_else(damaged)?),
        b"VMFS" if offset.is_empty() => Kind::Flat(0),
        b"VMFS" => Kind::Flat(number(offset).ok_or_else(damaged)?),
        b"SPARSE" => Kind::Sparse,
        b"ZERO" => Kind::Zero,
        _ => Kind::Other,
    };
    let name = match kind {
        Kind::Zero => Vec::new(),
        _ => name.to_vec(),
    };
    Ok(Some(Extent {
        sectors,
        kind,
        name,
        line: line.to_vec(),
    }))
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The error for a descriptor that came without its files.
pub(crate) fn lone_descriptor<S: Source>(source: &Range<S>) -> Error {
    let descriptor = match Descriptor::read(source) {
        Ok(descriptor) => descriptor,
        Err(error) => return error,
    };
    let names: Vec<_> = descriptor.names().collect();
    let own = names.first().map_or("NAME".to_owned(), |name| stem(name));
    fault(
        ErrorKind::Unsupported,
        "vmdk-descriptor",
        if names.is_empty() {
            "the file only describes a disk and names no file that holds it".to_owned()
        } else {
            format!(
                "the file only describes a disk; the disk itself is in {}",
                name_list(names)
            )
        },
    )
    .with_hint(format!(
        "in the directory where this file and those that it names lie, make one file of them: \
         `qemu-img convert -O qcow2 {own}.vmdk NEW.qcow2`; or put all of them into one tar archive"
    ))
}

/// The name of the descriptor, without `.vmdk`, by the names that VMware gives to extents: those
/// of `disk.vmdk` are `disk-flat.vmdk`, `disk-s001.vmdk` and so on.
fn stem(extent: &[u8]) -> String {
    let name = extent.strip_suffix(b".vmdk").unwrap_or(extent);
    let stem = match name.iter().rposition(|&byte| byte == b'-') {
        Some(at) => &name[..at],
        None => name,
    };
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if stem.is_empty() || stem.len() > 64 || stem[0] == b'-' || !stem.iter().all(harmless) {
        return "NAME".to_owned();
    }
    String::from_utf8_lossy(stem).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLIT: &str = "# Disk DescriptorFile\r\nversion=1\r\nCID=12345678\r\n\
                         parentCID=FFFFFFFF\r\ncreateType = \"twoGbMaxExtentSparse\"\r\n\r\n\
                         RW 4192256 SPARSE \"my disk-s001.vmdk\"\r\n\
                         RDONLY 100 FLAT \"b\" 17\nRW 5 ZERO\nRW 6 VMFS \"c\"\n\
                         RW 7 SESPARSE \"d\"\nNOACCESS 8 FLAT \"e\" 0\n\0RW 9 ZERO\n";

    #[test]
    fn extents_are_parsed() {
        let descriptor = Descriptor::parse(SPLIT.as_bytes()).unwrap();
        assert!(!descriptor.has_parent);
        assert_eq!(descriptor.create_type, b"twoGbMaxExtentSparse");
        let found: Vec<_> = descriptor
            .extents
            .iter()
            .map(|extent| (extent.sectors, extent.kind, extent.name.as_slice()))
            .collect();
        assert_eq!(
            found,
            [
                (4_192_256, Kind::Sparse, &b"my disk-s001.vmdk"[..]),
                (100, Kind::Flat(17), b"b"),
                (5, Kind::Zero, b""),
                (6, Kind::Flat(0), b"c"),
                (7, Kind::Other, b"d"),
                (8, Kind::Other, b"e"),
            ]
        );
    }

    #[test]
    fn damaged_lines_are_refused() {
        for line in [
            "RW 0 SPARSE \"a\"",
            "RW -1 SPARSE \"a\"",
            "RW 99999999999999999999 SPARSE \"a\"",
            "RW 1 FLAT \"a\"",
            "RW 1 FLAT \"a\" x",
            "RW 1 FLAT \"a",
            "RW",
        ] {
            let error = Descriptor::parse(line.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "descriptor", "{line}");
        }
        let many = "RW 1 ZERO\n".repeat(MAX_EXTENTS + 1);
        let error = Descriptor::parse(many.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "extent-count");
    }

    #[test]
    fn a_descriptor_is_known_by_its_first_line() {
        for text in [SPLIT, "# any comment\n\n version = 1\ncreateType=\"x\""] {
            assert!(is_descriptor(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "# a comment\n",
            "Version: 1\n",
            "version=1\nkind=text",
            "x\nversion=1",
        ] {
            assert!(!is_descriptor(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_descriptors_own_name_is_guessed_or_left_open() {
        for (extent, own) in [
            ("disk-flat.vmdk", "disk"),
            ("my-disk-s001.vmdk", "my-disk"),
            ("disk.vmdk", "disk"),
            ("$(reboot)-flat.vmdk", "NAME"),
            ("a b-flat.vmdk", "NAME"),
            ("/etc/passwd", "NAME"),
            ("--help-flat.vmdk", "NAME"),
            ("-flat.vmdk", "NAME"),
        ] {
            assert_eq!(stem(extent.as_bytes()), own);
        }
    }
}
