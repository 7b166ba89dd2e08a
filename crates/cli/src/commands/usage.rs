//! `abbild usage`: what the account stores and runs.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_api::{Usage, UsageOne};

use crate::print::{Table, fields, size};
use crate::session::Session;

/// Prints the usage.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let usage = session
        .client()?
        .get::<UsageOne>("/v2/account/usage")?
        .usage;
    session.show(&usage, |out| write(out, &usage))?;
    Ok(ExitCode::SUCCESS)
}

fn write(out: &mut dyn Write, usage: &Usage) -> io::Result<()> {
    let (uploads, vms) = (&usage.uploads, &usage.droplets);
    let uploading = match uploads.count {
        0 => String::new(),
        count => format!(
            "{count}, {} of {} received",
            bytes(uploads.received_bytes),
            bytes(uploads.announced_bytes)
        ),
    };
    let lines = [
        ("images", usage.images.to_string()),
        ("stored", bytes(usage.stored_bytes)),
        ("without copies", bytes(usage.unique_bytes)),
        ("uploads", uploading),
        (
            "machines",
            format!(
                "{}, {} running; {} vCPU, {} MiB memory, {} GB disk",
                vms.count, vms.active, vms.vcpus, vms.memory, vms.disk
            ),
        ),
    ];
    fields(out, &lines)?;
    writeln!(out)?;
    let mut table = Table::new(["REGION", "IMAGES", "STORED", "WITHOUT COPIES", "MACHINES"]);
    for region in &usage.regions {
        table.row([
            region.slug.clone(),
            region.images.to_string(),
            bytes(region.stored_bytes),
            bytes(region.unique_bytes),
            region.droplets.to_string(),
        ]);
    }
    table.write(out)
}

fn bytes(bytes: i64) -> String {
    size(u64::try_from(bytes).unwrap_or(0))
}
