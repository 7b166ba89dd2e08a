//! streamOptimized: compressed grains one after another, for transport; the disk of an OVA.
//!
//! Header, descriptor, grains in the order of the disk, each after a marker and padded to a sector.
//! After the grains of each table that has any comes the table, in the end the directory, a footer,
//! which is the header with the directory's offset in it, and an end-of-stream marker.
//!
//! | Dec | Name   | grain marker                  | other markers                                |
//! |----:|--------|-------------------------------|----------------------------------------------|
//! |   0 | value  | first sector on the disk      | sectors that follow                          |
//! |   8 | size   | bytes of zlib data            | 0                                            |
//! |  12 | type   | the zlib data begin here      | 0 end of stream, 1 GT, 2 GD, 3 footer        |

use abbild_disk::Disk;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::sparse::sector;
use super::{
    DESCRIPTOR_OFFSET, DESCRIPTOR_SECTORS, ENTRIES, GRAIN, GRAIN_SECTORS, Header, TABLE_SECTORS,
    check_size, write_descriptor,
};
use crate::durable::SECTOR;
use crate::export::Job;
use crate::export::blocks::{BATCH, checksum};
use crate::export::identity::{Fingerprint, Identity};
use crate::output::{Completion, Output};
use crate::pool::{self, Line};
use crate::ranges::{Range, Ranges};
use crate::{Error, Result};

/// The newline detection is valid, grains are compressed, and there are markers.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
/// Where the header of a stream says that the directory is: look into the footer.
const AT_END: u64 = u64::MAX;
/// zlib's default, which other writers of this format use.
const LEVEL: u32 = 6;
const GRAIN_MARKER: usize = 12;
/// The most that one grain takes: deflate adds at most a few bytes per 16 KiB, far below this.
const MAX_STORED: usize = GRAIN as usize + 1024;

const GT: u32 = 1;
const GD: u32 = 2;
const FOOTER: u32 = 3;

/// Writes a stream and returns its length.
pub(in crate::export) fn write<D: Disk + Sync + ?Sized>(job: &Job<'_, D>) -> Result<u64> {
    check_size(job)?;
    let tables = job.virtual_size.div_ceil(GRAIN).div_ceil(ENTRIES);
    let overhead = (DESCRIPTOR_OFFSET + DESCRIPTOR_SECTORS).next_multiple_of(GRAIN_SECTORS);
    let header = |directory| Header {
        version: 3,
        flags: FLAGS,
        capacity: job.virtual_size / SECTOR,
        redundant_directory: 0,
        directory,
        overhead,
        compression: 1,
    };
    let begin = |identity: &Identity| {
        job.out.write(0, &header(AT_END).to_bytes())?;
        write_descriptor(job, "streamOptimized", identity)
    };
    let known = job.out.identity();
    if let Some(identity) = &known {
        begin(identity)?;
    }
    let mut stream = Stream {
        out: job.out,
        end: overhead * SECTOR,
        directory: vec![0; tables as usize],
        table: vec![0; ENTRIES as usize],
        current: None,
        completion: Completion::default(),
    };
    let mut ranges = Ranges::new(job.disk, GRAIN, BATCH);
    let mut fingerprint = Fingerprint::new(job.virtual_size);
    pool::in_order(
        job.threads,
        |batch: &mut Batch| {
            let next = ranges.next()?;
            batch.range = next.unwrap_or_default();
            Ok(next.is_some())
        },
        &Packing(job.disk),
        |batch| {
            job.step(batch.range.offset)?;
            for grain in &batch.grains {
                fingerprint.add(grain.index, grain.checksum);
            }
            stream.append(batch)
        },
    )?;
    job.done()?;
    let directory = stream.close()?;
    stream.marked(FOOTER, &header(u64::from(directory)).to_bytes())?;
    // The end-of-stream marker is a sector of zeros.
    let end = stream.end + SECTOR;
    if known.is_none() {
        // The beginning comes last, so that an unfinished file is not an image.
        begin(&fingerprint.finish())?;
    }
    job.out.finish(end)
}

/// A grain that is not all zeros.
struct Grain {
    /// Its number on the disk.
    index: u64,
    /// Of its content.
    checksum: u32,
    /// What it takes in the file, in bytes: whole sectors.
    stored: usize,
}

#[derive(Default)]
struct Batch {
    range: Range,
    grains: Vec<Grain>,
    /// The grains as they go into the file, without gaps. Its length is meaningless.
    bytes: Vec<u8>,
}

/// The worker's part: reading and compressing.
struct Packing<'a, D: ?Sized>(&'a D);

impl<D: Disk + Sync + ?Sized> Line<Batch> for Packing<'_, D> {
    type Worker = (Compress, Vec<u8>);

    fn worker(&self) -> Result<Self::Worker> {
        let input = vec![0; BATCH as usize];
        Ok((Compress::new(Compression::new(LEVEL), true), input))
    }

    fn work(&self, (compress, input): &mut Self::Worker, batch: &mut Batch) -> Result<()> {
        let padded = (batch.range.len as usize).next_multiple_of(GRAIN as usize);
        let input = &mut input[..padded];
        batch.range.read(self.0, input)?;
        batch.grains.clear();
        let most = (BATCH / GRAIN) as usize * MAX_STORED;
        batch.bytes.resize(most, 0);
        let mut filled = 0;
        let first = batch.range.offset / GRAIN;
        for (index, grain) in (first..).zip(input.chunks(GRAIN as usize)) {
            let Some(checksum) = checksum(grain) else {
                continue;
            };
            let target = &mut batch.bytes[filled..filled + MAX_STORED];
            let stored = pack(compress, index, grain, target)?;
            filled += stored;
            batch.grains.push(Grain {
                index,
                checksum,
                stored,
            });
        }
        Ok(())
    }
}

/// Puts a grain with its marker at the start of `target` and returns how many bytes it takes.
fn pack(compress: &mut Compress, index: u64, grain: &[u8], target: &mut [u8]) -> Result<usize> {
    let failed = |why: String| Error::io("compressing a grain", std::io::Error::other(why));
    compress.reset();
    let status = compress
        .compress(grain, &mut target[GRAIN_MARKER..], FlushCompress::Finish)
        .map_err(|e| failed(e.to_string()))?;
    if status != Status::StreamEnd {
        return Err(failed(format!("{status:?} instead of an end")));
    }
    let size = compress.total_out() as usize;
    target[..8].copy_from_slice(&(index * GRAIN_SECTORS).to_le_bytes());
    target[8..GRAIN_MARKER].copy_from_slice(&(size as u32).to_le_bytes());
    let end = GRAIN_MARKER + size;
    let stored = end.next_multiple_of(SECTOR as usize);
    target[end..stored].fill(0);
    Ok(stored)
}

/// The calling thread's part.
struct Stream<'a> {
    out: &'a Output<'a>,
    /// The end of the file so far; at a sector.
    end: u64,
    /// Sectors of the grain tables.
    directory: Vec<u32>,
    /// The table that grains are being added to, and its number.
    table: Vec<u32>,
    current: Option<u64>,
    completion: Completion,
}

impl Stream<'_> {
    /// Appends the grains of `batch`, and the tables that end within it.
    fn append(&mut self, batch: &Batch) -> Result<()> {
        let mut rest = batch.bytes.as_slice();
        // Those of one table are written at once.
        for grains in batch
            .grains
            .chunk_by(|left, right| left.index / ENTRIES == right.index / ENTRIES)
        {
            let Some(first) = grains.first() else {
                continue;
            };
            let number = first.index / ENTRIES;
            if self.current != Some(number) {
                self.close_table()?;
                self.current = Some(number);
            }
            let start = self.end;
            for grain in grains {
                self.table[(grain.index % ENTRIES) as usize] = sector(self.end)?;
                self.end += grain.stored as u64;
            }
            let bytes;
            (bytes, rest) = rest.split_at((self.end - start) as usize);
            self.completion.write(self.out, start, bytes)?;
        }
        Ok(())
    }

    /// Appends the last table and the directory, and returns the directory's sector.
    fn close(&mut self) -> Result<u32> {
        self.close_table()?;
        let directory = to_bytes(&self.directory);
        self.marked(GD, &directory)
    }

    fn close_table(&mut self) -> Result<()> {
        if let Some(current) = self.current.take() {
            let table = to_bytes(&self.table);
            self.directory[current as usize] = self.marked(GT, &table)?;
            self.table.fill(0);
        }
        Ok(())
    }

    /// Appends `content` after a marker of type `kind`, and returns the content's sector.
    fn marked(&mut self, kind: u32, content: &[u8]) -> Result<u32> {
        let sectors = (content.len() as u64).div_ceil(SECTOR);
        let mut bytes = sectors.to_le_bytes().to_vec();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.resize(SECTOR as usize, 0);
        bytes.extend_from_slice(content);
        bytes.resize(((1 + sectors) * SECTOR) as usize, 0);
        self.completion.write(self.out, self.end, &bytes)?;
        let place = sector(self.end + SECTOR)?;
        self.end += bytes.len() as u64;
        Ok(place)
    }
}

fn to_bytes(entries: &[u32]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect()
}

const _: () = assert!(TABLE_SECTORS * SECTOR == ENTRIES * 4);
