//! `abbild image list`.

use std::process::ExitCode;

use abbild_api::{Image, ImageList};

use crate::print::{Table, size};
use crate::session::Session;
use crate::upload::percent;

use super::state;

/// Prints all images of the account.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let images = client.list("/v2/images?private=true", |page: ImageList| {
        (page.images, page.meta)
    })?;
    session.show(&images, |out| {
        let mut table = Table::new(["ID", "NAME", "STATE", "REGIONS", "DISTRIBUTION", "DISK"]);
        for image in &images {
            let disk = image.extra.as_ref().and_then(|extra| extra.virtual_size);
            table.row([
                image.id.to_string(),
                image.name.clone(),
                with_progress(image),
                image.regions.join(", "),
                image.distribution.clone(),
                disk.map(size).unwrap_or_default(),
            ]);
        }
        table.write(out)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn with_progress(image: &Image) -> String {
    let progress = image.extra.as_ref().and_then(|extra| extra.progress);
    match progress {
        Some(progress) if progress.total > 0 => {
            format!(
                "{} {}%",
                state(image),
                percent(progress.done, progress.total)
            )
        }
        _ => state(image).to_owned(),
    }
}
