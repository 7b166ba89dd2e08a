//! Pictures of a machine's screen.
//!
//! QEMU draws them into a file of the machine's directory, which we read and remove. A guest that broke
//! out into QEMU may have put anything there, so no link is followed and the size is bounded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde_json::json;

use super::files::{MachineDir, SCREENSHOT, doing, remove_file};
use super::{blocking, process};
use crate::vm::VmError;

/// No screen that the VGA of a machine can show needs more.
const MAX_BYTES: u64 = 8 << 20;
/// With what a PNG begins (PNG specification, section 5.2).
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The screen as PNG.
pub async fn take(machine: &MachineDir) -> Result<Vec<u8>, VmError> {
    let path = machine.file(SCREENSHOT);
    let mut qmp = process::monitor(machine).await?;
    let arguments = json!({ "filename": SCREENSHOT, "format": "png" });
    qmp.execute_with("screendump", arguments).await?;
    blocking(move || {
        let png = read(&path).map_err(doing("reading the picture of the screen"))?;
        remove_file(&path)?;
        Ok(png)
    })
    .await
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let unfit = |problem: &str| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    if !file.metadata()?.is_file() {
        return unfit("it is no file");
    }
    let mut png = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut png)?;
    match png.len() as u64 {
        0..=MAX_BYTES if png.starts_with(SIGNATURE) => Ok(png),
        0..=MAX_BYTES => unfit("it is no PNG"),
        _ => unfit("it is too large"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_picture_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("screen.png");
        std::fs::write(&path, [SIGNATURE, b"rest"].concat()).unwrap();
        assert_eq!(read(&path).unwrap().len(), 12);
        std::fs::write(&path, "root:x:0:0").unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is no PNG");
        let large = File::create(&path).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is too large");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).is_err());
        assert_eq!(
            read(directory.path()).unwrap_err().to_string(),
            "it is no file"
        );
    }
}
