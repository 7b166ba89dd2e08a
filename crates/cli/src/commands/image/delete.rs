//! `abbild image delete`.

use std::process::ExitCode;

use serde_json::json;

use crate::args::ImageRef;
use crate::names;
use crate::print::clean;
use crate::session::Session;

/// Deletes one image everywhere.
///
/// # Errors
/// If the name is not exactly one image's; those of the request and of printing.
pub fn run(session: &Session, args: &ImageRef) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image_strictly(&client, &args.image)?;
    client.delete(&format!("/v2/images/{}", image.id))?;
    session.show(&json!({"deleted": image.id}), |out| {
        writeln!(out, "deleted image {} `{}`", image.id, clean(&image.name))
    })?;
    Ok(ExitCode::SUCCESS)
}
