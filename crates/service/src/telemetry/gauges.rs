//! States, looked up when they are asked for. Those of the database are those of all processes
//! that share it.

use abbild_api::DropletStatus;
use metrics::{Unit, describe_gauge, gauge};

use crate::Service;
use crate::db::{self, census};
use crate::uploads::capacity;

const JOBS: &str = "abbild_jobs";
const OLDEST: &str = "abbild_jobs_oldest_ready_seconds";
const STORE_OBJECTS: &str = "abbild_store_objects";
const STORE_BYTES: &str = "abbild_store_bytes";
const STORE_FREE: &str = "abbild_store_free_bytes";
const STAGING_FREE: &str = "abbild_staging_free_bytes";
const UPLOADS: &str = "abbild_uploads_active";
const VMS: &str = "abbild_vms";
const CONNECTIONS: &str = "abbild_database_connections";
const BUILD: &str = "abbild_build_info";

pub fn describe() {
    describe_gauge!(
        JOBS,
        "Jobs that are not done: `ready` for a worker, `leased` by one, or `waiting` for something else"
    );
    describe_gauge!(
        OLDEST,
        Unit::Seconds,
        "How long the oldest job that is ready has been waiting for a worker"
    );
    describe_gauge!(STORE_OBJECTS, "Canonical images in the store of a region");
    describe_gauge!(
        STORE_BYTES,
        Unit::Bytes,
        "Bytes of the canonical images in the store of a region"
    );
    describe_gauge!(
        STORE_FREE,
        Unit::Bytes,
        "Bytes that are free on the filesystem of a region's store"
    );
    describe_gauge!(
        STAGING_FREE,
        Unit::Bytes,
        "Bytes that are free on the filesystem of uploads and staging files"
    );
    describe_gauge!(UPLOADS, "Uploads that have not all of their bytes");
    describe_gauge!(VMS, "Virtual machines by region and state");
    describe_gauge!(
        CONNECTIONS,
        "Connections to the database that this process has: `idle`, or `used`"
    );
    describe_gauge!(BUILD, "Always 1; the version is a label");
}

/// Looks everything up.
///
/// # Errors
/// When the database cannot be asked.
#[allow(clippy::cast_precision_loss)] // a gauge is a float, whatever it counts
pub async fn collect(service: &Service) -> anyhow::Result<()> {
    let db = service.db.read();
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);

    let now = db::now();
    let jobs = census::jobs(db, now).await?;
    for kind in ["image", "fetch", "droplet"] {
        for state in ["ready", "leased", "waiting"] {
            let of = jobs
                .iter()
                .find(|row| row.kind == kind && row.state == state);
            gauge!(JOBS, "kind" => kind, "state" => state)
                .set(of.map_or(0.0, |row| row.count as f64));
            if state == "ready" {
                let age = of.map_or(0, |row| now - row.oldest);
                gauge!(OLDEST, "kind" => kind).set(age.max(0) as f64);
            }
        }
    }

    let stores = census::stores(db).await?;
    let vms = census::vms(db).await?;
    for region in &service.regions {
        let slug = region.slug.clone();
        let stored = stores.iter().find(|row| row.region == slug);
        gauge!(STORE_OBJECTS, "region" => slug.clone())
            .set(stored.map_or(0.0, |row| row.objects as f64));
        gauge!(STORE_BYTES, "region" => slug.clone())
            .set(stored.map_or(0.0, |row| row.bytes as f64));
        if let Some(free) = region.store.free_bytes() {
            gauge!(STORE_FREE, "region" => slug.clone()).set(free as f64);
        }
        for status in [
            DropletStatus::New,
            DropletStatus::Active,
            DropletStatus::Off,
        ] {
            let state = db::word(status);
            let of = |row: &&census::VmsRow| row.region == slug && row.status == state;
            let count = vms.iter().find(of).map_or(0.0, |row| row.count as f64);
            gauge!(VMS, "region" => slug.clone(), "state" => state).set(count);
        }
    }

    gauge!(UPLOADS).set(census::uploads(db).await? as f64);
    if let Ok(free) = capacity::free(service.uploads.directory()) {
        gauge!(STAGING_FREE).set(free as f64);
    }
    let idle = db.num_idle() as f64;
    gauge!(CONNECTIONS, "state" => "idle").set(idle);
    gauge!(CONNECTIONS, "state" => "used").set((f64::from(db.size()) - idle).max(0.0));
    Ok(())
}
