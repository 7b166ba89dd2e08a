//! The HTTP API's wire types, shared by the service and its clients.
//!
//! The shapes are those of DigitalOcean's v2 API for images, actions, regions, sizes, account, SSH
//! keys and droplets, so that existing clients work unchanged; a virtual machine is called a
//! *droplet* here and nowhere else. What we add sits under the one key `abbild` in each object
//! (`extra` in Rust), and in resources of our own: [`upload`], tokens,
//! users, sessions, the audit log.
//!
//! Requests are read leniently (ids as numbers or strings, nulls, unknown fields), answers are
//! written strictly (every documented field, every time).

mod action;
mod audit;
mod console;
mod droplet;
mod droplet_action;
mod error;
mod forward;
mod hardware;
mod image;
mod key;
mod page;
mod probe;
mod quota;
mod region;
mod related;
mod scope;
mod tag;
mod token;
pub mod upload;
mod usage;
mod user;

pub use action::{Action, ActionExtra, ActionList, ActionOne, ActionStatus, ActionsOfMany};
pub use audit::{AuditActor, AuditEntry, AuditList};
pub use console::{
    ConsoleKeys, ConsoleKind, ConsoleNotice, ConsoleTicket, ConsoleTicketOne, CreateConsoleTicket,
};
pub use droplet::{
    CreateDroplet, CreateDropletAnswer, CreateLinks, CreatedAction, Droplet, DropletExtra,
    DropletList, DropletOne, DropletRescue, DropletStatus, Kernel, NetworkV4, NetworkV6, Networks,
    SerialConsole,
};
pub use droplet_action::DropletAction;
pub use error::{ErrorBody, ErrorId};
pub use forward::{Forward, Protocol};
pub use hardware::{Chipset, Devices, Firmware, Hardware};
pub use image::{
    CreateImage, Image, ImageAction, ImageExtra, ImageList, ImageOne, ImageStatus, RegionCopy,
    RegionCopyStatus, Stage, UpdateImage, distribution_or_unknown,
};
pub use key::{CreateKey, Key, KeyList, KeyOne, UpdateKey};
pub use page::{Links, Meta, Pages};
pub use probe::{Probe, ProbeMilestone, ProbeOne, ProbeStatus, ProbeTraces};
pub use quota::{Quota, QuotaUse};
pub use region::{Account, AccountExtra, AccountOne, Region, RegionList, Size, SizeList, Team};
pub use related::{
    AssociatedResource, AssociatedResources, Backup, BackupList, DestroyStatus, DestroyedDroplet,
    DropletSnapshotList, Firewall, FirewallList, KernelList, NeighborList, Snapshot, SnapshotList,
    SnapshotOne,
};
pub use scope::{Role, Scope};
pub use tag::{CreateTag, Tag, TagCount, TagList, TagOne, TagResources, TagTarget, TagTargets};
pub use token::{CreateToken, Token, TokenList, TokenOne};
pub use usage::{DropletUsage, RegionUsage, UploadUsage, Usage, UsageOne};

pub use user::{
    ChangePassword, CreateUser, Login, LoginMethods, Session, SessionList, SessionOne, UpdateUser,
    User, UserList, UserOne,
};

use serde::{Deserialize, Deserializer, Serialize};

/// A positive identifier, written as a JSON integer and read from an integer or a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Id(pub i64);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match IdOrName::deserialize(deserializer)? {
            IdOrName::Id(id) => Ok(Self(id)),
            IdOrName::Name(name) => Err(serde::de::Error::custom(format!("`{name}` is not an id"))),
        }
    }
}

/// A reference by number or by name: an image by id or slug, a key by id or fingerprint.
///
/// A string of decimal digits counts as a number, because some clients send ids as strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum IdOrName {
    /// By number.
    Id(i64),
    /// By slug, fingerprint or name.
    Name(String),
}

impl IdOrName {
    /// Reads a path segment or an argument.
    pub fn parse(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(id) if text.bytes().all(|b| b.is_ascii_digit()) => Self::Id(id),
            _ => Self::Name(text.to_owned()),
        }
    }
}

impl std::fmt::Display for IdOrName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for IdOrName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(id) => Self::Id(id),
            Either::Text(text) => Self::parse(&text),
        })
    }
}

/// How far a long step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, as far as known; 0 while unknown.
    pub total: u64,
}

/// Reads `null` as the default value.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_numbers_and_strings() {
        assert_eq!(serde_json::from_str::<Id>("77").unwrap(), Id(77));
        assert_eq!(serde_json::from_str::<Id>("\"77\"").unwrap(), Id(77));
        assert!(serde_json::from_str::<Id>("\"debian\"").is_err());
        assert_eq!(
            serde_json::from_str::<IdOrName>("\"aa:bb\"").unwrap(),
            IdOrName::Name("aa:bb".into())
        );
        assert_eq!(IdOrName::parse("-5"), IdOrName::Name("-5".into()));
    }

    #[test]
    fn nulls_in_a_create_request_are_defaults() {
        let request: CreateDroplet = serde_json::from_str(
            r#"{"name":"a","size":"s","image":"5","ssh_keys":null,"tags":null,"user_data":null,"baseurl":"x"}"#,
        )
        .unwrap();
        assert_eq!(request.image, IdOrName::Id(5));
        assert!(
            request.ssh_keys.is_empty() && request.tags.is_empty() && request.user_data.is_none()
        );
    }
}
