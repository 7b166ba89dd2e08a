//! Writes files as inputs of the disk targets: `seed OUTPUT-DIRECTORY FILE…`.

use std::error::Error;
use std::path::Path;

use abbild_fuzz::sectors::Sectors;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments
        .next()
        .ok_or("usage: seed OUTPUT-DIRECTORY FILE…")?;
    std::fs::create_dir_all(&directory)?;
    for file in arguments {
        let name = Path::new(&file).file_name().ok_or("a file has no name")?;
        let input = Sectors::encode(&std::fs::read(&file)?);
        std::fs::write(Path::new(&directory).join(name), input)?;
    }
    Ok(())
}
