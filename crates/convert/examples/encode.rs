//! Encodes one image canonically: `encode IMAGE OUT [THREADS]`, as `bench/convert.sh` times it.
//! Prints the digest, the sizes in bytes, the seconds, and the peak memory of the process in KiB.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use abbild_convert::{Control, Options, encode};
use abbild_disk::FileSource;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(image), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: encode IMAGE OUT [THREADS]".into());
    };
    let threads = args.next().map_or(Ok(0), |text| text.parse())?;
    let start = Instant::now();
    let disk = abbild_disk::open(FileSource::open(Path::new(&image))?)?;
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(out)?;
    let encoded = encode(&disk, &file, Options { threads }, &Control::none())?;
    println!(
        "sha256={} file_size={} virtual_size={} data_clusters={} seconds={:.3} peak_kib={}",
        encoded
            .sha256
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
        encoded.file_size,
        encoded.virtual_size,
        encoded.data_clusters,
        start.elapsed().as_secs_f64(),
        peak_kib()
    );
    Ok(())
}

/// The process's high-water mark of resident memory, as Linux counts it.
fn peak_kib() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}
