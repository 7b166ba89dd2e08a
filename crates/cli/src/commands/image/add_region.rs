//! `abbild image add-region`: copies an image to a further region and waits for the copy.

use std::process::ExitCode;

use abbild_api::{Action, ActionOne, ActionStatus, ImageAction};

use crate::args::AddRegionArgs;
use crate::client::Client;
use crate::commands::wait::action;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::names;
use crate::print::clean;
use crate::progress::Steps;
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
        started = wait(&client, started, &args.region)?;
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

fn wait(client: &Client, started: Action, region: &str) -> anyhow::Result<Action> {
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    steps.step(&format!("copying to {}", clean(region)));
    let ended = action(client, started, &mut steps, &interrupt)?.ok_or_else(|| {
        Failure::new("stopped waiting")
            .hint("the copy goes on; `abbild image show` tells how far it is")
            .code(crate::failure::INTERRUPTED)
    })?;
    match ended.status {
        ActionStatus::Errored => {
            let reason = ended.extra.and_then(|extra| extra.reason);
            let reason = reason.as_deref().unwrap_or("the service gave no reason");
            Err(Failure::new(format!("the copy failed: {}", clean(reason))).into())
        }
        _ => Ok(ended),
    }
}
