//! `abbild image report`: the service's own report, printed as `abbild check` prints.

use std::process::ExitCode;

use serde_json::Value;

use crate::args::ImageRef;
use crate::commands::check::print_report;
use crate::names;
use crate::session::Session;

/// Prints the report on one image.
///
/// # Errors
/// If there is no such image or no report on it yet; those of the request and of printing.
pub fn run(session: &Session, args: &ImageRef) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image(&client, &args.image)?;
    let path = format!("/v2/images/{}/report?lang={}", image.id, session.lang);
    let report: Value = client.get(&path)?;
    print_report(session, &image.name, report)?;
    Ok(ExitCode::SUCCESS)
}
