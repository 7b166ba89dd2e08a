//! Tar archives, and OVAs, which are tar archives of a virtual machine: the one disk image inside.
//!
//! Members are told apart by content, not by name: whatever [`detect`] calls a disk image is one,
//! and the rest (an OVA's description and checksums, a README) does not matter. A VMDK descriptor
//! is a disk together with the members that it names; it can name nothing else. Exactly one image
//! is opened, in place.
//!
//! Refused by name: several images, none, a descriptor whose parts are not all there, and
//! compressed members, which could be images but cannot be read in place.

mod archive;

use crate::bytes::{name_list, printable_name};
use crate::detect::{Found, detect};
use crate::vmdk::{self, Descriptor, Kind};
use crate::{Error, ErrorKind, Format, Image, Limits, Range, Result, Source};
pub(crate) use archive::{MAGIC, MAGIC_OFFSET};
use archive::{Member, members};

/// Codes of what may hide a disk image.
const PACKED: &[&str] = &["gzip", "bzip2", "xz", "zstd", "lz4", "7z", "zip", "rar"];
/// Codes of disk images that are not read. Besides an image that is, they make two.
const FOREIGN_DISKS: &[&str] = &[
    "vhd",
    "dmg",
    "qed",
    "parallels",
    "vma",
    "android-sparse",
    "vmdk-cowd",
    "vmdk-sesparse",
];
/// Images to find before the search ends; more would not be listed.
const MAX_IMAGES: usize = 16;

/// A disk image in the archive.
enum Content {
    Disk(Format),
    /// A descriptor, which is or is not one that can be read.
    Parts(Result<Descriptor>),
    /// One that is recognised and cannot be opened.
    Bad(Error),
}

/// What was found in the archive.
#[derive(Default)]
struct Search<'a> {
    images: Vec<(&'a Member, Content)>,
    /// The error of the largest member that is none.
    other: Option<(&'a Member, Error)>,
}

/// Opens the disk image in `archive`.
///
/// # Errors
/// [`ErrorKind::Refused`], code `several-images`; [`ErrorKind::NotRecognised`], code `no-image`;
/// [`ErrorKind::Unsupported`], code `compressed-member`; [`ErrorKind::Corrupt`], code
/// `missing-parts`; damage of the archive, and the faults of the image.
pub(crate) fn open<S: Source>(archive: Range<S>, limits: &Limits) -> Result<Image<S>> {
    let members = members(&archive)?;
    let search = Search::new(&archive, &members)?;
    let (member, content) = search.only(members.len())?;
    let within = |error: Error| match error.kind() {
        ErrorKind::Io => error,
        _ => error.within(&printable_name(&member.name)),
    };
    let opened = match content {
        Content::Bad(error) => Err(error),
        Content::Disk(format) => archive
            .part(member.offset, member.len)
            .and_then(|disk| Image::open_as(format, disk, limits)),
        Content::Parts(descriptor) => descriptor.and_then(|descriptor| {
            descriptor.check_parts()?;
            let files = parts(&members, member, &descriptor)?;
            vmdk::Disk::open_parts(archive, &descriptor, &files, limits).map(Image::Vmdk)
        }),
    };
    opened.map_err(within)
}

impl<'a> Search<'a> {
    /// Looks at every member: first for descriptors, then at what none of them names.
    fn new<S: Source>(archive: &Range<S>, members: &'a [Member]) -> Result<Self> {
        let mut search = Self::default();
        let mut named: Vec<&[u8]> = Vec::new();
        let mut names = Vec::new();
        let small = |member: &&Member| is_candidate(member) && member.len <= vmdk::MAX_LEN;
        for member in members.iter().filter(small) {
            if search.images.len() >= MAX_IMAGES {
                break;
            }
            let file = Range::new(archive, member.offset, member.len)?;
            if matches!(detect(&file), Ok(Found::VmdkDescriptor)) {
                let descriptor = Descriptor::read(&file);
                if let Ok(descriptor) = &descriptor {
                    names.extend(descriptor.names().map(|name| beside(member, name)));
                }
                search.images.push((member, Content::Parts(descriptor)));
            }
        }
        names.sort_unstable();
        named.extend(search.images.iter().map(|(image, _)| image.name.as_slice()));
        for member in members.iter().filter(|member| is_candidate(member)) {
            let is_named = names.binary_search(&member.name).is_ok();
            if is_named || named.contains(&member.name.as_slice()) {
                continue;
            }
            if search.images.len() >= MAX_IMAGES {
                break;
            }
            search.look_at(archive, member)?;
        }
        Ok(search)
    }

    /// Finds out what `member` is.
    fn look_at<S: Source>(&mut self, archive: &Range<S>, member: &'a Member) -> Result<()> {
        let file = Range::new(archive, member.offset, member.len)?;
        let error = match detect(&file) {
            Ok(Found::Disk(format)) => {
                self.images.push((member, Content::Disk(format)));
                return Ok(());
            }
            // Larger than any descriptor.
            Ok(Found::VmdkDescriptor) => {
                let content = Content::Parts(Descriptor::read(&file));
                self.images.push((member, content));
                return Ok(());
            }
            Ok(Found::Tar) => nested(),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Io => return Err(error),
            ErrorKind::Unsupported if PACKED.contains(&error.code()) => {
                return Err(packed(member, &error));
            }
            ErrorKind::Unsupported if FOREIGN_DISKS.contains(&error.code()) => {
                self.images.push((member, Content::Bad(error)));
            }
            ErrorKind::Unsupported | ErrorKind::NotRecognised => {
                if self
                    .other
                    .as_ref()
                    .is_none_or(|(other, _)| other.len < member.len)
                {
                    self.other = Some((member, error));
                }
            }
            // A damaged partition table, for example.
            _ => self.images.push((member, Content::Bad(error))),
        }
        Ok(())
    }

    /// The only image; `members` is how many files the archive has.
    fn only(mut self, members: usize) -> Result<(&'a Member, Content)> {
        if self.images.len() > 1 {
            let names = self.images.iter().map(|(image, _)| image.name.as_slice());
            return Err(Error::new(
                ErrorKind::Refused,
                "several-images",
                format!(
                    "the archive holds several disk images: {}",
                    name_list(names)
                ),
            )
            .with_hint("unpack it, `tar -xf IMAGE`, and use one of them at a time"));
        }
        if let Some(only) = self.images.pop() {
            return Ok(only);
        }
        let (kind, message, hint) = match self.other {
            Some((largest, error)) => (
                error.kind(),
                format!(
                    "none of the {members} files in the archive is a disk image; of the largest, \
                     `{}`: {}",
                    printable_name(&largest.name),
                    error.message()
                ),
                error.hint().unwrap_or_default().to_owned(),
            ),
            None => (
                ErrorKind::NotRecognised,
                "the archive holds no file that could be a disk image".to_owned(),
                "pack the disk image itself: `tar -cf NEW.tar IMAGE`".to_owned(),
            ),
        };
        Err(Error::new(kind, "no-image", message).with_hint(hint))
    }
}

/// Whether a member is worth looking at: macOS adds files of its own, named `._*`.
fn is_candidate(member: &Member) -> bool {
    let name = member.name.rsplit(|&byte| byte == b'/').next();
    member.len > 0 && !name.is_some_and(|name| name.starts_with(b"._"))
}

/// The name of a file that lies beside `member`.
fn beside(member: &Member, name: &[u8]) -> Vec<u8> {
    let end = member.name.iter().rposition(|&byte| byte == b'/');
    let directory = end.map_or(&b""[..], |end| &member.name[..=end]);
    [directory, name].concat()
}

/// Where the files of `descriptor` are, in its order: among the members, nowhere else.
fn parts(members: &[Member], own: &Member, descriptor: &Descriptor) -> Result<Vec<vmdk::Place>> {
    let mut by_name: Vec<_> = members.iter().collect();
    // Of several members of one name the last is in effect, as when tar unpacks them; the sort
    // keeps their order.
    by_name.sort_by(|left, right| left.name.cmp(&right.name));
    let find = |name: &[u8]| {
        let name = beside(own, name);
        let after = by_name.partition_point(|member| member.name <= name);
        let member = by_name.get(after.checked_sub(1)?)?;
        (member.name == name).then_some((member.offset, member.len))
    };
    let extents = descriptor.extents.iter();
    let names = extents
        .filter(|extent| extent.kind != Kind::Zero)
        .map(|extent| extent.name.as_slice());
    let found: Vec<_> = names.map(|name| (name, find(name))).collect();
    let missing = found.iter().filter(|(_, place)| place.is_none());
    let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().filter_map(|(_, place)| place).collect());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "missing-parts",
        format!(
            "the disk is also made of files that the archive does not hold: {}",
            name_list(missing)
        ),
    )
    .in_format(Format::Vmdk)
    .with_hint("put the descriptor and all files that it names into one archive"))
}

fn nested() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "nested-archive",
        "it is a tar archive itself",
    )
    .with_hint("unpack the outer archive and use the inner one")
}

fn packed(member: &Member, error: &Error) -> Error {
    let name = printable_name(&member.name);
    Error::new(
        ErrorKind::Unsupported,
        "compressed-member",
        format!("`{name}` in the archive is compressed ({})", error.code()),
    )
    .with_hint(
        "unpack the archive and then this file, and use the disk image; an OVA can also be made \
         without compression",
    )
}
