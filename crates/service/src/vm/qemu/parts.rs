//! What a machine is made of: its disk, its config drive, and what it only reads.
//!
//! QEMU may run as a user who reaches nothing but the directory of the machine. So what it reads has a
//! name there: the canonical image as a hard link to the one in the store, which costs nothing, and stays
//! as it is if the store's is removed.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use abbild_convert::{Backing, create_overlay};

use super::files::{doing, remove_file};
use crate::vm::config_drive::ConfigDrive;
use crate::vm::{VmError, VmSpec};

/// The longest that the specification allows.
const MOST_NAME_BYTES: u32 = 1023;

/// The config drive of a machine.
pub fn config_drive(spec: &VmSpec, uuid: &str) -> Result<Vec<u8>, VmError> {
    let drive = ConfigDrive {
        uuid,
        name: &spec.name,
        ssh_keys: &spec.ssh_keys,
        availability_zone: &spec.region,
        mac: spec.network.mac(spec.id),
        network: &spec.network,
        vendor: &spec.vendor,
        // What the customer wants done in the machine is not for the system that repairs it.
        user_data: spec.user_data.as_deref().filter(|_| spec.rescue.is_none()),
    };
    let drive = drive.image().map_err(io::Error::other);
    drive.map_err(doing("making the config drive"))
}

/// A writable layer of `disk_bytes` over the canonical image at `image`, which must be absolute.
pub fn build_disk(path: &Path, image: &str, disk_bytes: u64) -> Result<(), VmError> {
    let virtual_size =
        virtual_size(Path::new(image)).map_err(doing(format!("reading the image {image}")))?;
    let disk = File::create_new(path).map_err(doing("creating the disk"))?;
    let backing = Backing {
        file_name: image,
        virtual_size,
    };
    create_overlay(&disk, &backing, disk_bytes).map_err(|error| VmError::Io {
        what: "making the disk".into(),
        source: io::Error::other(error),
    })
}

/// The size that a qcow2 file states (qcow2 specification, header, byte 24).
pub fn virtual_size(path: &Path) -> io::Result<u64> {
    let mut header = [0; 32];
    File::open(path)?.read_exact_at(&mut header, 0)?;
    let [.., a, b, c, d, e, f, g, h] = header;
    if !header.starts_with(b"QFI\xfb") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no qcow2 file",
        ));
    }
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The name of the file that a qcow2 file lies over, which may be in the table of a hostile one (qcow2
/// specification, header, bytes 8 to 19).
pub fn backing_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut place = [0; 12];
    file.read_exact_at(&mut place, 8)?;
    let [a, b, c, d, e, f, g, h, length @ ..] = place;
    let length = u32::from_be_bytes(length).min(MOST_NAME_BYTES);
    let mut name = vec![0; length as usize];
    file.read_exact_at(&mut name, u64::from_be_bytes([a, b, c, d, e, f, g, h]))?;
    Ok(name)
}

/// Gives the canonical image at `image` the name `link` as well, unless it has it. When the store has got
/// the image anew, it is that one from now on.
///
/// # Errors
/// The image is gone, or on another filesystem, or its filesystem has no hard links.
pub fn link_image(image: &Path, link: &Path) -> Result<(), VmError> {
    let linking = || doing(format!("linking {} to {}", link.display(), image.display()));
    let stored = match fs::metadata(image) {
        // The machine needs only its own name for it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && link.exists() => return Ok(()),
        stored => stored.map_err(linking())?,
    };
    if fs::metadata(link).is_ok_and(|linked| is_same(&linked, &stored)) {
        return Ok(());
    }
    remove_file(link)?;
    // Earlier versions kept images for themselves.
    if stored.mode() & 0o004 == 0 {
        readable(image).map_err(linking())?;
    }
    fs::hard_link(image, link).map_err(linking())
}

/// Copies a file that QEMU reads into the directory of a machine.
///
/// # Errors
/// Those of reading and writing it.
pub fn put(file: &Path, to: &Path) -> Result<(), VmError> {
    remove_file(to)?;
    fs::copy(file, to)
        .and_then(|_| readable(to))
        .map_err(doing(format!("copying {}", file.display())))
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// For everybody who gets there, and to be written by nobody.
pub fn readable(file: &Path) -> io::Result<()> {
    fs::set_permissions(file, Permissions::from_mode(0o444))
}
