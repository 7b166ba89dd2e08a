//! What every image that is written has in common: its size is whole sectors, and in the end it is
//! on the disk and not only in memory.

use std::fs::File;

use abbild_disk::Disk;

use crate::{Error, ErrorKind, Result};

/// Bytes in a sector, the unit in which a guest sees a disk.
pub(crate) const SECTOR: u64 = 512;

/// The virtual size of `disk`, rounded up to whole sectors.
///
/// # Errors
/// [`ErrorKind::Refused`] with code `virtual-size` for a disk without a byte, or with more than a
/// file can have.
pub(crate) fn sectors_size<D: Disk + ?Sized>(disk: &D) -> Result<u64> {
    let refused = |why: String| Err(Error::new(ErrorKind::Refused, "virtual-size", why));
    match disk.virtual_size().checked_next_multiple_of(SECTOR) {
        Some(0) => refused("the disk is empty: its virtual size is 0 bytes".into()),
        Some(size) if i64::try_from(size).is_ok() => Ok(size),
        _ => refused(format!(
            "a virtual size of {} bytes is more than a file can have",
            disk.virtual_size()
        )),
    }
}

/// Makes `file` empty.
///
/// One that is empty already is left alone: ext4 takes a truncation as a sign that a file is being
/// replaced, and then begins to write all of it to the disk when it is closed.
///
/// # Errors
/// Those of asking for its length and of truncating it.
pub(crate) fn empty(file: &File) -> std::io::Result<()> {
    match file.metadata()?.len() {
        0 => Ok(()),
        _ => file.set_len(0),
    }
}

/// Waits until `file` is on the disk.
///
/// # Errors
/// Those of `fsync`.
pub(crate) fn flush(file: &File) -> Result<()> {
    file.sync_all()
        .map_err(|e| Error::io("flushing the image to disk", e))
}

/// Asks the kernel to begin writing this range to disk, so that the flush at the end is short.
///
/// On Linux, "don't need" starts writeback of dirty pages without waiting; being under writeback,
/// they stay cached for the hashing that follows. Only a hint: failure is not an error.
pub fn start_writeback(file: &File, offset: u64, len: u64) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(
        file,
        offset,
        std::num::NonZero::new(len),
        rustix::fs::Advice::DontNeed,
    );
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, len);
}
