//! What came of an import, once it has ended.

use std::process::ExitCode;

use abbild_api::{Image, ImageStatus, RegionCopyStatus};

use crate::failure::Failure;
use crate::print::clean;
use crate::session::Session;

use super::show;

/// Prints the image.
///
/// # Errors
/// If its import failed, or that into one of its `regions`; those of printing.
pub fn report(session: &Session, image: &Image, regions: &[String]) -> anyhow::Result<ExitCode> {
    session.show(image, |out| show::write(out, image))?;
    if image.status == ImageStatus::Deleted {
        let reason = clean(&image.error_message);
        let hint = format!(
            "`abbild image report {}` shows everything that was found",
            image.id
        );
        return Err(Failure::new(format!("the import failed: {reason}"))
            .hint(hint)
            .into());
    }
    let copies = || image.extra.iter().flat_map(|extra| &extra.regions);
    for region in regions {
        if !copies().any(|copy| copy.slug == *region) {
            eprintln!("\nnot asked for when this import began: {region}");
            eprintln!(
                "hint: `abbild image add-region {} {region}` adds it",
                image.id
            );
        }
    }
    if let Some(failed) = copies().find(|copy| copy.status == RegionCopyStatus::Failed) {
        let slug = clean(&failed.slug);
        let reason = clean(failed.reason.as_deref().unwrap_or("no reason given"));
        let hint = format!("`abbild image add-region {} {slug}` tries again", image.id);
        return Err(Failure::new(format!("region {slug} failed: {reason}"))
            .hint(hint)
            .into());
    }
    Ok(ExitCode::SUCCESS)
}
