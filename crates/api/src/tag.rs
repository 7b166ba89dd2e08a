//! Tags: names under which an account groups images and droplets.

use serde::{Deserialize, Serialize};

use crate::{Links, Meta, null_as_default};

/// A tag. Names are compared without regard to case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tag {
    /// In the spelling of its first use.
    pub name: String,
    /// What has it.
    pub resources: TagResources,
}

/// How many objects have a tag.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagCount {
    /// How many.
    pub count: i64,
    /// URL of the one that got it last; empty when there is none.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub last_tagged_uri: String,
}

/// What has a tag, by kind. Only images and droplets can have one here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagResources {
    /// Of all kinds.
    pub count: i64,
    /// URL of the one that got it last; empty when there is none.
    pub last_tagged_uri: String,
    /// Droplets.
    pub droplets: TagCount,
    /// Images.
    pub images: TagCount,
    /// Always none.
    pub volumes: TagCount,
    /// Always none.
    pub volume_snapshots: TagCount,
    /// Always none.
    pub databases: TagCount,
}

/// `{"tag": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagOne {
    /// The tag.
    pub tag: Tag,
}

/// `{"tags": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagList {
    /// This page.
    pub tags: Vec<Tag>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Body of `POST /v2/tags`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({"name": "web"}))
)]
pub struct CreateTag {
    /// Letters, digits, `_`, `:` and `-`, 1 to 255 of them.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            required,
            min_length = 1,
            max_length = 255,
            pattern = "^[A-Za-z0-9_:-]+$"
        )
    )]
    pub name: String,
}

/// Body of `POST` and `DELETE /v2/tags/{name}/resources`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({"resources": [{"resource_id": "1", "resource_type": "image"}]}))
)]
pub struct TagTargets {
    /// What gets or loses the tag.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    pub resources: Vec<TagTarget>,
}

/// An image or droplet that gets or loses a tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagTarget {
    /// Its id, which clients send as a string.
    pub resource_id: crate::Id,
    /// `image` or `droplet`.
    pub resource_type: String,
}
