//! `abbild image report`: the service's own report, printed as `abbild check` prints.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use crate::args::ReportArgs;
use crate::commands::check::print_report;
use crate::names;
use crate::print;
use crate::report::View;
use crate::session::Session;

/// Prints the report on one image.
///
/// # Errors
/// If there is no such image or no report on it yet; those of the request and of printing.
pub fn run(session: &Session, args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let image = names::image(&client, &args.image)?;
    let path = format!("/v2/images/{}/report?lang={}", image.id, session.lang);
    let report: Value = client.get(&path)?;
    if !args.sarif && !args.junit {
        print_report(session, &image.name, report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let view: View = serde_json::from_value(report).context("reading the report")?;
    let mut out = BufWriter::new(io::stdout().lock());
    if args.sarif {
        print::json(&mut out, &view.sarif(Path::new(&image.name), None))?;
    } else {
        view.junit(&mut out, &image.name, None)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
