//! The audit log: who did what, to what, from where and when.

use serde::{Deserialize, Serialize};

use crate::{Id, Links, Meta};

/// One entry; entries are never changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Identifier; later entries have larger ones.
    pub id: Id,
    /// RFC 3339, UTC.
    pub at: String,
    /// Who did it.
    pub actor: AuditActor,
    /// What, for example `image.create`; the method and path where it has no name of its own.
    pub action: String,
    /// To what: `image`, `droplet`, `token`, …
    pub object_type: Option<String>,
    /// Its identifier.
    pub object_id: Option<String>,
    /// `done`, `denied` or `failed`.
    pub outcome: String,
    /// For people; may be empty.
    pub detail: String,
    /// Address of the client; null when it was no request.
    pub address: Option<String>,
    /// The request, as in the header `x-request-id` and the log.
    pub request_id: Option<String>,
}

/// Who did something.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditActor {
    /// `user`, `token`, `operator`, `system` or `anonymous`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the token, user or operator at that time.
    pub name: String,
    /// The user, also of a token that is a user's.
    pub user_id: Option<Id>,
    /// The token.
    pub token_id: Option<Id>,
}

/// `{"audit": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditList {
    /// This page, newest first.
    pub audit: Vec<AuditEntry>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}
