//! Lists that existing clients ask for beside droplets and images.
//!
//! Snapshots are images, which clients look for in lists of their own. There are no backups, kernels,
//! firewalls, volumes or addresses of their own here. The lists are there all the same, and empty,
//! because clients read them without being asked to.

use serde::{Deserialize, Serialize};

use crate::{Id, Image, Links, Meta};

/// An image that was made of a machine's disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// That of the image, as a string.
    pub id: String,
    /// Name.
    pub name: String,
    /// RFC 3339, UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub created_at: String,
    /// Slugs of the regions where it is available.
    pub regions: Vec<String>,
    /// Identifier of the machine, as a string.
    pub resource_id: String,
    /// `droplet`.
    pub resource_type: String,
    /// GB of disk that a machine from it needs.
    pub min_disk_size: i64,
    /// GB stored.
    pub size_gigabytes: f64,
    /// Tags of the image.
    pub tags: Vec<String>,
}

/// `{"snapshot": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotOne {
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// `{"snapshots": …}` of a machine, where they are whole images.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropletSnapshotList {
    /// This page.
    pub snapshots: Vec<Image>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// A backup of the original API; never sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Backup {
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
    /// This page.
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
    pub backups: Vec<Backup>,
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
