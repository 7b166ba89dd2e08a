//! Two threads joined by a short queue of buffers: the caller produces, a helper consumes.
//!
//! Decompressing and writing, or reading and hashing, then take the time of the slower of the two
//! instead of their sum. Buffers go round and round, so memory stays at [`DEPTH`] + 2 chunks.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::{Error, Result};

/// Capacity of each buffer in bytes; a multiple of every block size in use.
pub(crate) const CHUNK: usize = 1 << 20;

/// Buffers that may wait between the two threads.
const DEPTH: usize = 4;

/// The producer's end.
pub(crate) struct Sink {
    filled: SyncSender<(Vec<u8>, usize)>,
    recycled: Receiver<Vec<u8>>,
}

impl Sink {
    /// A buffer of [`CHUNK`] bytes with unspecified content.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.recycled.try_recv().unwrap_or_else(|_| vec![0; CHUNK])
    }

    /// Hands over the first `len` bytes of `buffer`.
    ///
    /// # Errors
    /// If the consumer has failed; [`overlapped`] then returns the consumer's error instead.
    pub(crate) fn push(&self, buffer: Vec<u8>, len: usize) -> Result<()> {
        self.filled.send((buffer, len)).map_err(|_| {
            let cause = io::Error::from(io::ErrorKind::BrokenPipe);
            Error::io("handing data to the second thread", cause)
        })
    }
}

/// Runs `produce` here and `consume`, for each pushed chunk in order, on a second thread.
///
/// # Errors
/// The consumer's error if it failed, otherwise the producer's.
pub(crate) fn overlapped<T>(
    mut consume: impl FnMut(&[u8]) -> Result<()> + Send,
    produce: impl FnOnce(&Sink) -> Result<T>,
) -> Result<T> {
    let (filled, incoming) = sync_channel::<(Vec<u8>, usize)>(DEPTH);
    let (give_back, recycled) = sync_channel(DEPTH + 2);
    thread::scope(|scope| {
        let consumer = scope.spawn(move || {
            for (buffer, len) in incoming {
                consume(buffer.get(..len).unwrap_or(&buffer))?;
                // A full or closed return queue only means that the buffer is freed.
                let _ = give_back.try_send(buffer);
            }
            Ok(())
        });
        let produced = produce(&Sink { filled, recycled });
        match consumer.join() {
            Ok(Ok(())) => produced,
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn chunks_arrive_in_order_and_whole() {
        let mut seen = Vec::new();
        let pushed = overlapped(
            |bytes| {
                seen.push((bytes[0], bytes.len()));
                Ok(())
            },
            |sink| {
                for n in 1..=50u8 {
                    let mut buffer = sink.buffer();
                    buffer[0] = n;
                    sink.push(buffer, usize::from(n))?;
                }
                Ok(50)
            },
        )
        .unwrap();
        assert_eq!(pushed, 50);
        let expected: Vec<_> = (1..=50u8).map(|n| (n, usize::from(n))).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_consumers_error_wins() {
        let error = overlapped(
            |_| Err(Error::cancelled()),
            |sink| {
                loop {
                    sink.push(sink.buffer(), 1)?;
                }
                #[allow(unreachable_code)]
                Ok(())
            },
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
