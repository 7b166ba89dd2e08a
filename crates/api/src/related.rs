//! Lists that existing clients ask for beside droplets and images.
//!
//! There are no snapshots, backups, kernels, firewalls, volumes or addresses of their own here. The
//! lists are there all the same, and empty, because clients read them without being asked to.

use serde::{Deserialize, Serialize};

use crate::{Id, Links, Meta};

/// A saved state of a droplet or volume, of the original API; never sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Identifier.
    pub id: Id,
    /// Name.
    pub name: String,
}

/// A firewall of the original API; never sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Firewall {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: String,
}

/// `{"snapshots": …}`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotList {
    /// Always empty.
    pub snapshots: Vec<Snapshot>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// `{"backups": …}`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupList {
    /// Always empty.
    pub backups: Vec<Snapshot>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// `{"kernels": …}`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KernelList {
    /// Always empty: a machine boots the kernel of its image.
    pub kernels: Vec<crate::Kernel>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// `{"droplets": …}`: those on the same hardware.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NeighborList {
    /// Always empty: which machines share a host is not told.
    pub droplets: Vec<crate::Droplet>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// `{"firewalls": …}`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FirewallList {
    /// Always empty.
    pub firewalls: Vec<Firewall>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Something that could be destroyed together with a droplet, of the original API; never sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AssociatedResource {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: String,
    /// Per month.
    pub cost: String,
}

/// What can be destroyed together with a droplet: nothing, because nothing else belongs to one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs)] // the names say it
pub struct AssociatedResources {
    pub reserved_ips: Vec<AssociatedResource>,
    pub floating_ips: Vec<AssociatedResource>,
    pub snapshots: Vec<AssociatedResource>,
    pub volumes: Vec<AssociatedResource>,
    pub volume_snapshots: Vec<AssociatedResource>,
}

/// How far the destruction of a droplet with everything of it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DestroyStatus {
    /// The droplet.
    pub droplet: DestroyedDroplet,
    /// What went with it.
    pub resources: AssociatedResources,
    /// RFC 3339, UTC; null until the host has let go of the machine.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub completed_at: Option<String>,
    /// How many parts failed.
    pub failures: i64,
}

/// The droplet in a [`DestroyStatus`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DestroyedDroplet {
    /// Identifier.
    pub id: Id,
    /// Name.
    pub name: String,
    /// RFC 3339, UTC; null until the host has let go of the machine.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub destroyed_at: Option<String>,
    /// Why the last attempt failed.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub error_message: Option<String>,
}
