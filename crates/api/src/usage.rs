//! What an account uses: `GET /v2/account/usage`.

use serde::{Deserialize, Serialize};

/// What an account uses in one region.
///
/// Every image counts with its stored size in every region that it is available in, because each
/// can be used and removed on its own. Images with the same content lie in a region's store only
/// once; `unique_bytes` counts them so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionUsage {
    /// The region.
    pub slug: String,
    /// Images that are available there.
    pub images: i64,
    /// Bytes of these images' canonical files.
    pub stored_bytes: i64,
    /// As `stored_bytes`, but content that several images share counts once.
    pub unique_bytes: i64,
    /// Droplets there, running or not.
    pub droplets: i64,
}

/// Uploads that have not become an image yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadUsage {
    /// How many there are.
    pub count: i64,
    /// Bytes that have arrived.
    pub received_bytes: i64,
    /// Bytes that they will have, as far as announced.
    pub announced_bytes: i64,
}

/// Droplets and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropletUsage {
    /// How many there are, running or not.
    pub count: i64,
    /// How many are running.
    pub active: i64,
    /// Virtual processors of all of them.
    pub vcpus: i64,
    /// MiB of all of them.
    pub memory: i64,
    /// GB of all disks.
    pub disk: i64,
}

/// What an account uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Images, failed ones and those that are being imported included.
    pub images: i64,
    /// Bytes over all regions, see [`RegionUsage`].
    pub stored_bytes: i64,
    /// Bytes over all regions, content that images of a region share counted once.
    pub unique_bytes: i64,
    /// By region, in the order of `GET /v2/regions`.
    pub regions: Vec<RegionUsage>,
    /// Uploads.
    pub uploads: UploadUsage,
    /// Droplets.
    pub droplets: DropletUsage,
}

/// `{"usage": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageOne {
    /// The usage.
    pub usage: Usage,
}
