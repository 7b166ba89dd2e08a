//! Actions: every long step, visible while it runs and after.

use serde::{Deserialize, Serialize};

use crate::{Id, Links, Meta, Progress, Region};

/// State of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ActionStatus {
    /// Waiting for a worker, or running.
    InProgress,
    /// Done.
    Completed,
    /// Ended with a reason.
    Errored,
}

/// One action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Action {
    /// Identifier.
    pub id: Id,
    /// State.
    pub status: ActionStatus,
    /// What was asked for: `create`, `transfer`, `power_on`, `destroy`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339, UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub started_at: String,
    /// Null exactly while unfinished.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub completed_at: Option<String>,
    /// The image or droplet.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub resource_id: Option<Id>,
    /// `image` or `droplet`.
    pub resource_type: String,
    /// For a transfer: the target.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub region: Option<Region>,
    /// Its slug.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub region_slug: Option<String>,
    /// What we add.
    #[serde(rename = "abbild", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub extra: Option<ActionExtra>,
}

/// What we add to an action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActionExtra {
    /// Why it errored; of an unfinished one, why it is tried again.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub reason: Option<String>,
    /// While it runs.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub progress: Option<Progress>,
    /// In the answer to `password_reset`, and nowhere else: the password that root has in the guest when
    /// the action is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// `{"action": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActionOne {
    /// The action.
    pub action: Action,
}

/// `{"actions": […], "links": …, "meta": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActionList {
    /// This page, newest first.
    pub actions: Vec<Action>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// `{"actions": […]}`: what was begun with several objects at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActionsOfMany {
    /// One per object.
    pub actions: Vec<Action>,
}
