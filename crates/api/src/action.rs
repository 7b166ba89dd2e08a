//! Actions: every long step, visible while it runs and after.

use serde::{Deserialize, Serialize};

use crate::{Id, Links, Meta, Progress, Region};

/// State of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Action {
    /// Identifier.
    pub id: Id,
    /// State.
    pub status: ActionStatus,
    /// What was asked for: `create`, `transfer`, `power_on`, `destroy`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Null exactly while unfinished.
    pub completed_at: Option<String>,
    /// The image or droplet.
    pub resource_id: Option<Id>,
    /// `image` or `droplet`.
    pub resource_type: String,
    /// For a transfer: the target.
    pub region: Option<Region>,
    /// Its slug.
    pub region_slug: Option<String>,
    /// What we add.
    #[serde(rename = "abbild", default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<ActionExtra>,
}

/// What we add to an action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActionExtra {
    /// Why it errored.
    pub reason: Option<String>,
    /// While it runs.
    pub progress: Option<Progress>,
}

/// `{"action": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActionOne {
    /// The action.
    pub action: Action,
}

/// `{"actions": […], "links": …, "meta": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
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
pub struct ActionsOfMany {
    /// One per object.
    pub actions: Vec<Action>,
}
