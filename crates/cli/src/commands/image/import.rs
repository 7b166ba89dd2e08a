//! `abbild image import`: the service fetches the image from a URL; wait, and say what came of it.

use std::process::ExitCode;

use abbild_api::{CreateImage, Id, ImageOne};

use crate::args::ImportArgs;
use crate::failure::{Failure, INTERRUPTED};
use crate::interrupt::Interrupt;
use crate::progress::Steps;
use crate::session::Session;

use super::{outcome, wait};

/// Imports an image by URL.
///
/// # Errors
/// If the service refuses, the import fails, or on Ctrl-C.
pub fn run(session: &Session, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let request = CreateImage {
        name: args.name.clone(),
        url: Some(args.url.clone()),
        checksum: args.checksum.clone(),
        regions: args.regions.clone(),
        description: args.description.clone(),
        tags: args.tags.clone(),
        ..CreateImage::default()
    };
    let begun = client.post::<ImageOne>("/v2/images", &request)?.image;
    if args.no_wait {
        return outcome::report(session, &begun, &args.regions);
    }
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    let image = wait::import(&client, begun.id, &mut steps, &interrupt)?
        .ok_or_else(|| stopped(begun.id))?;
    steps.finish();
    outcome::report(session, &image, &args.regions)
}

fn stopped(id: Id) -> Failure {
    Failure::new("stopped waiting")
        .hint(format!(
            "the import goes on; `abbild image show {id}` tells how far it is, and \
             `abbild image delete {id}` ends it"
        ))
        .code(INTERRUPTED)
}
