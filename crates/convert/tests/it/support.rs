//! Disks made of patterns, and the programs that judge what we made of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use abbild_convert::{Control, Decoded, Error, StagingOptions, decode_to_staging};
use abbild_disk::{Disk, Extent, ExtentKind, Format, Source, check_range};

pub const CLUSTER: usize = 65536;

/// A disk of `size` zero bytes, except for some patches.
#[derive(Debug, Clone, Default)]
pub struct Patched {
    pub size: u64,
    /// By offset; they do not overlap.
    pub patches: BTreeMap<u64, Vec<u8>>,
    /// Claims that everything is data, in pieces of this many bytes, if not zero.
    pub all_data_in: u64,
}

impl Patched {
    pub fn new(size: u64) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    pub fn with(mut self, offset: u64, bytes: Vec<u8>) -> Self {
        assert!(offset + bytes.len() as u64 <= self.size);
        self.patches.insert(offset, bytes);
        self
    }

    /// The same content as a sparse raw file.
    pub fn write_raw(&self, path: &Path) {
        let file = File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (offset, bytes) in &self.patches {
            file.write_all_at(bytes, *offset).unwrap();
        }
    }
}

impl Source for Patched {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> abbild_disk::Result<()> {
        check_range(offset, buf.len(), self.size)?;
        buf.fill(0);
        let end = offset + buf.len() as u64;
        for (start, bytes) in self.patches.range(..end) {
            let stop = start + bytes.len() as u64;
            let (from, to) = (offset.max(*start), end.min(stop));
            if from < to {
                buf[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
            }
        }
        Ok(())
    }
}

impl Disk for Patched {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn extent_at(&self, offset: u64) -> abbild_disk::Result<Extent> {
        check_range(offset, 1, self.size)?;
        if self.all_data_in > 0 {
            return Ok(Extent {
                offset,
                len: self.all_data_in.min(self.size - offset),
                kind: ExtentKind::Data,
            });
        }
        let before = self.patches.range(..=offset).next_back();
        if let Some((start, bytes)) = before
            && offset < start + bytes.len() as u64
        {
            return Ok(Extent {
                offset,
                len: start + bytes.len() as u64 - offset,
                kind: ExtentKind::Data,
            });
        }
        let next = self.patches.range(offset..).next();
        Ok(Extent {
            offset,
            len: next.map_or(self.size, |(start, _)| *start) - offset,
            kind: ExtentKind::Zero,
        })
    }
}

/// What `input` decodes to, which may have 64 MiB.
pub fn decode(input: &[u8]) -> Result<(Vec<u8>, Decoded), Error> {
    let out = tempfile::tempfile().unwrap();
    let options = StagingOptions { limit: 64 << 20 };
    let decoded = decode_to_staging(input, &out, options, &Control::none())?;
    let mut bytes = vec![0; out.metadata().unwrap().len() as usize];
    out.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(decoded.bytes, bytes.len() as u64);
    Ok((bytes, decoded))
}

/// Bytes that do not compress; the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes that compress well, but differently from line to line.
pub fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 80);
    let mut line = seed;
    while bytes.len() < len {
        bytes.extend_from_slice(format!("{line} kernel: eth{} link up\n", line % 7).as_bytes());
        line = line.wrapping_mul(31).wrapping_add(17) % 1_000_003;
    }
    bytes.truncate(len);
    bytes
}

/// Runs `program`, which has to succeed, and returns what it printed.
pub fn run<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("running `{program}`, which these tests need: {e}"));
    assert!(
        output.status.success(),
        "{program} {:?} failed: {}{}",
        args.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What `qemu-img info` says about `path`, without opening its backing file.
pub fn info(path: &Path) -> serde_json::Value {
    let args = [OsStr::new("info"), "--output=json".as_ref(), path.as_ref()];
    serde_json::from_slice(&run("qemu-img", &args)).unwrap()
}

/// Fails unless `qemu-img check` finds the image clean, leaks included.
pub fn check(path: &Path) {
    run(
        "qemu-img",
        &[OsStr::new("check"), "-q".as_ref(), path.as_ref()],
    );
}

/// Fails unless QEMU reads the same from both images, of which the second is a qcow2.
pub fn compare(format: &str, left: &Path, right: &Path) {
    compare_formats((format, left), ("qcow2", right));
}

/// Fails unless QEMU reads the same from both images, each with its format.
pub fn compare_formats((format, left): (&str, &Path), (other, right): (&str, &Path)) {
    let args = [
        OsStr::new("compare"),
        "-q".as_ref(),
        "-f".as_ref(),
        format.as_ref(),
        "-F".as_ref(),
        other.as_ref(),
        left.as_ref(),
        right.as_ref(),
    ];
    run("qemu-img", &args);
}

/// A new file that can be written and read back.
pub fn create(path: &Path) -> File {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}
