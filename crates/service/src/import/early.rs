//! A look at an image while most of it is still on its way, so that a hopeless one is refused after
//! its first bytes and not after the last.
//!
//! The readers that will open the whole file are given a source that has the file's full length
//! but only its first bytes. If one of them finds a fault without asking for anything that is not
//! there yet, the fault is final: more bytes cannot mend it, and the report is the one that the
//! import would have made. As soon as a reader asks for more, nothing is decided. That serves
//! every format that carries what condemns it in front: what is recognised and not supported (ISO
//! 9660, VHD, WIM …), backing files, encryption, virtual sizes above the limit.
//!
//! A raw disk has no signature and may keep its one intact partition table, the backup GPT, or a
//! VHD's footer, at its end. A file whose beginning has neither a table nor a signature is refused
//! all the same: without a beginning, no firmware would start from it.
//!
//! Of a compressed file, the first bytes that it decodes to are looked at in the same way.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use abbild_convert::{Compression, DETECT_LEN, decode_head};
use abbild_disk::{Disk as _, Error, ErrorKind, Format, Image, Result, Source, check_range};
use abbild_guest::{Context, Report, RuleId, Severity};

/// With so many bytes a file without a partition table is told from one that has one: all
/// signatures, and the GPT of a disk with large sectors, lie before.
const HEAD: u64 = 128 << 10;

/// Bytes of a compressed file, and of what they decode to, that are looked at.
const PACKED_HEAD: u64 = 4 << 20;
const UNPACKED_HEAD: usize = 1 << 20;

/// Stands for the length of a file whose length is not known.
const ENDLESS: u64 = u64::MAX / 2;

/// Bytes at the end of a file in which some formats keep their signature.
const FOOTER: u64 = 512;

/// The codes of files whose beginning is that of no disk.
const NO_BEGINNING: [&str; 3] = ["no-partition-table", "bare-filesystem", "text"];

/// The codes of raw disks whose table does not go with the length of the file.
const BY_LENGTH: [&str; 2] = ["virtual-size", "truncated"];

/// How many bytes should be there before the next look, after a look at `seen` bytes; `None` if
/// further looks are not worth it. Tables of a container may follow its header at some distance.
pub fn next_look(seen: u64) -> Option<u64> {
    [HEAD, PACKED_HEAD, 64 << 20]
        .into_iter()
        .find(|&look| look > seen)
}

/// The report that refuses the image in `file`, of which `have` bytes are there and `total` will
/// be if that is known; `None` while it may still turn out to be good.
///
/// Of `context.container` the caller fills in what it knows of the file. Reads a few megabytes at
/// most, and blocks.
///
/// # Errors
/// Those of reading the file.
pub fn refusal(
    file: &File,
    have: u64,
    total: Option<u64>,
    mut context: Context,
) -> std::io::Result<Option<Box<Report>>> {
    let mut head = vec![0; have.min(DETECT_LEN as u64) as usize];
    file.read_exact_at(&mut head, 0)?;
    context.container.file_size = total;
    let Some(compression) = Compression::detect(&head) else {
        return Ok(judge(
            |at, buf| file.read_exact_at(buf, at),
            have,
            total,
            context,
        ));
    };
    let mut packed = vec![0; have.min(PACKED_HEAD) as usize];
    file.read_exact_at(&mut packed, 0)?;
    let unpacked = decode_head(compression, &packed, UNPACKED_HEAD);
    context.container.layers.push(compression.to_string());
    let read = |at: u64, buf: &mut [u8]| unpacked.read_at(at, buf).map_err(std::io::Error::other);
    Ok(judge(read, unpacked.len() as u64, None, context))
}

fn judge(
    read: impl Fn(u64, &mut [u8]) -> std::io::Result<()>,
    have: u64,
    total: Option<u64>,
    context: Context,
) -> Option<Box<Report>> {
    let limit = context.limits.max_virtual_size;
    let len = total.unwrap_or(ENDLESS);
    let strict = Arriving::new(&read, have, len, Beyond::Unknown);
    let error = open(&strict, limit).err()?;
    match strict.first_missing() {
        None => report(&strict, error, context, total),
        // The end of the file is looked at only if nothing was recognised in front. Without
        // anything there, it is a raw disk or nothing.
        Some(offset) if have >= HEAD && offset == len.saturating_sub(FOOTER) => {
            let raw = Arriving::new(&read, have, len, Beyond::Zeros);
            let error = open(&raw, limit).err()?;
            let by_length = total.is_some() && BY_LENGTH.contains(&error.code());
            let decided = by_length || NO_BEGINNING.contains(&error.code());
            decided.then(|| report(&raw, error, context, total))?
        }
        Some(_) => None,
    }
}

fn report<R: Read>(
    source: &Arriving<R>,
    error: Error,
    mut context: Context,
    total: Option<u64>,
) -> Option<Box<Report>> {
    if error.code() == "virtual-size" {
        return too_large(source, error, context, total);
    }
    context.container.format = error.format().map(|format| format.name().to_owned());
    Some(Box::new(abbild_guest::report_unreadable(&error, &context)))
}

/// The report on a disk above the limit, unless the operator lets such disks pass.
fn too_large<R: Read>(
    source: &Arriving<R>,
    error: Error,
    mut context: Context,
    total: Option<u64>,
) -> Option<Box<Report>> {
    if context.severities.of(RuleId::VirtualSize) != Severity::Failure {
        return None;
    }
    if let Ok(disk) = open(source, u64::MAX) {
        // A raw disk is as large as its file, and that may not be known yet.
        if disk.format() == Format::Raw && total.is_none() {
            return None;
        }
        context.container.format = Some(disk.format().name().to_owned());
        context.container.virtual_size = Some(disk.virtual_size());
    } else if error.format() == Some(Format::Raw) && total.is_none() {
        return None;
    }
    Some(Box::new(abbild_guest::report_unreadable(&error, &context)))
}

fn open<R: Read>(source: &Arriving<R>, max_virtual_size: u64) -> Result<Image<&Arriving<R>>> {
    abbild_disk::open_with(source, &abbild_disk::Limits { max_virtual_size })
}

/// What reads the bytes that are there.
trait Read: Fn(u64, &mut [u8]) -> std::io::Result<()> {}
impl<F: Fn(u64, &mut [u8]) -> std::io::Result<()>> Read for F {}

/// What is said of bytes that are not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// An error, which is remembered.
    Unknown,
    /// They are zeros.
    Zeros,
}

/// A file of which only the beginning is there.
struct Arriving<R> {
    read: R,
    have: u64,
    len: u64,
    beyond: Beyond,
    missing: OnceLock<u64>,
}

impl<R: Read> Arriving<R> {
    fn new(read: R, have: u64, len: u64, beyond: Beyond) -> Self {
        Self {
            read,
            have: have.min(len),
            len,
            beyond,
            missing: OnceLock::new(),
        }
    }

    /// Where the first read was that could not be answered.
    fn first_missing(&self) -> Option<u64> {
        self.missing.get().copied()
    }
}

impl<R: Read> Source for Arriving<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_range(offset, buf.len(), self.len)?;
        let there = self.have.saturating_sub(offset).min(buf.len() as u64) as usize;
        if there < buf.len() {
            if self.beyond == Beyond::Unknown {
                self.missing.get_or_init(|| offset);
                let what = "these bytes have not arrived yet";
                return Err(Error::new(ErrorKind::Io, "not-arrived", what).at(offset));
            }
            buf[there..].fill(0);
        }
        if there == 0 {
            return Ok(());
        }
        (self.read)(offset, &mut buf[..there]).map_err(|e| {
            // A file that cannot be read says nothing about the image.
            self.missing.get_or_init(|| offset);
            Error::io(e, offset, there)
        })
    }
}

#[cfg(test)]
mod tests;
