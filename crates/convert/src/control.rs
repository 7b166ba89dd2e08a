//! How a caller watches a long piece of work and stops it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// How far a piece of work has come, in bytes of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes dealt with so far; never decreases.
    pub done: u64,
    /// Bytes there are in all, where that is known.
    pub total: Option<u64>,
}

/// A progress callback and a stop flag, both optional.
///
/// The callback runs on the calling thread, about once per megabyte. The flag is looked at just as
/// often; once it is true the work ends with [`crate::ErrorKind::Cancelled`].
#[derive(Clone, Copy, Default)]
pub struct Control<'a> {
    progress: Option<&'a dyn Fn(Progress)>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Control<'a> {
    /// Neither watched nor stoppable.
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `progress` as the work goes on.
    #[must_use]
    pub fn with_progress(mut self, progress: &'a dyn Fn(Progress)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Stops the work soon after `cancel` becomes true.
    #[must_use]
    pub fn with_cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// The same stop flag without the callback, for a part of the work that does not count.
    pub(crate) fn without_progress(&self) -> Self {
        Self {
            progress: None,
            cancel: self.cancel,
        }
    }

    /// Reports progress, and fails if the work is to stop.
    pub(crate) fn step(&self, done: u64, total: Option<u64>) -> Result<()> {
        if self.cancel.is_some_and(|c| c.load(Ordering::Relaxed)) {
            return Err(Error::cancelled());
        }
        if let Some(progress) = self.progress {
            progress(Progress { done, total });
        }
        Ok(())
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("progress", &self.progress.is_some())
            .field("cancel", &self.cancel)
            .finish()
    }
}
