//! Prints the report on an image as JSON: `cargo run -p abbild-guest --example inspect IMAGE [de]`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use abbild_disk::FileSource;
use abbild_guest::{Context, Lang, inspect};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: inspect IMAGE [LANG]")?;
    let lang: Lang = args.next().as_deref().unwrap_or("en").parse()?;
    let start = Instant::now();
    let disk = abbild_disk::open(FileSource::open(Path::new(&path))?)?;
    let report = inspect(&Arc::new(disk), &Context::default());
    let took = start.elapsed();
    println!("{:#}", report.to_json(lang));
    eprintln!("{took:?}");
    Ok(())
}
