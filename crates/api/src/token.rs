//! Tokens of an account.

use serde::{Deserialize, Serialize};

use crate::{Id, Links, Meta, Scope, null_as_default};

/// A token, without what makes it one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// Identifier.
    pub id: Id,
    /// For people.
    pub name: String,
    /// What it may do, as far as its user may.
    pub scopes: Vec<Scope>,
    /// The user whose it is; null when it is the account's own.
    pub user_id: Option<Id>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; null when it does not expire.
    pub expires_at: Option<String>,
    /// RFC 3339, UTC, to the minute; null when it was never used.
    pub last_used_at: Option<String>,
    /// The token itself: in the answer that creates it, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `{"token": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenOne {
    /// The token.
    pub token: Token,
}

/// `{"tokens": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenList {
    /// This page.
    pub tokens: Vec<Token>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Body of `POST /v2/account/tokens`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(example = json!({"name": "ci", "scopes": ["read", "images"], "expires_in": 7776000}))
)]
pub struct CreateToken {
    /// For people.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, min_length = 1, max_length = 255)
    )]
    pub name: String,
    /// What it shall be able to do.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(required, min_items = 1))]
    pub scopes: Vec<Scope>,
    /// Seconds until it expires; never when absent.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 315_360_000))]
    pub expires_in: Option<i64>,
}
