//! `abbild image …`: what a customer does with images on the service.

mod add_region;
mod delete;
mod export;
mod import;
mod list;
mod outcome;
mod probe;
mod remove_region;
mod report;
mod show;
mod upload;
mod wait;
mod watch;

use std::process::ExitCode;

use abbild_api::{Image, ImageStatus, RegionCopyStatus, Stage};

use crate::args::ImageCommand;
use crate::session::Session;
pub use show::write;

/// Runs the subcommand.
///
/// # Errors
/// Those of the subcommand.
pub fn run(session: &Session, command: &ImageCommand) -> anyhow::Result<ExitCode> {
    match command {
        ImageCommand::Upload(args) => upload::run(session, args),
        ImageCommand::Import(args) => import::run(session, args),
        ImageCommand::List => list::run(session),
        ImageCommand::Show(args) => show::run(session, args),
        ImageCommand::AddRegion(args) => add_region::run(session, args),
        ImageCommand::RemoveRegion(args) => remove_region::run(session, args),
        ImageCommand::Report(args) => report::run(session, args),
        ImageCommand::Probe(args) => probe::run(session, args),
        ImageCommand::Delete(args) => delete::run(session, args),
        ImageCommand::Export(args) => export::run(session, args),
        ImageCommand::Watch(args) => watch::run(session, args),
    }
}

/// The state of an image in one or two words.
fn state(image: &Image) -> &'static str {
    match (image.status, image.extra.as_ref().map(|extra| extra.stage)) {
        (ImageStatus::Deleted, _) if !image.error_message.is_empty() => "failed",
        (ImageStatus::Deleted, _) => "deleted",
        (_, Some(stage)) => stage_name(stage),
        (ImageStatus::New, None) => "new",
        (ImageStatus::Pending, None) => "importing",
        (ImageStatus::Available, None) => "available",
    }
}

/// A stage as a step that is being taken.
fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Receiving => "receiving",
        Stage::Queued => "queued",
        Stage::Verifying => "verifying",
        Stage::Unpacking => "unpacking",
        Stage::Checking => "checking",
        Stage::Encoding => "encoding",
        Stage::Storing => "storing",
        Stage::Available => "available",
        Stage::Failed => "failed",
        Stage::Deleted => "deleted",
    }
}

fn copy_state(status: RegionCopyStatus) -> &'static str {
    match status {
        RegionCopyStatus::Pending => "pending",
        RegionCopyStatus::Copying => "copying",
        RegionCopyStatus::Available => "available",
        RegionCopyStatus::Failed => "failed",
    }
}
