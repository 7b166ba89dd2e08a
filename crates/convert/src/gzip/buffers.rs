//! Buffers that are used again.
//!
//! A decoder fills a gigabyte of buffers in a second. Giving each back to the system and taking it
//! anew would cost more time than the decoding.

use std::sync::{Mutex, PoisonError};

/// Buffers of one length.
pub(super) struct Shelf<T> {
    len: usize,
    spare: Mutex<Vec<Vec<T>>>,
}

impl<T: Copy + Default> Shelf<T> {
    fn new(len: usize) -> Self {
        Self {
            len,
            spare: Mutex::new(Vec::new()),
        }
    }

    /// A buffer of any content.
    pub(super) fn take(&self) -> Vec<T> {
        let spare = self.lock().pop();
        spare.unwrap_or_else(|| vec![T::default(); self.len])
    }

    /// Takes a buffer back.
    pub(super) fn put(&self, buffer: Vec<T>) {
        if buffer.len() == self.len {
            self.lock().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<T>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All buffers of one decoder. No more are made than are in use at the same time.
pub(super) struct Buffers {
    /// For known bytes.
    pub(super) plain: Shelf<u8>,
    /// For bytes and references.
    pub(super) marked: Shelf<u16>,
    /// For pieces of the input.
    pub(super) input: Shelf<u8>,
}

impl Buffers {
    /// For output buffers of `output` symbols and pieces of `input` bytes.
    pub(super) fn new(output: usize, input: usize) -> Self {
        Self {
            plain: Shelf::new(output),
            marked: Shelf::new(output),
            input: Shelf::new(input),
        }
    }
}
