//! Images: what a customer uploads and boots machines from.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Id, Links, Meta, Progress, null_as_default};

/// The state that existing clients know. The spelling, capitals included, is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ImageStatus {
    /// Created; its bytes are not complete yet.
    #[serde(rename = "NEW")]
    New,
    /// All bytes are here and are being checked, encoded and stored.
    #[serde(rename = "pending")]
    Pending,
    /// Machines can be created from it.
    #[serde(rename = "available")]
    Available,
    /// Removed by its owner, or the import failed (then `error_message` says why).
    #[serde(rename = "deleted")]
    Deleted,
}

/// The finer state of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Bytes are arriving.
    Receiving,
    /// All bytes are here; a worker has not begun yet.
    Queued,
    /// The checksum that was given is compared.
    Verifying,
    /// The compressed stream is being unpacked.
    Unpacking,
    /// The requirements are being checked.
    Checking,
    /// The canonical qcow2 is being written.
    Encoding,
    /// The canonical qcow2 is being put into the region's store.
    Storing,
    /// Done.
    Available,
    /// Ended with a reason.
    Failed,
    /// Removed by its owner.
    Deleted,
}

/// One image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Image {
    /// Identifier.
    pub id: Id,
    /// Chosen by the owner.
    pub name: String,
    /// Always `custom`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A name of the fixed list, or `Unknown`.
    pub distribution: String,
    /// Always null: private images have no slug.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub slug: Option<String>,
    /// Always false.
    pub public: bool,
    /// Slugs of the regions in which it is available now.
    pub regions: Vec<String>,
    /// RFC 3339, UTC, seconds.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub created_at: String,
    /// GB, rounded up, that a machine's disk must have at least.
    pub min_disk_size: i64,
    /// GB that the stored canonical image takes.
    pub size_gigabytes: f64,
    /// As the owner wrote it.
    pub description: String,
    /// The owner's tags.
    pub tags: Vec<String>,
    /// State.
    pub status: ImageStatus,
    /// Empty unless the import failed.
    pub error_message: String,
    /// What we add.
    #[serde(rename = "abbild", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub extra: Option<ImageExtra>,
}

/// What we add to an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageExtra {
    /// The finer state.
    pub stage: Stage,
    /// How far the stage has come; null where that has no meaning.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub progress: Option<Progress>,
    /// `accepted`, `accepted_with_warnings` or `refused`, once checked.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub verdict: Option<String>,
    /// One line per warning or failure of the verdict, in the language of the request.
    pub findings: Vec<String>,
    /// `sha256:…` of the canonical image.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub digest: Option<String>,
    /// The format that was uploaded, for example `qcow2` or `raw+gzip`.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub format: Option<String>,
    /// Bytes of the virtual disk.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub virtual_size: Option<u64>,
    /// Why the last attempt to import it failed, while another is to come: a fault of the service,
    /// not of the image.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub setback: Option<String>,
    /// The upload that its bytes come from, while there is one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub upload: Option<String>,
    /// The URL that its bytes are fetched from, without its query, until the import has ended.
    #[serde(default)]
    pub url: Option<String>,
    /// Every region that was asked for, with its state.
    pub regions: Vec<RegionCopy>,
}

/// The state of an image in one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RegionCopyStatus {
    /// Asked for; waits for the import or for a worker.
    Pending,
    /// Bytes are being copied.
    Copying,
    /// Machines can be created there.
    Available,
    /// Ended with a reason; adding the region again tries anew.
    Failed,
}

/// An image in one region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionCopy {
    /// The region.
    pub slug: String,
    /// State there.
    pub status: RegionCopyStatus,
    /// While bytes are being copied.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub progress: Option<Progress>,
    /// Why it failed, or why it is tried again while it is pending.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub reason: Option<String>,
}

/// `{"image": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageOne {
    /// The image.
    pub image: Image,
}

/// `{"images": […], "links": …, "meta": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageList {
    /// This page.
    pub images: Vec<Image>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Body of `POST /v2/images`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({
        "name": "debian",
        "upload": "4f5b7c5e-3b0e-4f6c-9a51-5a1c8f0a8a4e",
        "regions": ["hal1", "nbg1"],
        "description": "Debian 12 with our agents"
    }))
)]
pub struct CreateImage {
    /// Required.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, min_length = 1, max_length = 255)
    )]
    pub name: String,
    /// Id of an upload, complete or not: the import begins when its last byte is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Where the service fetches the image from instead: http or https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Content that an image of the account has already, instead of `upload` or `url`: `sha256:HEX` of
    /// the canonical image, or of the file that the image was made from with this `checksum`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Expected of the file as it is sent or fetched: `sha256:HEX`, `sha384:HEX` or `sha512:HEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// One region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Several regions at once.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub regions: Vec<String>,
    /// A name that is not in the list is taken as `Unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Free text.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub description: String,
    /// Tags.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub tags: Vec<String>,
}

/// Body of `PUT /v2/images/{id}`: only the fields that shall change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({"name": "debian 12", "description": "with our agents"}))
)]
pub struct UpdateImage {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// New distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
}

/// Body of `POST /v2/images/{id}/actions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({"type": "transfer", "region": "nbg1"}))
)]
pub struct ImageAction {
    /// `transfer`, which copies the image to a further region; `probe`, which boots it to see what becomes
    /// of it; or `convert`, which changes nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// The target region, or for a probe the one to boot it in; any that has the image when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Everything else that was sent.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub other: serde_json::Map<String, Value>,
}

/// The distributions that existing clients accept; anything else is stored as `Unknown`.
const DISTRIBUTIONS: [&str; 14] = [
    "Arch Linux",
    "CentOS",
    "CoreOS",
    "Debian",
    "Fedora",
    "Fedora Atomic",
    "FreeBSD",
    "Gentoo",
    "openSUSE",
    "RancherOS",
    "Rocky Linux",
    "Ubuntu",
    "Unknown",
    "Unknown OS",
];

/// `name` if existing clients know it, else `Unknown`.
pub fn distribution_or_unknown(name: &str) -> &'static str {
    DISTRIBUTIONS
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("Unknown")
}
