//! `abbild image remove-region`.

use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::args::RemoveRegionArgs;
use crate::names;
use crate::print::clean;
use crate::session::Session;

/// Takes one image out of one region.
///
/// # Errors
/// If the name is not exactly one image's, or the service refuses: machines there use the image, or
/// it would be nowhere.
pub fn run(session: &Session, args: &RemoveRegionArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image_strictly(&client, &args.image)?;
    let region = utf8_percent_encode(&args.region, NON_ALPHANUMERIC);
    client.delete(&format!("/v2/images/{}/regions/{region}", image.id))?;
    let removed = json!({"image": image.id, "removed_region": args.region});
    session.show(&removed, |out| {
        let (name, region) = (clean(&image.name), clean(&args.region));
        writeln!(out, "image {} `{name}` is no longer in {region}", image.id)
    })?;
    Ok(ExitCode::SUCCESS)
}
