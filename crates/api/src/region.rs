//! Regions, sizes and the account.

use serde::{Deserialize, Serialize};

use crate::{Links, Meta, QuotaUse, Scope};

/// A place with a store and a hypervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Region {
    /// Short name.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// What it offers.
    pub features: Vec<String>,
    /// Whether machines can be created there now.
    pub available: bool,
    /// Slugs of the sizes that it offers.
    pub sizes: Vec<String>,
}

/// `{"regions": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionList {
    /// This page.
    pub regions: Vec<Region>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// A size of machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Size {
    /// Short name.
    pub slug: String,
    /// MiB.
    pub memory: i64,
    /// Virtual processors.
    pub vcpus: i64,
    /// GB.
    pub disk: i64,
    /// TB per month.
    pub transfer: f64,
    /// Per month.
    pub price_monthly: f64,
    /// Per hour.
    pub price_hourly: f64,
    /// Regions that offer it.
    pub regions: Vec<String>,
    /// Whether it can be created now.
    pub available: bool,
    /// For people.
    pub description: String,
}

/// `{"sizes": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SizeList {
    /// This page.
    pub sizes: Vec<Size>,
    /// Other pages.
    pub links: Links,
    /// Total.
    pub meta: Meta,
}

/// Who the token belongs to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// How many machines it may have; 2147483647 for no limit.
    pub droplet_limit: i64,
    /// Always 0: there are no floating addresses.
    pub floating_ip_limit: i64,
    /// Address of its owner.
    pub email: String,
    /// Its name.
    pub name: String,
    /// Identifier.
    pub uuid: String,
    /// Whether the address was proven.
    pub email_verified: bool,
    /// `active`, `warning` or `locked`.
    pub status: String,
    /// Why it is not active.
    pub status_message: String,
    /// The team, which is the account itself.
    pub team: Team,
    /// What we add.
    #[serde(rename = "abbild", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub extra: Option<AccountExtra>,
}

/// What we add to an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountExtra {
    /// What whoever asks may do in it.
    pub scopes: Vec<Scope>,
    /// How much the account may have, and has.
    pub quotas: Vec<QuotaUse>,
}

/// The team of an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Team {
    /// Identifier.
    pub uuid: String,
    /// Name.
    pub name: String,
}

/// `{"account": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountOne {
    /// The account.
    pub account: Account,
}
