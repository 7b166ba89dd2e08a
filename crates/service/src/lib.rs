//! The Abbild server as a library: uploads, import, regions and virtual machines behind an
//! HTTP API.
//!
//! [`serve`] is the whole of it: it opens the data directory, starts the workers and answers
//! requests until it is told to stop. Requests (`http`) only read and move rows and never work
//! long themselves; every long step is an action that a worker (`jobs`) carries out: fetching what
//! a URL leads to (`fetch`), an import (`import`), a copy to a region (`region`), a boot to see what becomes of an image (`probe`), a machine (`machine`, `vm`). All state that must
//! survive is in the database (`db`) and in files that are synced before they are relied upon.

mod audit;
mod auth;
pub mod config;
mod console;
mod db;
pub mod doctor;
mod drain;
mod fetch;
mod http;
mod import;
mod jobs;
mod machine;
mod open_files;
pub mod operator;
mod probe;
mod quota;
mod region;
mod removal;
mod retention;
mod retry;
mod schema;
mod server;
mod size;
mod start;
mod store;
mod summary;
mod telemetry;
mod tls;
mod uploads;
pub mod vm;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

pub use config::Config;
pub use http::document as openapi;
pub use schema::{Schema, schema, schema_back};
pub use server::Addresses;
pub use start::{Started, serve};

use db::action::ActionRow;
use db::{Db, Tx};
use drain::Drain;
use region::Region;
use uploads::Uploads;

/// Everything that requests and jobs share.
#[derive(Debug)]
pub struct Service {
    config: Config,
    db: Db,
    regions: Vec<Region>,
    uploads: Uploads,
    /// What imports by URL are fetched with.
    web: fetch::Web,
    limiter: http::Limiter,
    /// Who follows what changes.
    changes: http::Changes,
    /// One permit for each image that is compressed while it is sent.
    exports: Arc<Semaphore>,
    /// Who watches which serial console.
    consoles: console::Consoles,
    recent: auth::Recent,
    oidc: Option<auth::oidc::Oidc>,
    /// Names the data directory of this process, and the machines on it, over restarts.
    node: String,
    /// Names this run of the process in leases: the node, a slash, and a part of its own.
    instance: String,
    image_jobs: Notify,
    fetch_jobs: Notify,
    probe_jobs: Notify,
    droplet_jobs: Notify,
    /// Whether the service is being stopped.
    drain: Drain,
    /// By action, of jobs that run here: to stop them when the image is deleted.
    cancels: Mutex<HashMap<i64, Arc<AtomicBool>>>,
}

impl Service {
    /// The region `slug`.
    fn region(&self, slug: &str) -> anyhow::Result<&Region> {
        self.regions
            .iter()
            .find(|region| region.slug == slug)
            .ok_or_else(|| anyhow::anyhow!("region `{slug}` is no longer configured"))
    }

    /// A transaction for a job, which checks that the job is still this process's to do: after a
    /// long stall another process may have taken it over, or its image was deleted.
    async fn write_for(&self, action: &ActionRow) -> anyhow::Result<Tx> {
        let mut tx = self.db.write().await?;
        if !db::action::is_held(&mut tx, action.id, &self.instance).await? {
            anyhow::bail!("the job was called off, or taken over by another process");
        }
        Ok(tx)
    }

    /// What wakes the workers of a kind: `image`, `fetch`, `probe` or `droplet`.
    fn wake(&self, jobs: &str) -> &Notify {
        match jobs {
            "image" => &self.image_jobs,
            "fetch" => &self.fetch_jobs,
            "probe" => &self.probe_jobs,
            _ => &self.droplet_jobs,
        }
    }

    /// Tells an idle worker that an action is ready. Called after the commit.
    fn announce(&self, jobs: &str) {
        self.wake(jobs).notify_one();
    }

    fn cancels(&self) -> MutexGuard<'_, HashMap<i64, Arc<AtomicBool>>> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel_flag(&self, action: &ActionRow) -> Arc<AtomicBool> {
        let flag = Arc::new(AtomicBool::new(false));
        self.cancels().insert(action.id, flag.clone());
        flag
    }

    fn drop_cancel_flag(&self, action: &ActionRow) {
        self.cancels().remove(&action.id);
    }

    /// Asks all running jobs to stop soon.
    fn cancel_all(&self) {
        for flag in self.cancels().values() {
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// Asks a running job to stop soon.
    fn cancel(&self, action: i64) {
        if let Some(flag) = self.cancels().get(&action) {
            flag.store(true, Ordering::Relaxed);
        }
    }
}
