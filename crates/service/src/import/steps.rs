//! The steps of an import that touch the bytes. They block, take a bounded amount of memory, and
//! know nothing of the database.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use abbild_convert::{
    Compression, Control, DETECT_LEN, Encoded, Options, Progress, StagingOptions,
    decode_to_staging, encode as encode_canonical,
};
use abbild_disk::{Disk, FileSource, Image};
use abbild_guest::{Checked, Context as CheckContext};
use anyhow::Context;
use tempfile::NamedTempFile;

use super::Checksum;
use crate::jobs::JobContext;
use crate::retry::of_convert;

/// A disk image in a file.
pub type FileImage = Image<Arc<FileSource>>;

/// Whether the upload is what its owner expects.
pub fn verify(checksum: &Checksum, path: &Path, job: &JobContext) -> anyhow::Result<()> {
    with_control(job, |control| checksum.verify(path, control))
}

/// Whether the upload is compressed, by its first bytes. Hands the path back.
pub fn detect(path: &Path) -> anyhow::Result<(PathBuf, Option<Compression>)> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(DETECT_LEN as u64).read_to_end(&mut head))
        .context("reading the upload")?;
    Ok((path.to_owned(), Compression::detect(&head)))
}

/// Decompresses `from` into the sparse file `to` of at most `limit` bytes, and returns `to`.
pub fn unpack(from: &Path, to: PathBuf, limit: u64, job: &JobContext) -> anyhow::Result<PathBuf> {
    let input = FileSource::open(from).context("reading the upload")?;
    let options = StagingOptions { limit };
    let output = File::create(&to).context("creating a staging file")?;
    with_control(job, |control| {
        decode_to_staging(&input, &output, options, control).map_err(of_convert)
    })?;
    Ok(to)
}

/// The report on a plain disk image, and the disk if it could be opened.
pub fn check(path: &Path, context: CheckContext) -> anyhow::Result<Checked<FileSource>> {
    let source = FileSource::open(path).context("opening the image")?;
    Ok(abbild_guest::check(source, context))
}

/// Writes the canonical form of `disk` into `file`.
pub fn encode<D: Disk + Sync>(
    disk: &D,
    file: NamedTempFile,
    job: &JobContext,
) -> anyhow::Result<(NamedTempFile, Encoded)> {
    let encoded = with_control(job, |control| {
        encode_canonical(disk, file.as_file(), Options::default(), control).map_err(of_convert)
    })?;
    Ok((file, encoded))
}

fn with_control<T>(job: &JobContext, step: impl FnOnce(&Control<'_>) -> T) -> T {
    let progress = |p: Progress| job.progress(p);
    step(
        &Control::none()
            .with_progress(&progress)
            .with_cancel(&job.cancel),
    )
}
