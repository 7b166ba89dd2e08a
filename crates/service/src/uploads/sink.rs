//! Writing what arrives into the file of an upload.
//!
//! Pieces are collected without being copied and written a batch at a time on a thread that may
//! block, while the next batch arrives. The kernel is asked early to begin writing to the disk, so
//! that the sync at a checkpoint is short.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use bytes::{Buf as _, Bytes};
use tokio::task::JoinHandle;

use super::Uploads;
use super::checksum::Hasher;

/// How much is written before the disk is asked to begin.
const WRITEBACK: u64 = 4 << 20;

/// Slices per system call; Linux takes 1024.
const MAX_SLICES: usize = 256;

/// The file of an upload, open at its end.
#[derive(Debug)]
pub struct Sink {
    uploads: Uploads,
    /// Absent while a batch is being written, and for good after a failure.
    target: Option<Target>,
    writing: Option<JoinHandle<io::Result<Target>>>,
    batch: Vec<Bytes>,
    batch_bytes: usize,
}

/// What a batch is written to.
#[derive(Debug)]
struct Target {
    file: File,
    /// Where the next byte goes.
    position: u64,
    /// Up to where the disk has been asked to begin.
    begun: u64,
    /// Fed with everything that is written.
    hasher: Option<Hasher>,
}

impl Sink {
    /// Opens the file of upload `id`, making it if need be, and cuts it to `offset` bytes, which are
    /// what is safe. `hasher` is fed with what follows.
    ///
    /// # Errors
    /// Those of opening; [`io::ErrorKind::UnexpectedEof`] if the file has lost bytes.
    pub async fn open(
        uploads: &Uploads,
        id: &str,
        offset: u64,
        hasher: Option<Hasher>,
    ) -> io::Result<Self> {
        Self::open_with(uploads, id, offset, hasher, true).await
    }

    /// The same with a file that must be there: a fetch makes its own before it begins.
    ///
    /// # Errors
    /// As for [`Sink::open`], and when it is gone.
    pub async fn reopen(uploads: &Uploads, id: &str, offset: u64) -> io::Result<Self> {
        Self::open_with(uploads, id, offset, None, false).await
    }

    async fn open_with(
        uploads: &Uploads,
        id: &str,
        offset: u64,
        hasher: Option<Hasher>,
        create: bool,
    ) -> io::Result<Self> {
        let path = uploads.path(id);
        let file = uploads.on_disk(move || open(&path, offset, create)).await?;
        Ok(Self {
            uploads: uploads.clone(),
            target: Some(Target {
                file,
                position: offset,
                begun: offset,
                hasher,
            }),
            writing: None,
            batch: Vec::new(),
            batch_bytes: 0,
        })
    }

    /// Takes `bytes`; returns as soon as there is room for more.
    ///
    /// # Errors
    /// Those of writing this or what came before.
    pub async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes >= self.uploads.batch_bytes() {
            self.begin_write().await?;
        }
        Ok(())
    }

    /// Hands what was collected to a thread.
    async fn begin_write(&mut self) -> io::Result<()> {
        let mut target = self.settle().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let uploads = self.uploads.clone();
        self.writing = Some(tokio::spawn(async move {
            uploads
                .on_disk(move || target.write(batch).map(|()| target))
                .await
        }));
        Ok(())
    }

    /// Waits for the batch that is being written.
    async fn settle(&mut self) -> io::Result<Target> {
        if let Some(writing) = self.writing.take() {
            return writing.await.map_err(io::Error::other)?;
        }
        self.target
            .take()
            .ok_or_else(|| io::Error::other("an earlier write failed"))
    }

    /// Writes everything that was collected; how many bytes the file has then.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn flush(&mut self) -> io::Result<u64> {
        if !self.batch.is_empty() {
            self.begin_write().await?;
        }
        let target = self.settle().await?;
        let position = target.position;
        self.target = Some(target);
        Ok(position)
    }

    /// Whether a write has failed. What came since the last flush may be lost then, and nothing can be
    /// written any more.
    pub fn has_failed(&self) -> bool {
        self.target.is_none() && self.writing.is_none()
    }

    /// Another handle to the file, between two writes.
    ///
    /// # Errors
    /// Those of `dup`, and if a write is under way.
    pub fn file(&self) -> io::Result<File> {
        match &self.target {
            Some(target) => target.file.try_clone(),
            None => Err(io::Error::other("a write is under way")),
        }
    }

    /// Takes back what was written from `offset` on.
    ///
    /// # Errors
    /// Those of truncating.
    pub async fn cut(&mut self, offset: u64) -> io::Result<()> {
        self.batch.clear();
        self.batch_bytes = 0;
        let mut target = self.settle().await?;
        target.file.set_len(offset)?;
        target.position = offset;
        target.begun = target.begun.min(offset);
        self.target = Some(target);
        Ok(())
    }

    /// The hasher, which has seen all that was flushed.
    pub fn take_hasher(&mut self) -> Option<Hasher> {
        self.target.as_mut().and_then(|target| target.hasher.take())
    }
}

fn open(path: &Path, offset: u64, create: bool) -> io::Result<File> {
    let new = create && !path.exists();
    let file = File::options()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .open(path)?;
    let len = file.metadata()?.len();
    if len < offset {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "{} has {len} bytes, but {offset} were counted",
                path.display()
            ),
        ));
    }
    if len > offset {
        file.set_len(offset)?;
    }
    // The name must be as safe as what is written under it.
    if new {
        sync_directory(path)?;
    }
    Ok(file)
}

/// Makes the name of `path` durable.
///
/// # Errors
/// Those of opening and syncing its directory.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

impl Target {
    fn write(&mut self, batch: Vec<Bytes>) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            for bytes in &batch {
                hasher.update(bytes);
            }
        }
        let mut rest = std::collections::VecDeque::from(batch);
        while !rest.is_empty() {
            let slices: Vec<IoSlice<'_>> = rest
                .iter()
                .take(MAX_SLICES)
                .map(|bytes| IoSlice::new(bytes))
                .collect();
            let written = match rustix::io::pwritev(&self.file, &slices, self.position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            self.position += written as u64;
            consume(&mut rest, written);
        }
        if self.position - self.begun >= WRITEBACK {
            let len = self.position - self.begun;
            abbild_convert::start_writeback(&self.file, self.begun, len);
            self.begun = self.position;
        }
        Ok(())
    }
}

/// Drops the first `len` bytes.
fn consume(rest: &mut std::collections::VecDeque<Bytes>, mut len: usize) {
    while let Some(first) = rest.front_mut() {
        if first.len() > len {
            first.advance(len);
            return;
        }
        len -= first.len();
        rest.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_and_can_be_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path()).unwrap();
        let mut sink = Sink::open(&uploads, "a", 0, None).await.unwrap();
        let mut expected = Vec::new();
        for n in 0_u32..3000 {
            let piece = vec![n as u8; 1 + (n as usize * 7) % 2000];
            expected.extend_from_slice(&piece);
            sink.push(piece.into()).await.unwrap();
        }
        assert_eq!(sink.flush().await.unwrap(), expected.len() as u64);
        assert!(std::fs::read(uploads.path("a")).unwrap() == expected);
        sink.push(Bytes::from_static(b"never")).await.unwrap();
        sink.flush().await.unwrap();
        sink.cut(10).await.unwrap();
        sink.push(Bytes::from_static(b"end")).await.unwrap();
        assert_eq!(sink.flush().await.unwrap(), 13);
        let file = std::fs::read(uploads.path("a")).unwrap();
        assert_eq!(file, [&expected[..10], b"end"].concat());
    }

    #[tokio::test]
    async fn only_what_is_safe_is_continued_and_lost_bytes_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path()).unwrap();
        std::fs::write(uploads.path("a"), b"safe, and more").unwrap();
        let mut sink = Sink::open(&uploads, "a", 4, None).await.unwrap();
        sink.push(Bytes::from_static(b"ty")).await.unwrap();
        sink.flush().await.unwrap();
        assert_eq!(std::fs::read(uploads.path("a")).unwrap(), b"safety");
        let error = Sink::open(&uploads, "a", 7, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
