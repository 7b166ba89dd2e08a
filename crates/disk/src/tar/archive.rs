//! The members of a tar archive: their names and where they lie.
//!
//! Specification: POSIX.1-2017, "pax",
//! <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html>, section "EXTENDED
//! DESCRIPTION"; and GNU tar's manual, "Basic Tar Format",
//! <https://www.gnu.org/software/tar/manual/html_node/Standard.html>.
//!
//! | Dec | Hex | Len | Name |
//! |----:|----:|----:|------|
//! |   0 |  00 | 100 | name |
//! | 124 |  7c |  12 | size: octal digits, or 0x80 and a big-endian number |
//! | 148 |  94 |   8 | checksum: the sum of all bytes, these being blanks |
//! | 156 |  9c |   1 | type |
//! | 257 | 101 |   6 | `ustar` |
//! | 345 | 159 | 155 | beginning of the name, in POSIX archives |
//!
//! Each member is a header of one block of 512 bytes and its bytes, padded to whole blocks. A block
//! of zeros, or the end of the file, ends the archive; what follows is ignored, as tar does.
//!
//! Supported: regular files with names and sizes of every dialect (POSIX, pax records, GNU's long
//! names). Directories, links and devices are passed over. Refused by name: sparse members, whose
//! bytes do not lie in one piece.

use crate::bytes::{has, printable_name};
use crate::{Error, ErrorKind, Result, Source, check_range};

/// `ustar`, and where it is.
pub(crate) const MAGIC: &[u8; 5] = b"ustar";
pub(crate) const MAGIC_OFFSET: usize = 257;

const BLOCK: u64 = 512;
/// The most headers of all kinds. A disk of 2 TiB in pieces of 2 GiB has a thousand members, each
/// with two more headers for a long name.
const MAX_HEADERS: usize = 8192;
/// The longest name that is read.
const MAX_NAME: u64 = 4096;
/// The longest set of pax records that is read.
const MAX_RECORDS: u64 = 64 << 10;

/// A regular file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// As it stands there, but without `./` at the beginning.
    pub name: Vec<u8>,
    /// Its first byte in the archive.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// What headers of their own say about the member that follows them.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

fn fault(kind: ErrorKind, code: &'static str, offset: u64, message: impl Into<String>) -> Error {
    Error::new(kind, code, message).at(offset)
}

fn header_fault(offset: u64, message: impl Into<String>) -> Error {
    fault(ErrorKind::Corrupt, "tar-header", offset, message)
}

/// The regular files in the archive, in its order.
pub(super) fn members<S: Source>(archive: &S) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut extended = Extended::default();
    let mut offset = 0;
    for _ in 0..MAX_HEADERS {
        if offset >= archive.len() {
            return Ok(members);
        }
        check_range(offset, BLOCK as usize, archive.len())?;
        let mut block = [0; BLOCK as usize];
        archive.read_at(offset, &mut block)?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(members);
        }
        let header = Header {
            block: &block,
            offset,
        };
        header.check()?;
        let data = offset + BLOCK;
        let len = match block[156] {
            b'L' => header.extension(archive, MAX_NAME, |name| {
                extended.name = Some(name.split(|&byte| byte == 0).next()?.to_vec());
                Some(())
            })?,
            b'x' => header.extension(archive, MAX_RECORDS, |records| extended.add(records))?,
            // Links, devices, directories and pipes have no bytes, whatever the size says.
            b'1'..=b'6' => {
                extended = Extended::default();
                0
            }
            kind => {
                let extended = match kind {
                    // Records for the whole archive, and long names of links, speak of no member.
                    b'g' | b'K' => Extended::default(),
                    _ => std::mem::take(&mut extended),
                };
                let len = extended.size.map_or_else(|| header.size(), Ok)?;
                let name = extended.name.unwrap_or_else(|| header.name());
                check_len(archive, data, len, &name)?;
                match kind {
                    b'S' => return Err(sparse(&name, offset)),
                    b'0' | 0 | b'7' if extended.sparse => return Err(sparse(&name, offset)),
                    b'0' | 0 | b'7' => members.push(Member {
                        name: name.strip_prefix(b"./").unwrap_or(&name).to_vec(),
                        offset: data,
                        len,
                    }),
                    _ => {}
                }
                len
            }
        };
        // The end is within the archive; the padding may be missing.
        offset = data + len.next_multiple_of(BLOCK);
    }
    Err(fault(
        ErrorKind::Refused,
        "too-many-members",
        offset,
        format!("the archive has more than {MAX_HEADERS} headers, which no disk image needs"),
    )
    .with_hint("unpack it: `tar -xf IMAGE`, and use the disk image inside"))
}

fn check_len<S: Source>(archive: &S, data: u64, len: u64, name: &[u8]) -> Result<()> {
    if data
        .checked_add(len)
        .is_some_and(|end| end <= archive.len())
    {
        return Ok(());
    }
    Err(fault(
        ErrorKind::Corrupt,
        "truncated",
        data,
        format!(
            "the archive ends at byte {}, before `{}` of {len} bytes does",
            archive.len(),
            printable_name(name)
        ),
    )
    .with_hint("the file is incomplete: compare its size and checksum with the original"))
}

fn sparse(name: &[u8], offset: u64) -> Error {
    fault(
        ErrorKind::Unsupported,
        "tar-sparse",
        offset,
        format!(
            "`{}` is stored as a sparse file, in pieces",
            printable_name(name)
        ),
    )
    .with_hint("unpack the archive, `tar -xf IMAGE`, and use the disk image inside")
}

/// A header and where it is.
struct Header<'a> {
    block: &'a [u8; BLOCK as usize],
    offset: u64,
}

impl Header<'_> {
    /// The field of `len` bytes at byte `at`, up to a NUL.
    fn text(&self, at: usize, len: usize) -> &[u8] {
        let field = &self.block[at..at + len];
        let end = field.iter().position(|&byte| byte == 0);
        &field[..end.unwrap_or(len)]
    }

    /// Checks the checksum. Some writers of old summed up signed bytes.
    fn check(&self) -> Result<()> {
        let mut unsigned = 8 * u32::from(b' ');
        let mut signed = unsigned as i32;
        for (at, &byte) in self.block.iter().enumerate() {
            if !(148..156).contains(&at) {
                unsigned += u32::from(byte);
                signed += i32::from(byte as i8);
            }
        }
        let stated = octal(self.text(148, 8));
        if stated == Some(unsigned.into()) || stated == u64::try_from(signed).ok() {
            return Ok(());
        }
        Err(header_fault(
            self.offset,
            "the checksum of a tar header is wrong, so the archive is damaged or is none",
        ))
    }

    fn size(&self) -> Result<u64> {
        let field = &self.block[124..136];
        let size = if field[0] & 0x80 == 0 {
            octal(self.text(124, 12))
        } else if field[0] == 0x80 && field[1..4] == [0; 3] {
            Some(
                field[4..]
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
            )
        } else {
            None
        };
        size.ok_or_else(|| header_fault(self.offset + 124, "the size in a tar header is not valid"))
    }

    fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        // GNU's archives have `ustar` and two blanks, and no prefix.
        let prefix = match has(self.block, MAGIC_OFFSET, b"ustar\0") {
            true => self.text(345, 155),
            false => b"",
        };
        match prefix {
            b"" => name.to_vec(),
            _ => [prefix, b"/", name].concat(),
        }
    }

    /// Reads the data of a header that speaks of the next one, and returns their length.
    fn extension<S: Source>(
        &self,
        archive: &S,
        max: u64,
        parse: impl FnOnce(&[u8]) -> Option<()>,
    ) -> Result<u64> {
        let len = self.size()?;
        if len > max {
            return Err(header_fault(
                self.offset,
                format!("a name or an attribute of {len} bytes; at most {max} are accepted"),
            ));
        }
        // At most 64 KiB.
        let mut data = vec![0; len as usize];
        archive.read_at(self.offset + BLOCK, &mut data)?;
        match parse(&data) {
            Some(()) => Ok(len),
            None => Err(header_fault(self.offset, "the pax records are damaged")),
        }
    }
}

/// Octal digits between blanks; nothing at all is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii();
    digits.iter().try_fold(0u64, |sum, &digit| {
        let digit = char::from(digit).to_digit(8)?;
        sum.checked_mul(8)?.checked_add(digit.into())
    })
}

impl Extended {
    /// Adds pax records, each `LENGTH KEY=VALUE` and a line feed; `None` if they are damaged.
    fn add(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let blank = records.iter().position(|&byte| byte == b' ')?;
            let len: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
            let record = records.get(blank + 1..len)?.strip_suffix(b"\n")?;
            let at = record.iter().position(|&byte| byte == b'=')?;
            let value = &record[at + 1..];
            match &record[..at] {
                b"path" if !self.sparse => self.name = Some(value.to_vec()),
                b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                b"GNU.sparse.name" => {
                    self.sparse = true;
                    self.name = Some(value.to_vec());
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
            records = &records[len..];
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_between_blanks() {
        assert_eq!(octal(b"0000644"), Some(0o644));
        assert_eq!(octal(b" 12 "), Some(10));
        assert_eq!(octal(b""), Some(0));
        assert_eq!(octal(b"8"), None);
        assert_eq!(octal(b"-1"), None);
        assert_eq!(octal(&[b'7'; 22]), None, "does not fit 64 bits");
    }

    #[test]
    fn pax_records_are_parsed_and_damage_is_found() {
        let mut found = Extended::default();
        let records = b"13 path=a b=\n11 size=42\n9 mtime=\n";
        assert_eq!(found.add(records), Some(()));
        assert_eq!(found.name.as_deref(), Some(&b"a b="[..]));
        assert_eq!((found.size, found.sparse), (Some(42), false));
        assert_eq!(found.add(b"19 GNU.sparse.x=00\n"), Some(()));
        assert!(found.sparse);
        for damaged in [
            &b"x"[..],
            b"5 path=a\n",
            b"99 path=a\n",
            b"10 path=a\0\0",
            b"9 patha\n\n",
            b"0 path=a\n",
            b"10 size=4x\n",
            b"1 \n",
        ] {
            assert_eq!(Extended::default().add(damaged), None, "{damaged:?}");
        }
    }
}
