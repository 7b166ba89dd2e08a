//! Starting and stopping: what happens before the first request and after the last.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abbild_api::Scope;
use anyhow::{Context, bail};
use tempfile::NamedTempFile;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::audit::Origin;
use crate::config::{Config, RegionConfig};
use crate::console::Consoles;
use crate::db::token::NewToken;
use crate::db::{self, Backend, Db, account, action};
use crate::drain::{Drain, Phase};
use crate::region::Region;
use crate::server::{Addresses, Listeners, Serving};
use crate::store::Store;
use crate::tls::{self, Tls};
use crate::uploads::Uploads;
use crate::vm::bridge::{Bridge, RegionBridge};
use crate::vm::qemu::{Qemu, QemuConfig};
use crate::{
    Service, auth, fetch, http, jobs, machine, open_files, removal, retention, summary, telemetry,
};

/// How often a process looks for what another left half done.
const TAKE_UP: Duration = Duration::from_secs(10);

/// What the operator is told once the service answers requests.
#[derive(Debug)]
pub struct Started {
    /// Where it listens.
    pub addresses: Addresses,
    /// The authority behind the certificate that the service made, for clients to trust.
    pub authority: Option<PathBuf>,
    /// The token of the first account, at the first start only.
    pub first_token: Option<String>,
}

/// Runs the service until `stop` is ready, and ends it in order. `ready` is called once, when
/// requests are answered.
///
/// # Errors
/// When the data directory is in use or unusable, or the address cannot be listened on.
pub async fn serve(
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
    ready: impl FnOnce(&Started),
) -> anyhow::Result<()> {
    // Fails if the process has one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::start()?;
    open_files::raise_limit();
    let _lock = lock(&config.data)?;
    let listeners = Listeners::bind(&config)?;
    let addresses = listeners.addresses()?;
    let tls = config.tls.listen.map(|_| Tls::open(&config)).transpose()?;
    let (service, first_token) = open(config).await?;
    let service = Arc::new(service);
    let workers = jobs::start(&service);
    let mut background = JoinSet::new();
    background.spawn(machine::watch(service.clone()));
    background.spawn(machine::keep_connected(service.clone()));
    background.spawn(machine::keep_room(service.clone()));
    background.spawn(tidy(service.clone()));
    background.spawn(take_up(service.clone()));
    background.spawn(http::look_for_changes(service.clone()));
    background.spawn(tls::watch(tls.clone()));
    background.spawn(telemetry::upkeep());
    let metrics = http::metrics::router(service.clone());
    let api = http::router(service.clone());
    let mut serving = listeners.serve(&api, metrics, tls.as_ref())?;
    ready(&Started {
        addresses,
        authority: tls.as_ref().and_then(Tls::authority),
        first_token,
    });
    tokio::select! {
        ended = serving.ended() => return ended,
        () = stop => {}
    }
    drain(&service, serving, workers).await;
    Ok(())
}

/// Ends what runs, in the time that the operator gives it. What does not end in time is not lost:
/// uploads continue where they were counted last, jobs begin anew.
async fn drain(service: &Service, serving: Serving, workers: JoinSet<()>) {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let notice = seconds(service.config.limits.drain_notice_seconds);
    if !notice.is_zero() {
        service.drain.enter(Phase::Leaving);
        tokio::time::sleep(notice).await;
    }
    service.drain.enter(Phase::Draining);
    let limit = seconds(service.config.limits.drain_seconds);
    let sessions = tokio::time::timeout(limit, service.drain.ended());
    let (_, (), ()) = tokio::join!(
        sessions,
        serving.drain(limit),
        jobs::drain(service, workers, limit)
    );
}

/// Keeps a second service away from the same directory, which is made if need be and is nobody
/// else's business.
pub(crate) fn lock(directory: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    restrict(directory)?;
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another service is using {}", directory.display())
        }
        Err(fs::TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Images and keys are nobody else's business.
fn restrict(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("restricting access to {}", directory.display()))
}

/// The name under which the database knows this data directory, whatever process runs on it.
fn node(data: &Path) -> anyhow::Result<String> {
    let path = data.join("node");
    match fs::read_to_string(&path) {
        Ok(name) if !name.is_empty() => Ok(name),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("reading {}", path.display()))
        }
        _ => {
            let name = uuid::Uuid::new_v4().to_string();
            let mut file = NamedTempFile::new_in(data)?;
            file.write_all(name.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)
                .with_context(|| format!("writing {}", path.display()))?;
            File::open(data)?.sync_all()?;
            Ok(name)
        }
    }
}

async fn open(config: Config) -> anyhow::Result<(Service, Option<String>)> {
    let db = Db::open(&config.database_url())
        .await
        .context("opening the database")?;
    let first_token = first_account(&db).await?;
    summary::complete(&db)
        .await
        .context("summarising the reports on images")?;
    let node = node(&config.data)?;
    let mut tx = db.write().await?;
    db::image::recount(&mut tx).await?;
    match db.backend() {
        // Nobody else can hold one: the data directory is locked.
        Backend::Sqlite => action::release_all(&mut tx).await?,
        Backend::Postgres => action::release_of_node(&mut tx, &node).await?,
    }
    for region in config.regions.iter().filter(|r| r.s3.is_none()) {
        db::removal::release(&mut tx, &region.slug, &node).await?;
    }
    db::tag::adopt(&mut tx).await?;
    match action::resume_removals(&mut tx).await? {
        0 => {}
        count => tracing::info!(count, "machines that were deleted are still on a host"),
    }
    tx.commit().await?;

    let staging = config.data.join("staging");
    if staging.exists() {
        // Imports begin again from the upload.
        fs::remove_dir_all(&staging).context("emptying the staging directory")?;
    }
    fs::create_dir_all(&staging)?;
    let shared = config.shared();
    let uploads = Uploads::open(shared)
        .with_context(|| format!("opening the uploads in {}", shared.display()))?;

    let data = fs::canonicalize(&config.data)?;
    let bridge = Arc::new(Bridge::new(config.vm.network.subnet(), &node, &data));
    let mut regions = Vec::new();
    for region in &config.regions {
        regions.push(open_region(&config, region, &bridge).await?);
    }
    let web = fetch::Web::new(&config.fetch)?;
    let service = Service {
        instance: format!("{node}/{}", uuid::Uuid::new_v4()),
        node,
        limiter: http::Limiter::new(&config.limits),
        changes: http::Changes::default(),
        exports: Arc::new(Semaphore::new(http::EXPORTS)),
        consoles: Consoles::default(),
        recent: auth::Recent::default(),
        oidc: auth::oidc::Oidc::new(&config.oidc)?,
        config,
        db,
        regions,
        uploads,
        web,
        image_jobs: Notify::new(),
        fetch_jobs: Notify::new(),
        probe_jobs: Notify::new(),
        droplet_jobs: Notify::new(),
        drain: Drain::default(),
        cancels: Mutex::default(),
    };
    Ok((service, first_token))
}

async fn open_region(
    config: &Config,
    region: &RegionConfig,
    bridge: &Arc<Bridge>,
) -> anyhow::Result<Region> {
    let directory = config.region_directory(region);
    let lock = lock(&directory)?;
    let store = Store::open(&directory, region.s3.as_ref())?;
    let directory = fs::canonicalize(&directory)?;
    let bridge = RegionBridge {
        bridge: bridge.clone(),
        region: region.slug.clone(),
    };
    let driver = QemuConfig {
        bridge: Some(bridge),
        ..config.vm.qemu_config()
    };
    let hypervisor = Qemu::new(directory, driver).await?;
    let probes = hypervisor.beside("probes")?;
    // Whatever runs there was left by a process that is no more; its probes begin again.
    probes.delete_all().await?;
    Ok(Region {
        slug: region.slug.clone(),
        name: region.name.clone(),
        store,
        copy_idle: region.s3.as_ref().map_or(Duration::ZERO, |s3| {
            Duration::from_secs(s3.copy_idle_hours.saturating_mul(3600))
        }),
        hypervisor,
        probes,
        _lock: lock,
    })
}

async fn first_account(db: &Db) -> anyhow::Result<Option<String>> {
    let mut tx = db.write().await?;
    if account::first(&mut *tx).await?.is_some() {
        return Ok(None);
    }
    let id = account::insert(&mut tx, "First account", "admin@localhost").await?;
    let token = auth::generate()?;
    let new = NewToken {
        account: id,
        user: None,
        name: "made at first start",
        sha256: &auth::hash(&token),
        scopes: &Scope::ALL,
        expires_at: None,
    };
    auth::issue(&mut tx, &new, &Origin::system()).await?;
    tx.commit().await?;
    Ok(Some(token))
}

/// Goes on with what is no job and another process, or an earlier one, left half done.
async fn take_up(service: Arc<Service>) {
    loop {
        if let Err(error) = http::upload::resume_all(&service).await {
            tracing::error!(%error, "looking for interrupted uploads failed");
        }
        if let Err(error) = removal::take_up(&service).await {
            tracing::error!(%error, "looking for interrupted removals failed");
        }
        tokio::time::sleep(TAKE_UP).await;
    }
}

/// Removes files of uploads that no row knows.
async fn forget_files(service: &Service) -> anyhow::Result<()> {
    let files = service.uploads.files()?;
    let known = db::upload::all_ids(service.db.read()).await?;
    service.uploads.remove_unknown(&files, &known)?;
    Ok(())
}

/// Removes what nobody needs any longer: at start, and every hour.
async fn tidy(service: Arc<Service>) {
    loop {
        removal::sweep(&service).await;
        if let Err(error) = end_sessions(&service).await {
            tracing::error!(%error, "removing sessions that have ended failed");
        }
        if let Err(error) = http::upload::expire(&service).await {
            tracing::error!(%error, "removing idle uploads failed");
        }
        if let Err(error) = forget_files(&service).await {
            tracing::error!(%error, "removing files of lost uploads failed");
        }
        if let Err(error) = retention::expire(&service.db, &service.config, false).await {
            tracing::error!(%error, "removing what is older than it is kept failed");
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

/// Removes what nobody can log in with any longer.
async fn end_sessions(service: &Service) -> db::Result<()> {
    let mut tx = service.db.write().await?;
    let attempts_since = db::now() - auth::throttle::MEMORY;
    db::session::tidy(&mut tx, auth::session::idle_since(service), attempts_since).await?;
    tx.commit().await
}
