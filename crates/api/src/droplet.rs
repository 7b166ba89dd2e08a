//! Droplets: the virtual machines.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Forward, Hardware, Id, IdOrName, Image, Links, Meta, Region, Size, null_as_default};

/// State of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DropletStatus {
    /// Being created.
    New,
    /// The hypervisor runs it.
    Active,
    /// It exists and is off.
    Off,
    /// Of the original API; never sent.
    Archive,
}

/// One machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Droplet {
    /// Identifier.
    pub id: Id,
    /// Host name.
    pub name: String,
    /// MiB.
    pub memory: i64,
    /// Virtual processors.
    pub vcpus: i64,
    /// GB.
    pub disk: i64,
    /// Whether an action holds it.
    pub locked: bool,
    /// State.
    pub status: DropletStatus,
    /// Always null: machines boot their own kernel.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub kernel: Option<Kernel>,
    /// RFC 3339, UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub created_at: String,
    /// Features that were asked for, whether they exist here or not: clients take a difference for
    /// a change.
    pub features: Vec<String>,
    /// Always empty.
    pub backup_ids: Vec<Id>,
    /// Always null.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next_backup_window: Option<Value>,
    /// The images that were made of its disk.
    pub snapshot_ids: Vec<Id>,
    /// The image it was made from.
    pub image: Image,
    /// Always empty.
    pub volume_ids: Vec<String>,
    /// The size, whole.
    pub size: Size,
    /// Its slug.
    pub size_slug: String,
    /// Addresses.
    pub networks: Networks,
    /// Where it is.
    pub region: Region,
    /// Tags.
    pub tags: Vec<String>,
    /// Always empty.
    pub vpc_uuid: String,
    /// What we add.
    #[serde(rename = "abbild", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub extra: Option<DropletExtra>,
}

/// Of the original API; never sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Kernel {
    /// Identifier.
    pub id: Id,
}

/// What we add to a droplet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropletExtra {
    /// Port on the public address that leads to the guest's sshd; 22 where the host allows it.
    pub ssh_port: u16,
    /// The image's default user, if the check found one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub default_user: Option<String>,
    /// `kvm` or `tcg`.
    pub acceleration: String,
    /// Why it is not `kvm`.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub acceleration_note: Option<String>,
    /// What the machine is made of, as soon as it has a disk.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub hardware: Option<Hardware>,
    /// What runs in place of the machine's own system, while it is being rescued.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub rescue: Option<DropletRescue>,
    /// Ports of the public address that lead into the guest, beside `ssh_port`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub forwards: Vec<Forward>,
    /// Why the machine is off, or why it could not be created.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub reason: Option<String>,
    /// One line per warning of the image's verdict, in the language of the request.
    pub warnings: Vec<String>,
    /// The recovery console.
    pub console: SerialConsole,
}

/// What a machine runs while it is being rescued.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropletRescue {
    /// The image; null for the built-in rescue system.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub image: Option<Id>,
}

/// Where the serial console is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SerialConsole {
    /// WebSocket path; binary messages are console bytes in both directions.
    pub path: String,
    /// Path of the log kept since the machine was created.
    pub log: String,
}

/// Addresses; both arrays are always there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Networks {
    /// IPv4.
    pub v4: Vec<NetworkV4>,
    /// IPv6.
    pub v6: Vec<NetworkV6>,
}

/// An IPv4 address.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkV4 {
    /// Dotted.
    pub ip_address: String,
    /// Dotted.
    pub netmask: String,
    /// Null on private networks.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub gateway: Option<String>,
    /// `public` or `private`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An IPv6 address.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkV6 {
    /// Address.
    pub ip_address: String,
    /// Prefix length.
    pub netmask: i64,
    /// Gateway.
    pub gateway: String,
    /// `public`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `{"droplet": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropletOne {
    /// The droplet.
    pub droplet: Droplet,
}

/// `{"droplets": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropletList {
    /// This page.
    pub droplets: Vec<Droplet>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Answer to `POST /v2/droplets`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateDropletAnswer {
    /// When `name` was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet: Option<Droplet>,
    /// When `names` was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplets: Option<Vec<Droplet>>,
    /// The actions that create them.
    pub links: CreateLinks,
}

/// Links of a create answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateLinks {
    /// One per droplet.
    pub actions: Vec<CreatedAction>,
}

/// A link to an action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedAction {
    /// The action.
    pub id: Id,
    /// `create`.
    pub rel: String,
    /// Absolute URL.
    pub href: String,
}

/// Body of `POST /v2/droplets`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({
        "name": "web",
        "image": 1,
        "region": "hal1",
        "size": "s-1vcpu-1gb",
        "ssh_keys": [1],
        "user_data": "#cloud-config\npackages: [nginx]\n"
    }))
)]
pub struct CreateDroplet {
    /// One machine; exclusive with `names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Several machines.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub names: Vec<String>,
    /// Slug; required.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub size: String,
    /// Id; required.
    pub image: IdOrName,
    /// Slug; the image's first region when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Ids or fingerprints.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub ssh_keys: Vec<IdOrName>,
    /// cloud-init user data, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// *Ours.* The same for what is no text, such as compressed user data: in Base64, and then without
    /// `user_data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data_base64: Option<String>,
    /// Tags.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub tags: Vec<String>,
    /// Told back in `features`, as clients compare; there are no backups.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub backups: bool,
    /// Told back in `features`, as clients compare.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub ipv6: bool,
    /// Told back in `features`, as clients compare; there is no monitoring.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub monitoring: bool,
    /// Told back in `features`, as clients compare; there are no private networks.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub private_networking: bool,
    /// There are no volumes: refused unless empty.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub volumes: Vec<Value>,
    /// There are no private networks: refused unless empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_uuid: Option<String>,
}
