//! LVM2: logical volumes inside the partitions of a disk.
//!
//! Installers of Debian, Ubuntu, RHEL and others put the root file system into a logical volume
//! unless told otherwise, so an image made by hand often has one. Start with [`open`]: it takes the
//! physical volumes of one group (usually a single partition) and returns the [`Group`], whose
//! [`LogicalVolume`]s open as [`Volume`]s, which are sources like any other.
//!
//! The format is specified by its implementation only (LVM2, `lib/format_text/layout.h` and
//! `lib/label/label.h`). All integers are little-endian.
//!
//! | Where | Len | Name |
//! |-------|----:|------|
//! | one of the first four sectors | 32 | label: `LABELONE`, sector, checksum, offset of the header, `LVM2 001` |
//! | in the same sector | | header: UUID, size, data areas, metadata areas |
//! | start of a metadata area | 512 | checksum, magic, version, start, size, place of the text |
//! | rest of the area | | a ring of texts, of which the newest describes the whole group |
//!
//! Supported: linear and striped segments over the physical volumes that are given. Refused by
//! name, each volume by itself: every other kind of segment (thin, RAID, mirror, cache, snapshot),
//! and volumes with parts on a physical volume that is not there.

mod area;
mod group;
mod label;
mod text;
mod volume;

use std::sync::Arc;

use crate::{Error, ErrorKind, Result, Source};
use group::{Description, Layout, Physical};
use label::Label;
pub use volume::Volume;

/// LVM counts in sectors of 512 bytes, whatever the disk's own are.
const SECTOR: u64 = 512;

/// The physical volumes that were given, in the group's order; `None` for one that was not.
type Pool<S> = Arc<[Option<S>]>;

/// A volume group.
#[derive(Debug)]
pub struct Group<S> {
    name: String,
    volumes: Vec<LogicalVolume<S>>,
    warnings: Vec<String>,
}

impl<S> Group<S> {
    /// The group's name: letters, digits, `+`, `_`, `.` and `-`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The logical volumes that a system sees, in the order of their making.
    pub fn volumes(&self) -> &[LogicalVolume<S>] {
        &self.volumes
    }

    /// Oddities that did not prevent opening, each a full sentence.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// A logical volume of a [`Group`].
#[derive(Debug)]
pub struct LogicalVolume<S> {
    name: String,
    uuid: String,
    size: u64,
    layout: Result<Layout>,
    pool: Pool<S>,
}

impl<S: Source> LogicalVolume<S> {
    /// The volume's name: letters, digits, `+`, `_`, `.` and `-`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The volume's UUID in LVM's own notation, `6hskIL-Gkco-6Qhz-nO88-pqda-Om3Z-eglc3o`.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The volume's bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], code `lvm-segment`, for a kind of volume that is not read, and
    /// `lvm-missing` if a part lies on a physical volume that was not given;
    /// [`ErrorKind::Corrupt`], code `lvm-volume`, for a description that contradicts itself, and
    /// `truncated` if a part lies past the end of its physical volume.
    pub fn open(&self) -> Result<Volume<S>> {
        match &self.layout {
            Ok(layout) => Volume::new(layout, Arc::clone(&self.pool), &self.name),
            Err(error) => Err(again(error)),
        }
    }
}

/// A copy of an error of this module, which has no underlying I/O error.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.code(), error.message());
    match error.hint() {
        Some(hint) => copy.with_hint(hint),
        None => copy,
    }
}

/// Whether `source` is marked as a physical volume, intact or not.
///
/// # Errors
/// Those of reading the first four sectors.
pub fn is_physical_volume<S: Source + ?Sized>(source: &S) -> Result<bool> {
    Ok(label::find(source)?.is_some())
}

/// Says which of `sources` belong together: each list holds the positions of the physical volumes of
/// one group, for [`open`].
///
/// A source that is damaged, or whose group is not described on any of them, stands alone, and
/// opening it tells why.
pub fn divide<S: Source>(sources: &[S]) -> Vec<Vec<usize>> {
    let labels: Vec<Option<Label>> = sources.iter().map(|s| Label::read(s).ok()).collect();
    let mut groups: Vec<(String, Vec<Physical>)> = Vec::new();
    for (source, label) in sources.iter().zip(&labels) {
        let texts = label
            .as_ref()
            .and_then(|label| area::texts(source, label, &mut Vec::new()).ok());
        for text in texts.unwrap_or_default() {
            let Ok(found) = Description::parse(&text) else {
                continue;
            };
            match groups.iter_mut().find(|(id, _)| *id == found.id) {
                Some((_, physical)) => physical.extend(found.physical),
                None => groups.push((found.id, found.physical)),
            }
        }
    }
    let mut divided: Vec<(Option<usize>, Vec<usize>)> = Vec::new();
    for (position, label) in labels.iter().enumerate() {
        let group = label.as_ref().and_then(|label| {
            let has = |physical: &Physical| physical.id == label.uuid;
            groups.iter().position(|(_, list)| list.iter().any(has))
        });
        let mut known = divided.iter_mut();
        match known.find(|(other, _)| group.is_some() && *other == group) {
            Some((_, list)) => list.push(position),
            None => divided.push((group, vec![position])),
        }
    }
    divided.into_iter().map(|(_, list)| list).collect()
}

/// Opens the volume group that the physical volumes `sources` make up, wholly or in part.
///
/// # Errors
/// [`ErrorKind::NotRecognised`], code `lvm-label`, for a source that is no physical volume;
/// [`ErrorKind::Corrupt`], codes `lvm-label`, `lvm-metadata` and `lvm-duplicate`, for damage;
/// [`ErrorKind::Unsupported`], code `lvm-groups`, for sources of more than one group or of none,
/// and `lvm-limits` for a group larger than what is read.
pub fn open<S: Source>(sources: Vec<S>) -> Result<Group<S>> {
    let mut warnings = Vec::new();
    let mut labels = Vec::new();
    let mut newest: Option<Description> = None;
    for source in &sources {
        let label = Label::read(source)?;
        for text in area::texts(source, &label, &mut warnings)? {
            let found = Description::parse(&text)?;
            newest = Some(match newest {
                Some(other) if other.id != found.id => return Err(groups("are of several")),
                Some(other) if other.seqno >= found.seqno => other,
                _ => found,
            });
        }
        labels.push(label);
    }
    let Some(group) = newest else {
        return Err(groups(if sources.is_empty() {
            "are none, hence of no"
        } else {
            "belong to no"
        }));
    };
    let mut pool: Vec<Option<S>> = group.physical.iter().map(|_| None).collect();
    for (source, label) in sources.into_iter().zip(labels) {
        let place = group
            .physical
            .iter()
            .position(|physical| physical.id == label.uuid)
            .and_then(|index| pool.get_mut(index));
        match place {
            Some(slot @ None) => *slot = Some(source),
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "lvm-duplicate",
                    format!("two LVM physical volumes have the UUID {}", label.uuid),
                ));
            }
            None => return Err(groups("are of several")),
        }
    }
    let pool: Pool<S> = pool.into();
    let volumes = group.volumes.into_iter().map(|volume| LogicalVolume {
        name: volume.name,
        uuid: volume.uuid,
        size: volume.size,
        layout: volume.layout,
        pool: Arc::clone(&pool),
    });
    Ok(Group {
        name: group.name,
        volumes: volumes.collect(),
        warnings,
    })
}

fn groups(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "lvm-groups",
        format!("the LVM physical volumes {what} volume group"),
    )
}

/// CRC-32 as LVM computes it: with a start value of its own, and without the final inversion.
fn checksum(pieces: &[&[u8]]) -> u32 {
    const START: u32 = 0xf597_a6cf;
    let mut hasher = crc32fast::Hasher::new_with_initial(!START);
    for piece in pieces {
        hasher.update(piece);
    }
    !hasher.finalize()
}
