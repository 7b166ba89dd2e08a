//! SSH public keys.

use serde::{Deserialize, Serialize};

use crate::{Id, Links, Meta, null_as_default};

/// A public key of the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Key {
    /// Identifier.
    pub id: Id,
    /// MD5 of the key blob, as 16 lower-case pairs with colons.
    pub fingerprint: String,
    /// As it was sent.
    pub public_key: String,
    /// Chosen by the owner.
    pub name: String,
}

/// `{"ssh_key": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyOne {
    /// The key.
    pub ssh_key: Key,
}

/// `{"ssh_keys": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyList {
    /// This page.
    pub ssh_keys: Vec<Key>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Body of `POST /v2/account/keys`; both fields are required.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({
        "name": "laptop",
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRIfHhx7irOOW813Mw0Ua82TJ/3x74mXrn7VEpnn7wF me@example.org"
    }))
)]
pub struct CreateKey {
    /// For people.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, min_length = 1, max_length = 255)
    )]
    pub name: String,
    /// One line in OpenSSH's format.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub public_key: String,
}

/// Body of `PUT /v2/account/keys/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(example = json!({"name": "old laptop"}))
)]
pub struct UpdateKey {
    /// New name.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, min_length = 1, max_length = 255)
    )]
    pub name: String,
}
