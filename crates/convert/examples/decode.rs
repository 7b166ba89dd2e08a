//! Decodes one gzip, bzip2, xz or zstd file into a sparse one: `decode FILE OUT`.
//! Prints the size in bytes, the layers that were removed, and the seconds.

use std::error::Error;
use std::fs::File;
use std::time::Instant;

use abbild_convert::{Control, StagingOptions, decode_to_staging};
use abbild_disk::FileSource;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(input), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: decode FILE OUT".into());
    };
    let start = Instant::now();
    let options = StagingOptions { limit: 100 << 30 };
    let out = File::create(out)?;
    let decoded = decode_to_staging(
        &FileSource::open(input.as_ref())?,
        &out,
        options,
        &Control::none(),
    )?;
    println!(
        "bytes={} layers={:?} seconds={:.3}",
        decoded.bytes,
        decoded.layers,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
