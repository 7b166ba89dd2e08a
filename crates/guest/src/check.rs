//! From a file that is no longer compressed to its report: open the disk, verify its mapping,
//! look inside. The command line and an import take this same way.

use std::sync::Arc;

use abbild_disk::{Disk, Error, ErrorKind, Image, Result, Source};

use crate::report::{Context, Report};

/// What [`check`] found.
#[derive(Debug)]
pub struct Checked<S> {
    /// The report, also on an image that could not be opened.
    pub report: Report,
    /// The opened disk, or why it could not be opened.
    pub disk: Result<Arc<Image<Arc<S>>>>,
}

/// Opens `source` as a disk image and inspects it.
///
/// Of `context.container` the caller fills in what it knows of the file itself; format, virtual
/// size and warnings are filled in here.
pub fn check<S: Source + 'static>(source: S, mut context: Context) -> Checked<S> {
    let limit = context.limits.max_virtual_size;
    match open(Arc::new(source), limit) {
        Ok(disk) => {
            context.container.format = Some(disk.format().name().to_owned());
            context.container.virtual_size = Some(disk.virtual_size());
            context.container.warnings = disk.warnings().to_vec();
            let disk = Arc::new(disk);
            Checked {
                report: crate::inspect(&disk, &context),
                disk: Ok(disk),
            }
        }
        Err(error) => Checked {
            report: crate::report_unreadable(&error, &context),
            disk: Err(error),
        },
    }
}

/// Opens the disk even if it is too large: the report says so, and everything else as well.
fn open<S: Source>(source: Arc<S>, max_virtual_size: u64) -> Result<Image<Arc<S>>> {
    let limits = |max_virtual_size| abbild_disk::Limits { max_virtual_size };
    let too_large =
        |error: &Error| error.kind() == ErrorKind::Refused && error.code() == "virtual-size";
    let disk = match abbild_disk::open_with(source.clone(), &limits(max_virtual_size)) {
        Err(error) if too_large(&error) => {
            abbild_disk::open_with(source, &limits(u64::MAX)).map_err(|_| error)?
        }
        result => result?,
    };
    disk.verify()?;
    Ok(disk)
}
