//! Users of an account, and their sessions.

use serde::{Deserialize, Serialize};

use crate::{Account, Id, Links, Meta, Role, Scope, null_as_default};

/// Somebody who can log in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Identifier.
    pub id: Id,
    /// In lower case; no two users have the same.
    pub email: String,
    /// For people.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they are kept out.
    pub disabled: bool,
    /// Whether they have a password; otherwise only OpenID Connect lets them in.
    pub has_password: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; null when they never logged in.
    pub last_login_at: Option<String>,
}

/// `{"user": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserOne {
    /// The user.
    pub user: User,
}

/// `{"users": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserList {
    /// This page.
    pub users: Vec<User>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Body of `POST /v2/account/users`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(example = json!({"email": "second@example.org", "name": "Second", "role": "member", "password": "correct horse battery"}))
)]
pub struct CreateUser {
    /// Their address.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, format = "email", max_length = 254)
    )]
    pub email: String,
    /// The address when absent.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// 12 to 256 characters; without one, only OpenID Connect lets them in.
    #[serde(default)]
    pub password: Option<String>,
}

/// Body of `PUT /v2/account/users/{id}`; what is absent stays.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(example = json!({"role": "read-only"}))
)]
pub struct UpdateUser {
    /// New name.
    #[serde(default)]
    pub name: Option<String>,
    /// New role.
    #[serde(default)]
    pub role: Option<Role>,
    /// Keeps them out, or lets them in again.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// New password; ends their sessions.
    #[serde(default)]
    pub password: Option<String>,
}

/// Body of `POST /v2/account/password`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(example = json!({"current": "correct horse battery", "new": "staple battery horse"}))
)]
pub struct ChangePassword {
    /// The present one; may be absent when there is none yet.
    #[serde(default, deserialize_with = "null_as_default")]
    pub current: String,
    /// The new one.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, min_length = 12, max_length = 256)
    )]
    pub new: String,
}

/// Body of `POST /v2/session`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(example = json!({"email": "me@example.org", "password": "correct horse battery"}))
)]
pub struct Login {
    /// Address of the user.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(
        feature = "openapi",
        schema(required, format = "email", max_length = 254)
    )]
    pub email: String,
    /// Their password.
    #[serde(default, deserialize_with = "null_as_default")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub password: String,
}

/// Somebody logged in with a browser or a command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Identifier.
    pub id: Id,
    /// Whose it is.
    pub user_id: Id,
    /// How they logged in: `password` or `oidc`.
    pub method: String,
    /// From where.
    pub address: String,
    /// What the browser called itself.
    pub user_agent: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC, to the minute.
    pub last_used_at: String,
    /// RFC 3339, UTC: when it ends if it is used until then.
    pub expires_at: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `{"sessions": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionList {
    /// This page.
    pub sessions: Vec<Session>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Answer to `POST` and `GET /v2/session`: who is logged in, and what they may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionOne {
    /// The session.
    pub session: Session,
    /// The user.
    pub user: User,
    /// Their account.
    pub account: Account,
    /// What they may do.
    pub scopes: Vec<Scope>,
}

/// Answer to `GET /v2/session/methods`: how one can log in here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginMethods {
    /// With e-mail and password, by `POST /v2/session`.
    pub password: bool,
    /// With OpenID Connect, by `GET /v2/session/oidc`; what the provider is called.
    pub oidc: Option<String>,
}
