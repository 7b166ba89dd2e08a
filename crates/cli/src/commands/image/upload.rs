//! `abbild image upload`: check, send, wait, and say what came of it.

use std::fs::File;
use std::process::ExitCode;

use abbild_api::{CreateImage, Id, Image, ImageOne, ImageStatus, RegionCopyStatus};
use abbild_guest::{Limits, Verdict};

use crate::args::UploadArgs;
use crate::client::Client;
use crate::commands::check;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::input;
use crate::interrupt::Interrupt;
use crate::print::clean;
use crate::progress::Steps;
use crate::session::Session;
use crate::upload::state::{Identity, StateFile};
use crate::upload::{Patience, Upload};

use super::{show, wait};

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
    report_on(session, args, &image)
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
    let request = CreateImage {
        name: args.name.clone(),
        regions: args.regions.clone(),
        description: args.description.clone(),
        tags: args.tags.clone(),
        ..CreateImage::default()
    };
    Upload {
        client,
        file,
        identity: &identity,
        request,
        steps,
        interrupt,
        patience: Patience::default(),
    }
    .run()
}

fn stopped(id: Id) -> Failure {
    Failure::new("stopped waiting")
        .hint(format!(
            "the import goes on; `abbild image show {id}` tells how far it is, and the same command again waits for it"
        ))
        .code(INTERRUPTED)
}

/// Prints the image; fails if it did, or one of its regions.
fn report_on(session: &Session, args: &UploadArgs, image: &Image) -> anyhow::Result<ExitCode> {
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
    for region in &args.regions {
        if !copies().any(|copy| copy.slug == *region) {
            eprintln!("\nnot asked for when this upload began: {region}");
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
