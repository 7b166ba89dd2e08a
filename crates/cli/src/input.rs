//! Opening an image file that the user named: the file itself, and what is in it if that is
//! compressed.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use abbild_convert::{Compression, Control, DETECT_LEN, StagingOptions, decode_to_staging};
use abbild_disk::{Error as DiskError, ErrorKind as DiskErrorKind, FileSource};
use anyhow::Context as _;

use crate::failure::{Failure, UNREADABLE, stopped, with_causes};
use crate::interrupt::Interrupt;
use crate::progress::Steps;

/// Opens a file for reading.
///
/// # Errors
/// With exit status 2 if it is not a regular file or block device that may be read.
pub fn open(path: &Path) -> anyhow::Result<File> {
    let unreadable =
        |what: String| Failure::new(format!("{}: {what}", path.display())).code(UNREADABLE);
    // Asked before opening, because opening a named pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        let hint = "give the path of an image file; `qemu-img convert` makes one of a device";
        return Err(unreadable("is not a regular file".into()).hint(hint).into());
    }
    Ok(File::open(path).map_err(|error| unreadable(error.to_string()))?)
}

/// How `file` is compressed, told by its first bytes. The position is where it was.
///
/// # Errors
/// With exit status 2 if reading fails.
pub fn compression(file: &mut File) -> anyhow::Result<Option<Compression>> {
    let mut head = Vec::with_capacity(DETECT_LEN);
    let read = file
        .by_ref()
        .take(DETECT_LEN as u64)
        .read_to_end(&mut head)
        .and_then(|_| file.rewind());
    read.map_err(|error| {
        Failure::new(format!("reading the file failed: {error}")).code(UNREADABLE)
    })?;
    Ok(Compression::detect(&head))
}

/// Decodes `file` into `staging`, of which at most `limit` bytes are used, and returns that, or the
/// fault of the image.
///
/// # Errors
/// If it was interrupted.
pub fn unpack(
    file: File,
    staging: File,
    limit: u64,
    steps: &mut Steps,
    interrupt: &Interrupt,
) -> anyhow::Result<Result<File, DiskError>> {
    steps.step("unpacking");
    let source = FileSource::new(file).context("asking for the size of the file")?;
    let show = |progress: abbild_convert::Progress| {
        steps.set_of(progress.done, progress.total.unwrap_or(0));
    };
    let control = Control::none()
        .with_progress(&show)
        .with_cancel(interrupt.flag());
    let options = StagingOptions { limit };
    match decode_to_staging(&source, &staging, options, &control) {
        Ok(_) => Ok(Ok(staging)),
        Err(error) => match disk_error(&error) {
            Some(error) => Ok(Err(error)),
            None => Err(stopped().into()),
        },
    }
}

/// A fault of unpacking as a fault of the image; `None` if it was stopped on request.
fn disk_error(error: &abbild_convert::Error) -> Option<DiskError> {
    use abbild_convert::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::Cancelled => return None,
        ErrorKind::Unsupported => DiskErrorKind::Unsupported,
        ErrorKind::Refused => DiskErrorKind::Refused,
        ErrorKind::Corrupt => DiskErrorKind::Corrupt,
        _ => DiskErrorKind::Io,
    };
    // The message has the offset in it already.
    let converted = DiskError::new(kind, error.code(), with_causes(error));
    Some(match error.hint() {
        Some(hint) => converted.with_hint(hint),
        None => converted,
    })
}

/// The error for a file that could not be read, with its exit status.
pub fn unreadable(name: &str, error: &DiskError) -> Failure {
    Failure::new(format!("{name} could not be read: {}", with_causes(error)))
        .maybe_hint(error.hint())
        .code(UNREADABLE)
}
