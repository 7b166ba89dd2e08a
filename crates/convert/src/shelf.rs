//! Buffers that are used again.
//!
//! A decoder fills a gigabyte of buffers in a second. Giving each back to the system and taking it
//! anew would cost more time than the decoding.

use std::sync::{Mutex, PoisonError};

/// Buffers of one length.
pub(crate) struct Shelf<T> {
    len: usize,
    spare: Mutex<Vec<Vec<T>>>,
}

impl<T: Copy + Default> Shelf<T> {
    /// A shelf of buffers of `len` elements.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            len,
            spare: Mutex::new(Vec::new()),
        }
    }

    /// A buffer of any content.
    pub(crate) fn take(&self) -> Vec<T> {
        let spare = self.lock().pop();
        spare.unwrap_or_else(|| vec![T::default(); self.len])
    }

    /// Takes a buffer back.
    pub(crate) fn put(&self, buffer: Vec<T>) {
        if buffer.len() == self.len {
            self.lock().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<T>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buffers of any length that are used again, with their capacity.
#[derive(Default)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T: Default> Spare<T> {
    /// A buffer of any content and length.
    pub(crate) fn take(&self) -> T {
        self.lock().pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn put(&self, buffer: T) {
        self.lock().push(buffer);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
