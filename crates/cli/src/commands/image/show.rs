//! `abbild image show`.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_api::Image;

use crate::args::ImageRef;
use crate::names;
use crate::print::{Table, clean, fields, size};
use crate::session::Session;

use super::{copy_state, state};

/// Prints one image.
///
/// # Errors
/// If there is no such image; those of the request and of printing.
pub fn run(session: &Session, args: &ImageRef) -> anyhow::Result<ExitCode> {
    let image = names::image(&session.client()?, &args.image)?;
    session.show(&image, |out| write(out, &image))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes everything about `image` that a customer may want to know.
///
/// # Errors
/// Those of writing.
pub fn write(out: &mut dyn Write, image: &Image) -> io::Result<()> {
    let extra = image.extra.as_ref();
    let lines = [
        ("id", image.id.to_string()),
        ("name", image.name.clone()),
        ("state", state(image).to_owned()),
        ("reason", image.error_message.clone()),
        ("description", image.description.clone()),
        ("tags", image.tags.join(", ")),
        ("distribution", image.distribution.clone()),
        ("created", image.created_at.clone()),
        (
            "from",
            extra.and_then(|e| e.url.clone()).unwrap_or_default(),
        ),
        (
            "format",
            extra.and_then(|e| e.format.clone()).unwrap_or_default(),
        ),
        (
            "disk",
            extra
                .and_then(|e| e.virtual_size)
                .map(size)
                .unwrap_or_default(),
        ),
        ("stored", format!("{:.2} GB", image.size_gigabytes)),
        (
            "digest",
            extra.and_then(|e| e.digest.clone()).unwrap_or_default(),
        ),
        (
            "verdict",
            extra
                .and_then(|e| e.verdict.as_deref())
                .map(verdict)
                .unwrap_or_default(),
        ),
    ];
    fields(out, &lines)?;
    let Some(extra) = extra else { return Ok(()) };
    for finding in &extra.findings {
        writeln!(out, "  - {}", clean(finding))?;
    }
    if !extra.regions.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(["REGION", "STATE", "REASON"]);
        for copy in &extra.regions {
            let reason = copy.reason.clone().unwrap_or_default();
            table.row([
                copy.slug.clone(),
                copy_state(copy.status).to_owned(),
                reason,
            ]);
        }
        table.write(out)?;
    }
    Ok(())
}

fn verdict(name: &str) -> String {
    name.replace('_', " ")
}
