//! `abbild image add-region`: copies an image to a further region and waits for the copy.

use std::process::ExitCode;

use abbild_api::{Action, ActionOne, ActionStatus, ImageAction};

use crate::args::AddRegionArgs;
use crate::commands::wait;
use crate::names;
use crate::print::clean;
use crate::session::Session;

/// Adds the region.
///
/// # Errors
/// If the service refuses or the copy fails.
pub fn run(session: &Session, args: &AddRegionArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image(&client, &args.image)?;
    let body = ImageAction {
        kind: "transfer".into(),
        region: Some(args.region.clone()),
        other: serde_json::Map::new(),
    };
    let path = format!("/v2/images/{}/actions", image.id);
    let mut started: Action = client.post::<ActionOne>(&path, &body)?.action;
    if !args.no_wait {
        let label = format!("copying to {}", clean(&args.region));
        let hint = "the copy goes on; `abbild image show` tells how far it is";
        started = wait::to_end(&client, started, &label, "the copy failed", hint)?;
    }
    let region = clean(&args.region);
    let name = clean(&image.name);
    session.show(&started, |out| match started.status {
        ActionStatus::Completed => {
            writeln!(out, "image {} `{name}` is available in {region}", image.id)
        }
        _ => writeln!(out, "copying image {} `{name}` to {region}", image.id),
    })?;
    Ok(ExitCode::SUCCESS)
}
