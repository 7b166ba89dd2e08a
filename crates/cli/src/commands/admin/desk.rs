//! Where operators work: the database of a configuration.

use std::sync::Mutex;

use abbild_service::operator::{Operator, Progress};

use crate::args::ServeArgs;
use crate::commands::serve;
use crate::progress::Steps;

/// An operator with the configured database, and what to wait with.
pub struct Desk {
    runtime: tokio::runtime::Runtime,
    pub operator: Operator,
}

impl Desk {
    /// Opens the database of a configuration.
    ///
    /// # Errors
    /// When it cannot be read, or there is no database yet.
    pub fn open(service: &ServeArgs) -> anyhow::Result<Self> {
        let config = serve::config(service)?;
        let runtime = serve::runtime()?;
        let operator = runtime.block_on(Operator::open(&config))?;
        Ok(Self { runtime, operator })
    }

    /// Waits for what the operator does.
    ///
    /// # Errors
    /// Those of the work.
    pub fn wait<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.runtime.block_on(work)
    }
}

/// What shows how far long work is: a bar on a terminal.
pub fn reporter(what: &str) -> impl Fn(Progress<'_>) + Sync {
    let steps = Mutex::new(Steps::new());
    move |progress| {
        if let Ok(mut steps) = steps.lock() {
            steps.step(&format!("{what} {}", progress.step));
            steps.set_of(progress.done, progress.total);
        }
    }
}
