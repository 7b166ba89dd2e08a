//! `abbild admin region`: how regions are, and giving one up.

use std::io::{self, Write};

use abbild_service::operator::RegionState;

use super::desk::Desk;
use crate::args::AdminRegionCommand;
use crate::print::{Table, clean, counted, size};
use crate::session::Session;

/// `abbild admin region …`
///
/// # Errors
/// If it cannot be done.
pub fn run(session: &Session, command: &AdminRegionCommand) -> anyhow::Result<()> {
    match command {
        AdminRegionCommand::List(service) => {
            let desk = Desk::open(service)?;
            let regions = desk.wait(desk.operator.regions())?;
            session.show(&regions, |out| table(out, &regions))?;
        }
        AdminRegionCommand::Drop { slug, service } => {
            let desk = Desk::open(service)?;
            let dropped = desk.wait(desk.operator.drop_region(slug))?;
            session.show(&dropped, |out| {
                let images = counted(dropped.images.len() as u64, "image");
                let failed = dropped.failed.len();
                let slug = clean(slug);
                writeln!(
                    out,
                    "{images} taken out of {slug}, of which {failed} failed"
                )
            })?;
        }
    }
    Ok(())
}

fn table(out: &mut dyn Write, regions: &[RegionState]) -> io::Result<()> {
    let bytes = |bytes: Option<u64>| bytes.map(size).unwrap_or_default();
    let mut table = Table::new([
        "REGION", "STORE", "DRIVER", "IMAGES", "MACHINES", "STORED", "FREE", "STATE",
    ]);
    for region in regions {
        table.row([
            region.slug.clone(),
            region.store.unwrap_or_default().to_owned(),
            region.driver.unwrap_or_default().to_owned(),
            region.images.to_string(),
            region.droplets.to_string(),
            bytes(region.stored_bytes),
            bytes(region.free_bytes),
            region
                .obstacle
                .clone()
                .unwrap_or_else(|| "usable".to_owned()),
        ]);
    }
    table.write(out)
}
