//! `[oidc]`: logging in with an account at an OpenID Connect provider.

use std::net::IpAddr;
use std::path::PathBuf;

use abbild_api::Role;
use serde::{Deserialize, Serialize};

use super::{Issues, Secret};

/// The provider, and who of its users may come in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcConfig {
    /// Its issuer URL; nobody logs in this way when absent.
    pub issuer: Option<String>,
    /// What the login is called on a button.
    pub name: String,
    /// What the provider knows this service as.
    pub client_id: String,
    /// The proof of it; some providers know services without one.
    pub client_secret: Option<Secret>,
    /// Domains of e-mail addresses that may come in; all when empty.
    pub domains: Vec<String>,
    /// The account that those join who are no users yet: its id, UUID or address. Only users may
    /// come in when absent.
    pub join_account: Option<String>,
    /// What they may do there.
    pub join_role: Role,
    /// Authorities in PEM that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: None,
            name: "OpenID Connect".to_owned(),
            client_id: String::new(),
            client_secret: None,
            domains: Vec::new(),
            join_account: None,
            join_role: Role::Member,
            ca_file: None,
        }
    }
}

impl OidcConfig {
    pub(super) fn check(&self, issues: &mut Issues) {
        let Some(issuer) = &self.issuer else {
            let used = !self.client_id.is_empty() || self.join_account.is_some();
            issues.require(!used, "oidc", || {
                "`[oidc]` is of no use without `issuer`, the URL of the provider".to_owned()
            });
            return;
        };
        let url = reqwest::Url::parse(issuer).ok();
        let safe = url.is_some_and(|url| match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => true,
            ("http", Some(host)) => {
                let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
                address.is_ok_and(|address| address.is_loopback())
            }
            _ => false,
        });
        issues.require(safe, "oidc.issuer", || {
            format!("`issuer = \"{issuer}\"` is no `https://` URL, as the provider shows it")
        });
        issues.require(!self.client_id.is_empty(), "oidc.client_id", || {
            "`client_id` is missing: what the provider knows this service as".to_owned()
        });
        let joins = self.join_account.is_none() || !self.domains.is_empty();
        issues.require(joins, "oidc.domains", || {
            "with `join_account`, everybody whom the provider knows would come in; say in `domains` \
             whose e-mail addresses may"
                .to_owned()
        });
    }

    /// Whether somebody with this address may come in.
    pub fn admits(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        let mut domains = self.domains.iter();
        self.domains.is_empty() || domains.any(|d| d.eq_ignore_ascii_case(domain))
    }
}
