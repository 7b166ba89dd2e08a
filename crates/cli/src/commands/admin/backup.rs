//! `abbild admin backup` and `abbild admin restore`.

use std::process::ExitCode;

use abbild_service::operator::backup;

use super::desk::{Desk, reporter};
use crate::args::{AdminBackupArgs, AdminRestoreArgs};
use crate::commands::serve;
use crate::failure::FAILED;
use crate::print::{clean, counted, fields, size};
use crate::session::Session;

/// Makes a backup.
///
/// # Errors
/// If it cannot be made.
pub fn backup(session: &Session, args: &AdminBackupArgs) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(&args.service)?;
    let progress = reporter("backup:");
    let work = desk
        .operator
        .backup(&args.directory, args.objects, &progress);
    let report = desk.wait(work)?;
    let manifest = &report.manifest;
    session.show(&report, |out| {
        let included = manifest.images.iter().filter(|image| image.included);
        let count = included.clone().count() as u64;
        let bytes = included.map(|image| image.bytes).sum();
        let images = match args.objects {
            true => format!("{} ({})", counted(count, "image"), size(bytes)),
            false => "not in it; --objects copies them".to_owned(),
        };
        let new = format!(
            "{} ({})",
            counted(report.copied, "image"),
            size(report.copied_bytes)
        );
        let lines = [
            ("backup", args.directory.display().to_string()),
            ("made", manifest.made_at.clone()),
            ("database", manifest.database.clone()),
            ("images", images),
            ("new", if args.objects { new } else { String::new() }),
        ];
        fields(out, &lines)
    })?;
    Ok(missing(
        &report.missing,
        "hint: `abbild admin fsck` says more of them",
    ))
}

/// Puts a backup back.
///
/// # Errors
/// If that cannot be done.
pub fn restore(session: &Session, args: &AdminRestoreArgs) -> anyhow::Result<ExitCode> {
    let config = serve::config(&args.service)?;
    let progress = reporter("restoring");
    let work = backup::restore(&config, &args.directory, &progress);
    let restored = serve::runtime()?.block_on(work)?;
    session.show(&restored, |out| {
        let images = format!(
            "{} ({})",
            counted(restored.images, "image"),
            size(restored.bytes)
        );
        let none_if_zero = |count: u64, text: &str| match count {
            0 => String::new(),
            count => format!("{count}, {text}"),
        };
        let lines = [
            ("backup of", restored.made_at.clone()),
            ("copied", images),
            (
                "uploads",
                none_if_zero(
                    restored.uploads,
                    "given up, because their bytes are not in it",
                ),
            ),
            (
                "machines",
                none_if_zero(restored.droplets, "off, because their disks are not in it"),
            ),
        ];
        fields(out, &lines)
    })?;
    Ok(missing(
        &restored.missing,
        "hint: put them into the stores, or give them up with `abbild admin fsck --repair`",
    ))
}

/// Says what is missing.
fn missing(images: &[String], hint: &str) -> ExitCode {
    if images.is_empty() {
        return ExitCode::SUCCESS;
    }
    for image in images {
        eprintln!("missing: {}", clean(image));
    }
    eprintln!("\n{hint}");
    ExitCode::from(FAILED)
}
