//! What the text says: the group, its physical volumes and the layout of its logical volumes.

use std::collections::{HashMap, HashSet};

use super::SECTOR;
use super::text::{Section, Value};
use crate::bytes::printable;
use crate::{Error, ErrorKind, Result};

/// How many physical and how many logical volumes a group may have. LVM's own limits are far
/// higher; an image has a handful.
const MAX_VOLUMES: usize = 4096;
/// How many segments all volumes of a group may have.
const MAX_SEGMENTS: usize = 65_536;
/// The largest number of stripes that LVM makes.
const MAX_STRIPES: u64 = 128;

/// A group, as one of its texts describes it.
#[derive(Debug)]
pub(super) struct Description {
    pub id: String,
    pub name: String,
    /// Greater in the newer text.
    pub seqno: u64,
    pub physical: Vec<Physical>,
    /// Those that a system sees.
    pub volumes: Vec<Logical>,
}

/// A physical volume of the group.
#[derive(Debug)]
pub(super) struct Physical {
    /// 32 characters, without the dashes.
    pub id: String,
    /// First byte of its first extent.
    start: u64,
    extents: u64,
}

/// A logical volume of the group.
#[derive(Debug)]
pub(super) struct Logical {
    pub name: String,
    pub uuid: String,
    /// In bytes.
    pub size: u64,
    /// Why it cannot be read, if so.
    pub layout: Result<Layout>,
}

/// The segments of a volume, which follow each other without gaps.
pub(super) type Layout = Vec<Segment>;

/// A part of a volume, spread evenly over one or more stripes.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// First byte on the volume.
    pub start: u64,
    /// Length in bytes, not zero, a multiple of the number of stripes times `chunk`.
    pub len: u64,
    /// Bytes that lie on one stripe before those of the next.
    pub chunk: u64,
    /// At least one.
    pub stripes: Vec<Stripe>,
}

/// A run of bytes on a physical volume, one share of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stripe {
    /// Index of the physical volume in the group.
    pub physical: usize,
    /// First byte on it.
    pub offset: u64,
}

fn damaged(what: impl AsRef<str>) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "lvm-metadata",
        format!("the LVM metadata are damaged: {}", what.as_ref()),
    )
}

/// A fault of one volume, which leaves the others readable.
fn bad_volume(name: &str, what: impl AsRef<str>) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "lvm-volume",
        format!("the LVM volume {name} is damaged: {}", what.as_ref()),
    )
}

fn too_many(what: &str, limit: usize) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "lvm-limits",
        format!("the LVM volume group has more than {limit} {what}"),
    )
}

/// A name that LVM allows, and that is harmless in a message.
fn name(key: &str) -> Result<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    if key.len() <= 127 && key.bytes().all(allowed) {
        return Ok(key.to_owned());
    }
    Err(damaged("a name is not valid"))
}

/// A UUID in LVM's notation: 32 letters and digits and six dashes.
fn uuid<'a>(section: &Section<'a>) -> Result<&'a str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#-".contains(&byte);
    section
        .text("id")
        .filter(|id| id.len() == 38 && id.bytes().all(allowed))
        .ok_or_else(|| damaged("a UUID is not valid"))
}

impl Description {
    /// Understands a whole text.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let all = Section::parse(text).ok_or_else(|| damaged("the text has a syntax error"))?;
        let (key, group) = all
            .sections()
            .next()
            .ok_or_else(|| damaged("the text describes no group"))?;
        let number = |key: &str| {
            group
                .number(key)
                .ok_or_else(|| damaged(format!("the group has no {key}")))
        };
        let extent = number("extent_size")?
            .checked_mul(SECTOR)
            .filter(|&extent| extent > 0)
            .ok_or_else(|| damaged("the size of an extent is not valid"))?;
        let (physical, names) = physical_volumes(group)?;
        let parser = Parser {
            extent,
            physical: &physical,
            names: &names,
        };
        let volumes = parser.volumes(group)?;
        Ok(Self {
            id: uuid(group)?.to_owned(),
            name: name(key)?,
            seqno: number("seqno")?,
            volumes,
            physical,
        })
    }
}

/// The physical volumes, and the index of each by the name that stripes use.
fn physical_volumes<'a>(group: &Section<'a>) -> Result<(Vec<Physical>, HashMap<&'a str, usize>)> {
    let mut physical = Vec::new();
    let mut names = HashMap::new();
    let list = group.section("physical_volumes");
    for (key, section) in list.into_iter().flat_map(Section::sections) {
        if physical.len() == MAX_VOLUMES {
            return Err(too_many("physical volumes", MAX_VOLUMES));
        }
        let start = section
            .number("pe_start")
            .and_then(|start| start.checked_mul(SECTOR));
        let (Some(start), Some(extents)) = (start, section.number("pe_count")) else {
            return Err(damaged("a physical volume has no extents"));
        };
        names.insert(key, physical.len());
        physical.push(Physical {
            id: uuid(section)?.replace('-', ""),
            start,
            extents,
        });
    }
    Ok((physical, names))
}

/// What is needed to understand a logical volume.
struct Parser<'a> {
    /// Bytes per extent, not zero.
    extent: u64,
    physical: &'a [Physical],
    names: &'a HashMap<&'a str, usize>,
}

impl Parser<'_> {
    fn volumes(&self, group: &Section<'_>) -> Result<Vec<Logical>> {
        let mut volumes = Vec::new();
        let mut segments = 0;
        let list = group.section("logical_volumes");
        let snapshots = snapshots(list);
        for (key, section) in list.into_iter().flat_map(Section::sections) {
            // Parts of other volumes are not shown; snapshots are, though not marked.
            let status = section.list("status").unwrap_or(&[]);
            let snapshot = snapshots.contains(key);
            if !snapshot && !status.contains(&Value::Text("VISIBLE")) {
                continue;
            }
            segments += section.sections().count();
            if volumes.len() == MAX_VOLUMES {
                return Err(too_many("logical volumes", MAX_VOLUMES));
            }
            if segments > MAX_SEGMENTS {
                return Err(too_many("segments", MAX_SEGMENTS));
            }
            let name = name(key)?;
            volumes.push(Logical {
                uuid: uuid(section)?.to_owned(),
                size: self.size(section).unwrap_or(0),
                layout: if snapshot {
                    Err(unsupported(&name, "snapshot"))
                } else {
                    self.layout(&name, section)
                },
                name,
            });
        }
        Ok(volumes)
    }

    /// Bytes of all segments, of whatever kind.
    fn size(&self, volume: &Section<'_>) -> Option<u64> {
        let mut extents = 0u64;
        for (_, segment) in segments(volume) {
            extents = extents.checked_add(segment.number("extent_count")?)?;
        }
        extents.checked_mul(self.extent)
    }

    fn layout(&self, name: &str, volume: &Section<'_>) -> Result<Layout> {
        let mut layout = Vec::new();
        for (_, segment) in segments(volume) {
            layout.push(self.segment(name, segment)?);
        }
        if volume.number("segment_count") != Some(layout.len() as u64) || layout.is_empty() {
            return Err(bad_volume(name, "segments are missing"));
        }
        layout.sort_by_key(|segment: &Segment| segment.start);
        let mut end = 0;
        for segment in &layout {
            if segment.start != end {
                return Err(bad_volume(name, "the segments do not join"));
            }
            end = segment
                .start
                .checked_add(segment.len)
                .ok_or_else(|| bad_volume(name, "it is too large"))?;
        }
        Ok(layout)
    }

    fn segment(&self, name: &str, section: &Section<'_>) -> Result<Segment> {
        let kind = section.text("type").unwrap_or("unknown");
        // What the commands call linear is usually stored as one stripe.
        if !matches!(kind, "striped" | "linear") {
            return Err(unsupported(name, kind));
        }
        let bad = |what: &str| bad_volume(name, what);
        let bytes = |key: &str, unit: u64| {
            let number = section.number(key);
            let bytes = number.and_then(|number| number.checked_mul(unit));
            bytes.ok_or_else(|| bad(&format!("a segment has no valid {key}")))
        };
        let (start, len) = (
            bytes("start_extent", self.extent)?,
            bytes("extent_count", self.extent)?,
        );
        let count = section.number("stripe_count").unwrap_or(0);
        let list = section.list("stripes").unwrap_or(&[]);
        if !(1..=MAX_STRIPES).contains(&count) || list.len() as u64 != count * 2 {
            return Err(bad("the number of stripes is wrong"));
        }
        let share = len / count;
        let chunk = if count == 1 {
            share
        } else {
            bytes("stripe_size", SECTOR)?
        };
        if len == 0
            || chunk == 0
            || !(len / self.extent).is_multiple_of(count)
            || !share.is_multiple_of(chunk)
        {
            return Err(bad("a segment cannot be divided into its stripes"));
        }
        let stripes = list
            .chunks_exact(2)
            .map(|pair| self.stripe(name, pair, share / self.extent))
            .collect::<Result<_>>()?;
        Ok(Segment {
            start,
            len,
            chunk,
            stripes,
        })
    }

    /// The stripe of `extents` extents that `pair`, a name and a number, says the beginning of.
    fn stripe(&self, name: &str, pair: &[Value<'_>], extents: u64) -> Result<Stripe> {
        let [Value::Text(on), Value::Number(first)] = pair else {
            return Err(bad_volume(name, "a stripe is not valid"));
        };
        let Some(&index) = self.names.get(on) else {
            // While extents are moved, they belong to a volume that is made for that.
            return Err(unsupported(name, "stripes on other volumes"));
        };
        let physical = &self.physical[index];
        let outside = || bad_volume(name, "a stripe lies outside its physical volume");
        let end = first.checked_add(extents).ok_or_else(outside)?;
        let in_bytes = |extent: u64| {
            let bytes = extent.checked_mul(self.extent)?;
            physical.start.checked_add(bytes)
        };
        match (in_bytes(*first), in_bytes(end)) {
            (Some(offset), Some(_)) if end <= physical.extents => Ok(Stripe {
                physical: index,
                offset,
            }),
            _ => Err(outside()),
        }
    }
}

/// Names of the volumes that are snapshots, or that one is being merged into: what lies in their
/// extents is not what a system sees.
fn snapshots<'a>(list: Option<&Section<'a>>) -> HashSet<&'a str> {
    let volumes = list.into_iter().flat_map(Section::sections);
    let mut names = HashSet::new();
    for (_, segment) in volumes.flat_map(|(_, volume)| segments(volume)) {
        names.extend(segment.text("cow_store"));
        if let Some(store) = segment.text("merging_store") {
            names.extend([Some(store), segment.text("origin")].into_iter().flatten());
        }
    }
    names
}

/// The segments of a volume; they are numbered, and so named.
fn segments<'s, 'a>(volume: &'s Section<'a>) -> impl Iterator<Item = (&'a str, &'s Section<'a>)> {
    let all = volume.sections();
    all.filter(|(key, _)| key.starts_with("segment"))
}

fn unsupported(name: &str, kind: &str) -> Error {
    let kind = printable(kind.as_bytes(), 40);
    Error::new(
        ErrorKind::Unsupported,
        "lvm-segment",
        format!("the LVM volume {name} is of the kind {kind}; linear and striped are supported"),
    )
    .with_hint(
        "copy its content to a linear volume, or install the system without LVM, and make the \
         image of that",
    )
}
