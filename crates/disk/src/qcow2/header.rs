//! The qcow2 header: parsed once, and every number in it checked before anything uses it.

use bitflags::bitflags;

use crate::bytes::{be32, be64, printable};
use crate::{Error, ErrorKind, Format, Limits, Result, Source, check_range};

/// `QFI\xfb`.
pub(crate) const MAGIC: &[u8; 4] = b"QFI\xfb";

/// Bytes of a version 2 header.
const V2_LEN: usize = 72;
/// Bytes of a version 3 header without optional fields.
const V3_LEN: usize = 104;
/// Header bytes that hold a field we know, the compression type being the last.
const KNOWN_LEN: usize = 112;
/// The largest active L1 table that QEMU accepts (32 MiB), in entries.
const MAX_L1_ENTRIES: u64 = (32 << 20) / 8;
/// Header extensions are read up to here. QEMU keeps them within the first cluster; the known
/// ones take less than a kilobyte.
const MAX_EXTENSIONS_LEN: u64 = 64 << 10;

const EXTENSION_END: u32 = 0;
const EXTENSION_FEATURE_NAMES: u32 = 0x6803_f857;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

bitflags! {
    /// Features that a reader has to know, or else must not read the image.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Incompatible: u64 {
        /// Reference counts may be stale; the mapping is not.
        const DIRTY = 1;
        /// Structures are known to be damaged.
        const CORRUPT = 1 << 1;
        /// Guest data is in another file.
        const DATA_FILE = 1 << 2;
        /// Clusters are compressed by something other than deflate.
        const COMPRESSION = 1 << 3;
        /// L2 entries have a bitmap of subclusters.
        const EXTENDED_L2 = 1 << 4;
    }
}

/// How compressed clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Raw deflate, window of 4 KiB.
    Deflate,
    /// One Zstandard frame.
    Zstd,
}

/// What is made of a backing file that the header names. It is never opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackingFile {
    /// Without it the image has no meaning.
    Refused,
    /// The caller has the disk below, whatever the name says.
    Known,
}

/// What the rest of the reader needs from the header.
#[derive(Debug)]
pub(crate) struct Header {
    /// 2 or 3.
    pub version: u32,
    /// log2 of the cluster size, 9 to 21.
    pub cluster_bits: u32,
    /// Virtual size in bytes.
    pub size: u64,
    /// Byte offset of the L1 table in the file.
    pub l1_offset: u64,
    /// Entries of the L1 table that the virtual size needs.
    pub l1_entries: usize,
    /// Whether L2 entries carry subcluster bitmaps.
    pub extended_l2: bool,
    /// Algorithm of compressed clusters.
    pub compression: Compression,
    /// Oddities for the user.
    pub warnings: Vec<String>,
}

/// An error about the qcow2 header field at byte `field`.
fn fault(kind: ErrorKind, code: &'static str, field: u64, message: impl Into<String>) -> Error {
    Error::new(kind, code, message)
        .in_format(Format::Qcow2)
        .at(field)
}

impl Header {
    /// Reads and checks the header of `source`, which is known to begin with [`MAGIC`].
    pub(crate) fn read<S: Source>(
        source: &S,
        backing: BackingFile,
        limits: &Limits,
    ) -> Result<Self> {
        check_range(0, V2_LEN, source.len()).map_err(|e| e.in_format(Format::Qcow2))?;
        let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
        let mut raw = [0; KNOWN_LEN];
        let raw = &mut raw[..len.min(KNOWN_LEN)];
        source.read_at(0, raw)?;

        let version = be32(raw, 4);
        check_version(version)?;
        let cluster_bits = be32(raw, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(fault(
                ErrorKind::Corrupt,
                "cluster-bits",
                20,
                format!("clusters of 2^{cluster_bits} bytes; 2^9 to 2^21 are allowed"),
            ));
        }
        let header_len = header_len(raw, version, cluster_bits)?;
        let (features, warnings) = check_features(source, raw, header_len, cluster_bits)?;
        if backing == BackingFile::Refused {
            check_backing(raw)?;
        }
        check_references(source, raw, header_len, cluster_bits)?;

        let mut header = Self {
            version,
            cluster_bits,
            size: be64(raw, 24),
            l1_offset: be64(raw, 40),
            l1_entries: 0,
            extended_l2: features.contains(Incompatible::EXTENDED_L2),
            compression: compression(raw, header_len, features)?,
            warnings,
        };
        if header.extended_l2 && cluster_bits < 14 {
            return Err(fault(
                ErrorKind::Corrupt,
                "cluster-bits",
                20,
                format!("subclusters need clusters of at least 2^14 bytes, not 2^{cluster_bits}"),
            ));
        }
        limits
            .check(header.size)
            .map_err(|e| e.in_format(Format::Qcow2).at(24))?;
        header.l1_entries = header.check_l1(source, be32(raw, 36))?;
        let snapshots = be32(raw, 60);
        if snapshots > 0 {
            header.warnings.push(format!(
                "the image holds {snapshots} internal snapshots, which are ignored; its present \
                 state is read"
            ));
        }
        Ok(header)
    }

    /// log2 of the number of entries in an L2 table.
    pub(crate) fn l2_bits(&self) -> u32 {
        self.cluster_bits - if self.extended_l2 { 4 } else { 3 }
    }

    /// Checks place and size of the L1 table; the number of entries that the size needs.
    fn check_l1<S: Source>(&self, source: &S, l1_size: u32) -> Result<usize> {
        if self.size == 0 {
            return Err(fault(
                ErrorKind::Corrupt,
                "empty-disk",
                24,
                "the virtual disk has a size of 0 bytes",
            ));
        }
        let covered_bits = self.cluster_bits + self.l2_bits();
        let needed = ((self.size - 1) >> covered_bits) + 1;
        if u64::from(l1_size) > MAX_L1_ENTRIES || needed > MAX_L1_ENTRIES {
            return Err(fault(
                ErrorKind::Corrupt,
                "l1-size",
                36,
                format!(
                    "an L1 table of {} entries; {MAX_L1_ENTRIES} are allowed",
                    needed.max(l1_size.into())
                ),
            ));
        }
        if u64::from(l1_size) < needed {
            return Err(fault(
                ErrorKind::Corrupt,
                "l1-size",
                36,
                format!(
                    "the L1 table has {l1_size} entries but {} bytes of disk need {needed}",
                    self.size
                ),
            ));
        }
        if self.l1_offset == 0 || self.l1_offset & ((1 << self.cluster_bits) - 1) != 0 {
            return Err(fault(
                ErrorKind::Corrupt,
                "l1-offset",
                40,
                format!(
                    "the L1 table at byte {} is not on a cluster",
                    self.l1_offset
                ),
            ));
        }
        let too_large = |_| fault(ErrorKind::Corrupt, "l1-size", 36, "an L1 table too large");
        let entries = usize::try_from(needed).map_err(too_large)?;
        check_range(self.l1_offset, entries * 8, source.len())
            .map_err(|e| e.in_format(Format::Qcow2))?;
        Ok(entries)
    }
}

fn check_version(version: u32) -> Result<()> {
    let error = |message: String| fault(ErrorKind::Unsupported, "version", 4, message);
    match version {
        2 | 3 => Ok(()),
        1 => Err(Error::new(
            ErrorKind::Unsupported,
            "qcow1",
            "the file is a qcow image of version 1",
        )
        .with_hint("convert it: `qemu-img convert -f qcow -O qcow2 IMAGE NEW.qcow2`")),
        other => Err(error(format!(
            "version {other} is unknown; versions 2 and 3 are supported"
        ))),
    }
}

/// Length of the header, after which the extensions begin.
fn header_len(raw: &[u8], version: u32, cluster_bits: u32) -> Result<u32> {
    if version == 2 {
        return Ok(72);
    }
    check_range(0, V3_LEN, raw.len() as u64).map_err(|e| e.in_format(Format::Qcow2))?;
    let len = be32(raw, 100);
    if len < 104 || len > 1 << cluster_bits || !len.is_multiple_of(8) {
        return Err(fault(
            ErrorKind::Corrupt,
            "header-length",
            100,
            format!("a header of {len} bytes; 104 to one cluster, in steps of 8, are allowed"),
        ));
    }
    Ok(len)
}

/// Checks the incompatible-feature bits, which exist from version 3 on.
fn check_features<S: Source>(
    source: &S,
    raw: &[u8],
    header_len: u32,
    cluster_bits: u32,
) -> Result<(Incompatible, Vec<String>)> {
    // In a version 2 image the extensions lie where version 3 has its feature bits.
    if header_len < 104 {
        return Ok((Incompatible::empty(), Vec::new()));
    }
    let bits = be64(raw, 72);
    let unknown = bits & !Incompatible::all().bits();
    if unknown != 0 {
        let names = feature_names(source, header_len, cluster_bits, unknown)?;
        return Err(fault(
            ErrorKind::Unsupported,
            "unknown-feature",
            72,
            format!("the image needs features that are not known here: {names}"),
        )
        .with_hint("rewrite it: `qemu-img convert -O qcow2 IMAGE NEW.qcow2`"));
    }
    let features = Incompatible::from_bits_truncate(bits);
    if features.contains(Incompatible::DATA_FILE) {
        return Err(data_file(72));
    }
    if features.contains(Incompatible::CORRUPT) {
        return Err(fault(
            ErrorKind::Corrupt,
            "marked-corrupt",
            72,
            "the image is marked as corrupt",
        )
        .with_hint("check and repair it: `qemu-img check -r all IMAGE`"));
    }
    let mut warnings = Vec::new();
    if features.contains(Incompatible::DIRTY) {
        warnings.push(
            "the image was not closed properly (dirty bit); its reference counts are not used, \
             so it is read as it is"
                .to_owned(),
        );
    }
    Ok((features, warnings))
}

fn data_file(field: u64) -> Error {
    fault(
        ErrorKind::Refused,
        "data-file",
        field,
        "the image keeps its data in an external file, which is never opened",
    )
    .with_hint(
        "where that file is, make a self-contained image: \
         `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
    )
}

/// Refuses an image that is not whole.
fn check_backing(raw: &[u8]) -> Result<()> {
    if be64(raw, 8) == 0 {
        return Ok(());
    }
    Err(fault(
        ErrorKind::Refused,
        "backing-file",
        8,
        "the image is only a difference to a backing file, which is never opened",
    )
    .with_hint(
        "where the backing file is, make a self-contained image: \
         `qemu-img convert -O qcow2 IMAGE NEW.qcow2`",
    ))
}

/// Refuses everything else by which the image would reach outside itself, and encryption.
fn check_references<S: Source>(
    source: &S,
    raw: &[u8],
    header_len: u32,
    cluster_bits: u32,
) -> Result<()> {
    if be32(raw, 32) != 0 {
        return Err(fault(
            ErrorKind::Unsupported,
            "encrypted",
            32,
            "the image is encrypted",
        )
        .with_hint("decrypt it first, with `qemu-img convert` and its key"));
    }
    for extension in extensions(source, header_len, cluster_bits)? {
        if extension.id == EXTENSION_DATA_FILE {
            return Err(data_file(extension.offset));
        }
    }
    Ok(())
}

fn compression(raw: &[u8], header_len: u32, features: Incompatible) -> Result<Compression> {
    let code = match raw.get(104) {
        Some(&code) if header_len > 104 => code,
        _ => 0,
    };
    let marked = features.contains(Incompatible::COMPRESSION);
    match code {
        0 if !marked => Ok(Compression::Deflate),
        1 if marked => Ok(Compression::Zstd),
        0 | 1 => Err(fault(
            ErrorKind::Corrupt,
            "compression-type",
            104,
            format!("compression type {code} contradicts the feature bits"),
        )),
        other => Err(fault(
            ErrorKind::Unsupported,
            "compression-type",
            104,
            format!("compression type {other} is unknown; deflate and zstd are supported"),
        )
        .with_hint("rewrite it: `qemu-img convert -O qcow2 IMAGE NEW.qcow2`")),
    }
}

/// A header extension: where it lies, what it is, and its bytes.
struct Extension {
    offset: u64,
    id: u32,
    data: Vec<u8>,
}

/// The header extensions up to the end marker.
fn extensions<S: Source>(source: &S, header_len: u32, cluster_bits: u32) -> Result<Vec<Extension>> {
    let end = (1u64 << cluster_bits)
        .min(source.len())
        .min(MAX_EXTENSIONS_LEN);
    let start = u64::from(header_len);
    let area_len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut area = vec![0; area_len];
    source.read_at(start, &mut area)?;

    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= area.len() {
        let id = be32(&area, at);
        let len = be32(&area, at + 4);
        let offset = start + at as u64;
        if id == EXTENSION_END {
            break;
        }
        let data = usize::try_from(len)
            .ok()
            .and_then(|len| area[at + 8..].get(..len))
            .ok_or_else(|| {
                fault(
                    ErrorKind::Corrupt,
                    "header-extension",
                    offset,
                    format!("a header extension of {len} bytes passes the end of the header"),
                )
            })?;
        found.push(Extension {
            offset,
            id,
            data: data.to_vec(),
        });
        at += 8 + data.len().next_multiple_of(8);
    }
    Ok(found)
}

/// The names of the feature bits in `unknown`, out of the image's own table where it has one.
fn feature_names<S: Source>(
    source: &S,
    header_len: u32,
    cluster_bits: u32,
    unknown: u64,
) -> Result<String> {
    let table = extensions(source, header_len, cluster_bits)?
        .into_iter()
        .find(|extension| extension.id == EXTENSION_FEATURE_NAMES)
        .map(|extension| extension.data)
        .unwrap_or_default();
    let name = |bit: u32| {
        table
            .chunks_exact(48)
            .find(|entry| entry[0] == 0 && u32::from(entry[1]) == bit)
            .map(|entry| printable(&entry[2..], 46))
            .filter(|name| !name.is_empty())
    };
    let names: Vec<String> = (0..u64::BITS)
        .filter(|bit| unknown >> bit & 1 == 1)
        .map(|bit| match name(bit) {
            Some(name) => format!("bit {bit} ({name})"),
            None => format!("bit {bit}"),
        })
        .collect();
    Ok(names.join(", "))
}
