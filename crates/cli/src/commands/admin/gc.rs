//! `abbild admin gc`: removing at once what the service removes in its own time.

use std::process::ExitCode;

use super::desk::Desk;
use crate::args::AdminGcArgs;
use crate::failure::FAILED;
use crate::print::{clean, fields, size};
use crate::session::Session;

/// Removes what nobody needs, or counts it.
///
/// # Errors
/// If the database cannot be used.
pub fn run(session: &Session, args: &AdminGcArgs) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(&args.service)?;
    let garbage = desk.wait(desk.operator.gc(args.dry_run))?;
    session.show(&garbage, |out| {
        let rows = &garbage.rows;
        let images = format!("{} ({})", garbage.stored_images, size(garbage.stored_bytes));
        let head = match garbage.dry_run {
            true => "would be removed",
            false => "removed",
        };
        writeln!(out, "{head}")?;
        let lines = [
            ("failed images", rows.failed_images.to_string()),
            ("ended actions", rows.actions.to_string()),
            ("rows of deleted machines", rows.droplets.to_string()),
            ("rows of deleted images", rows.images.to_string()),
            ("audit entries", rows.audit_entries.to_string()),
            ("idempotency keys", rows.idempotency_keys.to_string()),
            ("stored images", images),
        ];
        fields(out, &lines)
    })?;
    for obstacle in &garbage.obstacles {
        eprintln!("error: {}", clean(obstacle));
    }
    Ok(match garbage.obstacles.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}
