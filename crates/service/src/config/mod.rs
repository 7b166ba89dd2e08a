//! The configuration: one TOML file, every value with a default that works on one machine.
//!
//! `abbild.example.toml` explains each setting. Unknown keys are errors, so that a misspelt one is
//! found at start and not by its absence. Variables of the environment override the file, options
//! of the command line both ([`Sources`]); everything that is wrong is said at once, with its line
//! ([`Mistakes`]). A new setting is a field below, a check in [`Config::issues`] where its type
//! says too little, and a paragraph in the example file; the rest follows.

mod bytes;
mod document;
mod load;
mod mistake;
mod network;
mod oidc;
mod operation;
mod quotas;
mod s3;
mod secret;
mod show;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use abbild_guest::Severities;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use bytes::{deserialize as deserialize_bytes, parse_bytes};
pub use load::{Loaded, Sources};
pub use mistake::{Issue, Issues, Mistake, Mistakes, Origin};
pub use network::{NetworkConfig, NetworkMode};
pub use oidc::OidcConfig;
pub use operation::{LogConfig, LogFormat, MetricsConfig, TlsConfig};
pub use quotas::{Limit, Quotas};
pub use s3::S3Config;
pub use secret::Secret;

use crate::db::{Backend, sqlite_url};
pub use crate::fetch::FetchConfig;
pub use crate::probe::ProbeConfig;
pub use crate::retention::RetentionConfig;
use crate::vm::config_drive::Vendor;
use crate::vm::qemu::{Equipment, QemuConfig, RescueSystem, Uefi, UserIds};

/// 100 GiB, the largest virtual disk by default.
pub const DEFAULT_MAX_VIRTUAL_SIZE: u64 = 107_374_182_400;

/// Everything an operator can set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the API listens. Plain HTTP, hence loopback, unless there are `trusted_proxies`.
    pub listen: SocketAddr,
    /// Base URL under which clients reach the API; from the `Host` header when absent.
    pub public_url: Option<String>,
    /// Database, uploads, images and machines live below this directory. One process uses it.
    pub data: PathBuf,
    /// Where uploads lie until they are imported; `data` when absent. Several processes on one
    /// database need one that they share.
    pub shared: Option<PathBuf>,
    /// URL of a PostgreSQL database; an SQLite file in `data` when absent.
    pub database: Option<Secret>,
    /// Networks of the proxies that stand before the service: from these alone the header
    /// `forwarded_header` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they say who the client is.
    pub forwarded_header: ForwardedHeader,
    /// The listener for TLS.
    pub tls: TlsConfig,
    /// Where metrics are served, and to whom.
    pub metrics: MetricsConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Sizes and times.
    pub limits: Limits,
    /// How much each account may have.
    pub quotas: Quotas,
    /// Imports by URL.
    pub fetch: FetchConfig,
    /// Logins with OpenID Connect.
    pub oidc: OidcConfig,
    /// How long people stay logged in.
    pub sessions: SessionConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// How long what is over is kept.
    pub retention: RetentionConfig,
    /// Severity of each requirement, by rule.
    pub requirements: Severities,
    /// The regions, in the order in which they are listed.
    pub regions: Vec<RegionConfig>,
    /// Machines.
    pub vm: VmConfig,
    /// Boot probes.
    pub probe: ProbeConfig,
}

/// A header in which proxies say who the client is. Only one is read: a proxy that writes one of
/// them passes the other on as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly every proxy writes.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Sizes and times.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest virtual disk in bytes; also bounds what a compressed upload may unpack to.
    #[serde(deserialize_with = "bytes::deserialize")]
    pub max_virtual_size: u64,
    /// Largest upload in bytes.
    #[serde(deserialize_with = "bytes::deserialize")]
    pub max_upload_size: u64,
    /// Hours after which an upload that nobody continues is removed.
    pub upload_idle_hours: u32,
    /// Uploads that wait for bytes which there may be at once.
    pub uploads_total: u32,
    /// Bytes that uploads leave free on the filesystem of `data`.
    #[serde(deserialize_with = "bytes::deserialize")]
    pub staging_reserve: u64,
    /// How often an import or copy is tried again that failed by a fault of the service.
    pub job_retries: u32,
    /// Minutes for which a deleted image still answers by id, as `deleted`.
    pub tombstone_minutes: u32,
    /// Requests that a token, or an address without one, may make in an hour; 0 for no limit.
    pub requests_per_hour: u32,
    /// The same in a minute.
    pub requests_per_minute: u32,
    /// Seconds that a stop may take at most.
    pub drain_seconds: u32,
    /// Seconds before that in which only `/readyz` says that the service is being stopped.
    pub drain_notice_seconds: u32,
}

/// How long people stay logged in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// Minutes without a request after which a session ends.
    pub idle_minutes: u32,
    /// Hours after which it ends in any case.
    pub max_hours: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            idle_minutes: 720,
            max_hours: 168,
        }
    }
}

/// The audit log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days for which entries are kept; 0 keeps them for ever.
    pub keep_days: u32,
}

/// One region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionConfig {
    /// Short name in the API.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Directory of its image store and machines; `<data>/regions/<slug>` when absent. One process
    /// uses it.
    pub directory: Option<PathBuf>,
    /// The bucket in which its images are kept; in `directory` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Config>,
}

/// Machines.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VmConfig {
    /// First loopback address that is given to a machine.
    pub first_address: Ipv4Addr,
    /// How many addresses there are.
    pub addresses: u32,
    /// The QEMU program, looked up in `PATH`, or its path.
    pub qemu: PathBuf,
    /// Whether KVM may be used where a trial shows that it works.
    pub kvm: bool,
    /// The control group that is divided among machines; by default one that was delegated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// Bytes that machines leave free on the filesystem of their region.
    #[serde(deserialize_with = "bytes::deserialize")]
    pub disk_reserve: u64,
    /// Whether each machine runs as a user of its own, where the service may choose.
    pub separate_users: bool,
    /// Which those are.
    pub user_ids: UserIds,
    /// Locale of guests that were not told otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The same for the time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// How long a guest that is asked to shut down may take, before its machine is ended.
    pub shutdown_grace_seconds: u32,
    /// UEFI firmware for guests that have no boot loader for a BIOS, and the file from which each gets
    /// its variables.
    pub uefi_code: PathBuf,
    pub uefi_vars: PathBuf,
    /// Directory of the built-in rescue system.
    pub rescue: PathBuf,
    /// How they are connected.
    pub network: NetworkConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            data: default_data(),
            shared: None,
            database: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            tls: TlsConfig::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
            limits: Limits::default(),
            quotas: Quotas::default(),
            oidc: OidcConfig::default(),
            sessions: SessionConfig::default(),
            audit: AuditConfig::default(),
            retention: RetentionConfig::default(),
            fetch: FetchConfig::default(),
            requirements: Severities::default(),
            regions: vec![region("hal1", "Hallstadt"), region("nbg1", "Nürnberg")],
            vm: VmConfig::default(),
            probe: ProbeConfig::default(),
        }
    }
}

/// `$XDG_DATA_HOME/abbild`, by default `~/.local/share/abbild`.
fn default_data() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("abbild")
}

fn region(slug: &str, name: &str) -> RegionConfig {
    RegionConfig {
        slug: slug.to_owned(),
        name: name.to_owned(),
        directory: None,
        s3: None,
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_virtual_size: DEFAULT_MAX_VIRTUAL_SIZE,
            max_upload_size: DEFAULT_MAX_VIRTUAL_SIZE + DEFAULT_MAX_VIRTUAL_SIZE / 64,
            upload_idle_hours: 24,
            uploads_total: 4000,
            staging_reserve: 1 << 30,
            job_retries: 12,
            tombstone_minutes: 60,
            requests_per_hour: 5000,
            requests_per_minute: 250,
            drain_seconds: 30,
            drain_notice_seconds: 0,
        }
    }
}

impl Default for VmConfig {
    fn default() -> Self {
        let uefi = Uefi::default();
        Self {
            first_address: Ipv4Addr::new(127, 64, 0, 2),
            addresses: 4096,
            qemu: PathBuf::from("qemu-system-x86_64"),
            kvm: true,
            cgroup: None,
            disk_reserve: 1 << 30,
            separate_users: true,
            user_ids: UserIds::default(),
            locale: None,
            timezone: None,
            shutdown_grace_seconds: 60,
            uefi_code: uefi.code,
            uefi_vars: uefi.variables,
            rescue: default_data().join("rescue"),
            network: NetworkConfig::default(),
        }
    }
}

impl VmConfig {
    fn check(&self, issues: &mut Issues) {
        let first = u32::from(self.first_address);
        let last = first.checked_add(self.addresses.saturating_sub(1));
        let inside =
            self.addresses > 0 && last.is_some_and(|last| first >> 24 == 127 && last >> 24 == 127);
        for (name, value, example) in [
            ("vm.locale", &self.locale, "de_DE.UTF-8"),
            ("vm.timezone", &self.timezone, "Europe/Berlin"),
        ] {
            let is_name = |text: &String| {
                let mut bytes = text.bytes();
                let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@+-/".contains(&byte);
                bytes.all(known) && !text.is_empty() && !text.starts_with(['/', '.'])
            };
            issues.require(value.as_ref().is_none_or(is_name), name, || {
                format!("`{name}` must be a name such as \"{example}\"")
            });
        }
        issues.require(inside, "vm.first_address", || {
            "`vm.first_address` and `vm.addresses` must stay within 127.0.0.0/8".to_owned()
        });
        self.network.check(issues);
    }

    /// What machines may be started with.
    pub fn equipment(&self) -> Equipment {
        Equipment {
            uefi: Uefi {
                code: self.uefi_code.clone(),
                variables: self.uefi_vars.clone(),
            },
            rescue: RescueSystem {
                directory: self.rescue.clone(),
            },
        }
    }

    /// What guests are told beside what their owners say.
    pub fn vendor(&self) -> Vendor {
        Vendor {
            locale: self.locale.clone(),
            timezone: self.timezone.clone(),
        }
    }

    /// What the QEMU driver needs to know.
    pub fn qemu_config(&self) -> QemuConfig {
        QemuConfig {
            program: self.qemu.clone(),
            allow_kvm: self.kvm,
            equipment: self.equipment(),
            cgroup: self.cgroup.clone(),
            disk_reserve: self.disk_reserve,
            user_ids: self.separate_users.then_some(self.user_ids),
            bridge: None,
        }
    }
}

impl Config {
    /// What TOML's types cannot say.
    ///
    /// # Errors
    /// With every setting that is wrong.
    pub fn check(&self) -> Result<(), Mistakes> {
        let issues = self.issues();
        if issues.is_empty() {
            return Ok(());
        }
        let mistakes = issues.into_iter().map(|issue| Mistake {
            origin: None,
            message: issue.message,
        });
        Err(Mistakes(mistakes.collect()))
    }

    /// Every setting whose value has the right type and is wrong all the same.
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues = Issues::default();
        let behind_proxy = !self.trusted_proxies.is_empty();
        issues.require(self.listen.ip().is_loopback() || behind_proxy, "listen", || {
            format!(
                "`listen = \"{}\"` would serve plain HTTP to the network; listen on 127.0.0.1, and for the network in `[tls]`, or name the proxy that speaks TLS in `trusted_proxies`",
                self.listen
            )
        });
        if let Some(url) = &self.database {
            issues.require(Backend::of(url.expose()).is_some(), "database", || {
                "`database` must be a URL that begins with `sqlite:` or `postgres:`".to_owned()
            });
        }
        if self.shared.is_some() {
            self.check_shared(&mut issues);
        }
        self.tls.check(&mut issues);
        self.oidc.check(&mut issues);
        self.fetch.check(&mut issues);
        self.check_regions(&mut issues);
        self.vm.check(&mut issues);
        self.probe.check(&mut issues);
        issues.0
    }

    /// What one process keeps on its own host, another does not find.
    fn check_shared(&self, issues: &mut Issues) {
        let backend = self
            .database
            .as_ref()
            .and_then(|url| Backend::of(url.expose()));
        issues.require(backend == Some(Backend::Postgres), "shared", || {
            "`shared` is for several processes, which need a PostgreSQL `database`".to_owned()
        });
        for (index, region) in self.regions.iter().enumerate() {
            issues.require(region.s3.is_some(), format!("regions.{index}.slug"), || {
                format!(
                    "with `shared`, images must be where all processes find them; keep those of `{}` in a bucket (`[regions.s3]`)",
                    region.slug
                )
            });
        }
    }

    fn check_regions(&self, issues: &mut Issues) {
        issues.require(!self.regions.is_empty(), "regions", || {
            "`regions` is empty; name at least one".to_owned()
        });
        for (index, region) in self.regions.iter().enumerate() {
            let slug = &region.slug;
            let key = format!("regions.{index}.slug");
            issues.require(is_slug(slug), key.as_str(), || {
                format!("region slug `{slug}` may only hold a-z, 0-9 and -, up to 32 of them")
            });
            let new = !self.regions.iter().take(index).any(|r| r.slug == *slug);
            issues.require(new, key, || format!("`regions` names `{slug}` twice"));
            if let Some(s3) = &region.s3 {
                s3.check(&format!("regions.{index}.s3"), issues);
            }
        }
    }

    /// The URL of the database.
    pub fn database_url(&self) -> String {
        match &self.database {
            Some(url) => url.expose().to_owned(),
            None => sqlite_url(&self.data.join("abbild.db")),
        }
    }

    /// Makes sure that there is a database, for those who must not make one.
    ///
    /// # Errors
    /// When the service was never started with this configuration.
    pub fn expect_database(&self) -> anyhow::Result<()> {
        let path = self.data.join("abbild.db");
        if self.database.is_none() && !path.exists() {
            anyhow::bail!("{} does not exist; start the service once", path.display());
        }
        Ok(())
    }

    /// What all processes on one database share.
    pub fn shared(&self) -> &Path {
        self.shared.as_deref().unwrap_or(&self.data)
    }

    /// Where the parts of a region lie.
    pub fn region_directory(&self, region: &RegionConfig) -> PathBuf {
        region
            .directory
            .clone()
            .unwrap_or_else(|| self.data.join("regions").join(&region.slug))
    }
}

fn is_slug(slug: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !slug.is_empty() && slug.len() <= 32 && slug.bytes().all(allowed)
}
