//! `abbild convert`: an image in another format.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use abbild_convert::{Control, ErrorKind, ExportOptions, Exported, Target, export};
use abbild_disk::{
    Disk, Error as DiskError, ErrorKind as DiskErrorKind, FileSource, Image, Limits,
};
use anyhow::Context as _;
use serde_json::json;

use crate::args::ConvertArgs;
use crate::failure::{FAILED, Failure, UNREADABLE, stopped, with_causes};
use crate::input;
use crate::interrupt::Interrupt;
use crate::new_file::NewFile;
use crate::print::{clean, size};
use crate::progress::Steps;
use crate::session::Session;

/// Converts an image.
///
/// # Errors
/// If the image could not be opened or read, or the file could not be written, each with its exit
/// status.
pub fn run(session: &Session, args: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let options = ExportOptions {
        target: args.format.unwrap_or_else(|| by_suffix(&args.output)),
        compress: args.compress,
        threads: 0,
        durable: !args.no_sync,
    };
    options.check().map_err(|e| failure(&e).code(UNREADABLE))?;
    let file = input::open(&args.input)?;
    refuse_the_same(&file, &args.output)?;
    let new = NewFile::create(&args.output, args.force)?;
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    let disk = open_disk(args, file, new.directory(), &mut steps, &interrupt)?;
    for warning in disk.warnings() {
        steps.note(&format!("warning: {}", clean(warning)));
    }

    steps.step("converting");
    let show = |progress: abbild_convert::Progress| {
        steps.set_of(progress.done, progress.total.unwrap_or(0));
    };
    let control = Control::none()
        .with_progress(&show)
        .with_cancel(interrupt.flag());
    let exported = export(&disk, new.file(), options, &control).map_err(|e| failure(&e))?;
    let metadata = new.file().metadata();
    let stored = metadata
        .context("asking for the size of the file")?
        .blocks()
        * 512;
    new.publish(options.durable)?;
    steps.finish();
    report(session, args, options, exported, stored)
}

/// The format for a file of that name.
pub fn by_suffix(path: &Path) -> Target {
    path.extension()
        .and_then(|suffix| Target::from_suffix(suffix.to_str()?))
        .unwrap_or(Target::Qcow2)
}

/// Refuses to replace the image that is read, under whatever name.
fn refuse_the_same(input: &File, output: &Path) -> anyhow::Result<()> {
    // What is not there is not the same.
    let Ok(output_metadata) = fs::metadata(output) else {
        return Ok(());
    };
    let input = input
        .metadata()
        .context("asking for the size of the file")?;
    if (input.dev(), input.ino()) == (output_metadata.dev(), output_metadata.ino()) {
        let message = format!("{} is the image that is to be read", output.display());
        return Err(Failure::new(message)
            .hint("give another name for the result")
            .into());
    }
    Ok(())
}

/// Opens the image, unpacked into a file without a name in `staging` if it is compressed.
fn open_disk(
    args: &ConvertArgs,
    mut file: File,
    staging: &Path,
    steps: &mut Steps,
    interrupt: &Interrupt,
) -> anyhow::Result<Image<FileSource>> {
    let refused = |error: DiskError| unusable(&args.input, &error);
    if input::compression(&mut file)?.is_some() {
        let staging = tempfile::tempfile_in(staging)
            .with_context(|| format!("creating a temporary file in {}", staging.display()))?;
        let unpacked = input::unpack(file, staging, args.max_size, steps, interrupt)?;
        file = unpacked.map_err(refused)?;
    }
    let source = FileSource::new(file).context("asking for the size of the file")?;
    let limits = Limits {
        max_virtual_size: args.max_size,
    };
    let disk = abbild_disk::open_with(source, &limits).map_err(refused)?;
    // Finds a truncated file before anything is written.
    disk.verify().map_err(refused)?;
    Ok(disk)
}

/// The error for an image that cannot be converted, with its exit status.
fn unusable(path: &Path, error: &DiskError) -> Failure {
    let name = path.display().to_string();
    let failure = match error.kind() {
        DiskErrorKind::Unsupported | DiskErrorKind::Refused => {
            Failure::new(format!("{name} is refused: {}", with_causes(error)))
                .maybe_hint(error.hint())
                .code(FAILED)
        }
        _ => input::unreadable(&name, error),
    };
    match error.code() {
        // What `check` would say, to make the disk smaller, is not the only way here.
        "virtual-size" => failure.hint("--max-size raises the limit"),
        _ => failure,
    }
}

/// The error of converting, with its exit status.
fn failure(error: &abbild_convert::Error) -> Failure {
    match error.kind() {
        ErrorKind::Cancelled => stopped(),
        ErrorKind::Corrupt => Failure::new(with_causes(error))
            .maybe_hint(error.hint())
            .code(UNREADABLE),
        _ => Failure::new(with_causes(error)).maybe_hint(error.hint()),
    }
}

fn report(
    session: &Session,
    args: &ConvertArgs,
    options: ExportOptions,
    exported: Exported,
    stored: u64,
) -> anyhow::Result<ExitCode> {
    let name = args.output.display().to_string();
    let result = json!({
        "name": name,
        "format": options.target.name(),
        "compressed": options.compress,
        "virtual_size": exported.virtual_size,
        "file_size": exported.file_size,
        "stored_size": stored,
    });
    session.show(&result, |out| {
        let compressed = if options.compress { "compressed " } else { "" };
        writeln!(
            out,
            "{}: {compressed}{}, {} in {}",
            clean(&name),
            options.target,
            size(exported.virtual_size),
            size(exported.file_size.min(stored)),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_names_the_format() {
        for (name, target) in [
            ("a.img", Target::Raw),
            ("a.raw", Target::Raw),
            ("a.qcow2", Target::Qcow2),
            ("a.VHDX", Target::Vhdx),
            ("dir.raw/a.vdi", Target::Vdi),
            ("a.b.vmdk", Target::Vmdk),
            ("a", Target::Qcow2),
            ("a.iso", Target::Qcow2),
            (".raw", Target::Qcow2),
        ] {
            assert_eq!(by_suffix(Path::new(name)), target, "{name}");
        }
    }
}
