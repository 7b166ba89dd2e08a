//! `abbild check`: the verdict on an image file, on this machine.
//!
//! The same crates that the service imports with open the disk and look into it, so the answer is
//! the service's answer. A plain image is read where it lies, only the blocks that matter. A
//! compressed one is first unpacked into an unlinked sparse file.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::ExitCode;

use abbild_convert::{Compression, Control, DETECT_LEN, StagingOptions, decode_to_staging};
use abbild_disk::{Error as DiskError, ErrorKind as DiskErrorKind, FileSource};
use abbild_guest::{Container, Context, Lang, Limits, Report, Verdict};
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::failure::{FAILED, Failure, INTERRUPTED, UNREADABLE, with_causes};
use crate::interrupt::Interrupt;
use crate::print::{self, Style, clean};
use crate::progress::Steps;
use crate::report::View;
use crate::session::Session;

/// Prints the verdict.
///
/// # Errors
/// If the file could not be read or is no image, with that exit status.
pub fn run(session: &Session, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let name = args.image.display().to_string();
    let checked = inspect(&args.image, args.max_size)?;
    let report = checked.report.to_json(session.lang);
    if let Some(error) = checked.unreadable() {
        if session.json {
            session.show(&without_verdict(&name, report, error), |_| Ok(()))?;
        }
        return Err(unreadable(&name, error).into());
    }
    print_report(session, &name, report)?;
    Ok(match checked.report.verdict {
        Verdict::Accepted | Verdict::AcceptedWithWarnings => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::from(FAILED),
    })
}

/// Prints a report, as JSON or as text.
///
/// # Errors
/// If `report` is not a report, or writing fails.
pub fn print_report(session: &Session, name: &str, mut report: Value) -> anyhow::Result<()> {
    let view: View = serde_json::from_value(report.clone()).context("reading the report")?;
    if let Value::Object(object) = &mut report {
        object.insert("name".into(), name.into());
    }
    session.show(&report, |out| {
        view.write(out, name, Style::stdout(), print::width())
    })?;
    Ok(())
}

/// The report on a file, and why it could not be opened as a disk if that is so.
pub struct Checked {
    /// On all requirements, as far as they could be looked at.
    pub report: Report,
    error: Option<DiskError>,
}

impl Checked {
    /// The error, if it means that nothing can be said about the image. An image that is refused
    /// on purpose (a backing file, an unsupported format) is not unreadable.
    pub fn unreadable(&self) -> Option<&DiskError> {
        self.error.as_ref().filter(|error| {
            !matches!(
                error.kind(),
                DiskErrorKind::Unsupported | DiskErrorKind::Refused
            )
        })
    }
}

/// The error for a file that could not be read, with its exit status.
pub fn unreadable(name: &str, error: &DiskError) -> Failure {
    Failure::new(format!("{name} could not be read: {}", with_causes(error)))
        .maybe_hint(error.hint())
        .code(UNREADABLE)
}

/// The report on a file about which nothing can be said: there is an error and no verdict.
fn without_verdict(name: &str, mut report: Value, error: &DiskError) -> Value {
    if let Value::Object(object) = &mut report {
        object.insert("name".into(), name.into());
        object.insert("verdict".into(), Value::Null);
        let error = json!({
            "code": error.code(),
            "message": with_causes(error),
            "offset": error.offset(),
            "hint": error.hint(),
        });
        object.insert("error".into(), error);
    }
    report
}

/// Opens the image at `path` and inspects it.
///
/// # Errors
/// If the file cannot be opened at all, or unpacking was interrupted.
pub fn inspect(path: &Path, max_size: u64) -> anyhow::Result<Checked> {
    let mut file = open(path)?;
    let file_size = file.metadata().map(|metadata| metadata.len()).ok();
    let mut context = Context {
        container: Container {
            file_size,
            ..Container::default()
        },
        limits: Limits {
            max_virtual_size: max_size,
        },
        ..Context::default()
    };
    // One that is not supported is named by the disk crate, like every other format.
    if let Some(compression) = compression(&mut file)?.filter(|found| found.is_supported()) {
        context.container.layers = vec![compression.to_string()];
        match unpack(file, file_size, max_size)? {
            Ok(unpacked) => file = unpacked,
            Err(error) => {
                let report = abbild_guest::report_unreadable(&error, &context);
                let error = Some(error);
                return Ok(Checked { report, error });
            }
        }
    }
    let source = FileSource::new(file).context("asking for the size of the file")?;
    let checked = abbild_guest::check(source, context);
    Ok(Checked {
        report: checked.report,
        error: checked.disk.err(),
    })
}

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

/// Decodes `file` into a temporary one without a name.
fn unpack(
    file: File,
    input_len: Option<u64>,
    limit: u64,
) -> anyhow::Result<Result<File, DiskError>> {
    let staging = tempfile::tempfile().context("creating a temporary file (TMPDIR says where)")?;
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    steps.step("unpacking");
    let show = |progress: abbild_convert::Progress| {
        steps.set_of(progress.done, progress.total.unwrap_or(0));
    };
    let control = Control::none()
        .with_progress(&show)
        .with_cancel(interrupt.flag());
    let options = StagingOptions { limit, input_len };
    match decode_to_staging(file, &staging, options, &control) {
        Ok(_) => Ok(Ok(staging)),
        Err(error) => match disk_error(&error) {
            Some(error) => Ok(Err(error)),
            None => Err(Failure::new("stopped").code(INTERRUPTED).into()),
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

/// The verdict in one phrase with the number of findings behind it, for a line on standard error.
pub fn headline(report: &Report, lang: Lang) -> String {
    let worse = report
        .findings
        .iter()
        .filter(|finding| finding.outcome != abbild_guest::Outcome::Pass);
    let titles: Vec<_> = worse.map(|finding| finding.title(lang)).collect();
    let verdict = report.verdict.text(lang);
    if titles.is_empty() {
        clean(&verdict)
    } else {
        clean(&format!("{verdict} ({})", titles.join(", ")))
    }
}
