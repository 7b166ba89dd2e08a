//! `abbild usage`: what the account stores and runs.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_api::{AccountOne, QuotaUse, Usage, UsageOne};
use serde_json::json;

use crate::print::{Table, fields, size};
use crate::session::Session;

/// Prints the usage.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let usage = client.get::<UsageOne>("/v2/account/usage")?.usage;
    let account = client.get::<AccountOne>("/v2/account")?.account;
    let quotas = account.extra.map_or_else(Vec::new, |extra| extra.quotas);
    let value = json!({"usage": usage, "quotas": quotas});
    session.show(&value, |out| {
        write(out, &usage)?;
        writeln!(out)?;
        quota_table(&quotas).write(out)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What there may be of everything, and what there is.
pub fn quota_table(quotas: &[QuotaUse]) -> Table {
    let mut table = Table::new(["QUOTA", "USED", "LIMIT"]);
    for quota in quotas {
        let text = |number: i64| match quota.quota.is_bytes() {
            true => bytes(number),
            false => number.to_string(),
        };
        let limit = quota.limit.map_or_else(|| "unlimited".to_owned(), text);
        table.row([quota.quota.to_string(), text(quota.used), limit]);
    }
    table
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
