//! `abbild image upload`: check, send, wait, and say what came of it.

use std::fs::File;
use std::process::ExitCode;

use abbild_api::{CreateImage, Id, ImageOne};
use abbild_guest::{Limits, Verdict};

use crate::args::UploadArgs;
use crate::client::Client;
use crate::commands::check;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::input;
use crate::interrupt::Interrupt;
use crate::progress::Steps;
use crate::session::Session;
use crate::upload::content::{Content, Form};
use crate::upload::state::{Identity, StateFile};
use crate::upload::{Patience, Upload};

use super::{outcome, wait};

/// Uploads an image file.
///
/// # Errors
/// If the image is refused here or there, sending fails for good, or on Ctrl-C.
pub fn run(session: &Session, args: &UploadArgs) -> anyhow::Result<ExitCode> {
    let mut file = input::open(&args.image)?;
    if !checked_here(session, args, &mut file)? {
        return Ok(ExitCode::from(FAILED));
    }
    let client = session.client()?;
    let interrupt = Interrupt::watch()?;
    let mut steps = Steps::new();
    let (id, keep) = send(args, &file, &client, &mut steps, &interrupt)?;
    let image = if args.no_wait {
        let answer: ImageOne = client.get(&format!("/v2/images/{id}"))?;
        answer.image
    } else {
        steps.note(&format!(
            "all bytes are there; image {id} is being imported"
        ));
        wait::import(&client, id, &mut steps, &interrupt)?.ok_or_else(|| stopped(id))?
    };
    keep.remove()?;
    steps.finish();
    outcome::report(session, &image, &args.regions)
}

/// Checks the image on this machine; prints the report and says no if it would be refused.
fn checked_here(session: &Session, args: &UploadArgs, file: &mut File) -> anyhow::Result<bool> {
    if args.no_check {
        return Ok(true);
    }
    if let Some(compression) = input::compression(file)?
        && !args.check
    {
        eprintln!("{compression} compressed: the service checks it (--check does it here first)");
        return Ok(true);
    }
    let name = args.image.display().to_string();
    let checked = check::inspect(&args.image, Limits::default().max_virtual_size)?;
    if let Some(error) = checked.unreadable() {
        return Err(input::unreadable(&name, error).into());
    }
    let report = checked.report;
    if report.verdict == Verdict::Refused {
        check::print_report(session, &name, report.to_json(session.lang))?;
        eprintln!("\nnothing was sent; --no-check leaves the decision to the service");
        return Ok(false);
    }
    eprintln!("checked: {}", check::headline(&report, session.lang));
    Ok(true)
}

fn send(
    args: &UploadArgs,
    file: &File,
    client: &Client,
    steps: &mut Steps,
    interrupt: &Interrupt,
) -> anyhow::Result<(Id, StateFile)> {
    let identity = Identity::new(client.url(), &args.image, file, &args.name)?;
    let (keep, stored) = StateFile::open(&identity)?;
    let form = match &stored {
        // What was begun is continued.
        Some(state) if state.compact => Form::Compact,
        Some(_) => Form::AsIs,
        None if args.as_is => Form::AsIs,
        None if args.compact => Form::Compact,
        None => Form::Faster,
    };
    let hashed = stored.as_ref().and_then(|state| state.digest.as_deref());
    let content = match hashed {
        Some(digest) if form == Form::AsIs => Content::hashed(file, digest)?,
        _ => Content::new(file, form, client, steps, interrupt)?,
    };
    let request = CreateImage {
        name: args.name.clone(),
        regions: args.regions.clone(),
        description: args.description.clone(),
        tags: args.tags.clone(),
        ..CreateImage::default()
    };
    Upload {
        client,
        image_file: file,
        content: &content,
        identity: &identity,
        request,
        steps,
        interrupt,
        patience: Patience::default(),
    }
    .run(keep, stored)
}

fn stopped(id: Id) -> Failure {
    Failure::new("stopped waiting")
        .hint(format!(
            "the import goes on; `abbild image show {id}` tells how far it is, and the same command again waits for it"
        ))
        .code(INTERRUPTED)
}
