//! The configuration: one TOML file, every value with a default that works on one machine.
//!
//! `abbild.example.toml` explains each setting. Unknown keys are errors, so that a misspelt one is
//! found at start and not by its absence.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use abbild_guest::Severities;
use anyhow::{Context, bail};
use ipnet::IpNet;
use serde::Deserialize;

use crate::db::{Backend, sqlite_url};
pub use crate::fetch::FetchConfig;
use crate::vm::qemu::QemuConfig;

/// 100 GiB, the largest virtual disk by default.
pub const DEFAULT_MAX_VIRTUAL_SIZE: u64 = 107_374_182_400;

/// Everything an operator can set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the API listens. Plain HTTP, hence loopback by default.
    pub listen: SocketAddr,
    /// Base URL under which clients reach the API; from the `Host` header when absent.
    pub public_url: Option<String>,
    /// Database, uploads, images and machines live below this directory. One process uses it.
    pub data: PathBuf,
    /// URL of a PostgreSQL database; an SQLite file in `data` when absent.
    pub database: Option<String>,
    /// Networks of the proxies that stand before the service: from these alone the header
    /// `forwarded_header` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they say who the client is.
    pub forwarded_header: ForwardedHeader,
    /// Sizes and times.
    pub limits: Limits,
    /// Imports by URL.
    pub fetch: FetchConfig,
    /// Severity of each requirement, by rule.
    pub requirements: Severities,
    /// The regions, in the order in which they are listed.
    pub regions: Vec<RegionConfig>,
    /// Machines.
    pub vm: VmConfig,
}

/// A header in which proxies say who the client is. Only one is read: a proxy that writes one of
/// them passes the other on as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly every proxy writes.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Sizes and times.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest virtual disk in bytes; also bounds what a compressed upload may unpack to.
    pub max_virtual_size: u64,
    /// Largest upload in bytes.
    pub max_upload_size: u64,
    /// Machines that an account may have.
    pub droplets_per_account: u32,
    /// Hours after which an upload that nobody continues is removed.
    pub upload_idle_hours: u32,
    /// Minutes for which a deleted image still answers by id, as `deleted`.
    pub tombstone_minutes: u32,
    /// Requests that a token, or an address without one, may make in an hour; 0 for no limit.
    pub requests_per_hour: u32,
    /// The same in a minute.
    pub requests_per_minute: u32,
}

/// One region.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionConfig {
    /// Short name in the API.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// Directory of its image store and machines; `<data>/regions/<slug>` when absent.
    pub directory: Option<PathBuf>,
}

/// Machines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VmConfig {
    /// First loopback address that is given to a machine.
    pub first_address: Ipv4Addr,
    /// How many addresses there are.
    pub addresses: u32,
    /// The QEMU program, looked up in `PATH`, or its path.
    pub qemu: PathBuf,
    /// Whether KVM may be used where a trial shows that it works.
    pub kvm: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            data: default_data(),
            database: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            limits: Limits::default(),
            fetch: FetchConfig::default(),
            requirements: Severities::default(),
            regions: vec![region("hal1", "Hallstadt"), region("nbg1", "Nürnberg")],
            vm: VmConfig::default(),
        }
    }
}

/// `$XDG_DATA_HOME/abbild`, by default `~/.local/share/abbild`.
fn default_data() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("abbild")
}

fn region(slug: &str, name: &str) -> RegionConfig {
    RegionConfig {
        slug: slug.to_owned(),
        name: name.to_owned(),
        directory: None,
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_virtual_size: DEFAULT_MAX_VIRTUAL_SIZE,
            max_upload_size: DEFAULT_MAX_VIRTUAL_SIZE + DEFAULT_MAX_VIRTUAL_SIZE / 64,
            droplets_per_account: 25,
            upload_idle_hours: 24,
            tombstone_minutes: 60,
            requests_per_hour: 5000,
            requests_per_minute: 250,
        }
    }
}

impl Default for VmConfig {
    fn default() -> Self {
        Self {
            first_address: Ipv4Addr::new(127, 64, 0, 2),
            addresses: 4096,
            qemu: PathBuf::from("qemu-system-x86_64"),
            kvm: true,
        }
    }
}

impl VmConfig {
    /// What the QEMU driver needs to know.
    pub fn qemu_config(&self) -> QemuConfig {
        QemuConfig {
            program: self.qemu.clone(),
            allow_kvm: self.kvm,
        }
    }
}

impl Config {
    /// Reads `path`, or takes the defaults without one.
    ///
    /// # Errors
    /// When the file cannot be read, or with the line and key that is wrong.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let config = match path {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("parsing {}", path.display()))?
            }
        };
        config.check()?;
        Ok(config)
    }

    /// What TOML's types cannot say.
    ///
    /// # Errors
    /// With the setting that is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        if !self.listen.ip().is_loopback() {
            bail!(
                "`listen = \"{}\"` would serve plain HTTP to the network; listen on 127.0.0.1 and put a TLS proxy before it",
                self.listen
            );
        }
        self.fetch.check()?;
        if let Some(url) = &self.database {
            Backend::of(url).context("`database`")?;
        }
        if self.regions.is_empty() {
            bail!("`regions` is empty; name at least one");
        }
        for (index, region) in self.regions.iter().enumerate() {
            check_slug(&region.slug)?;
            if self
                .regions
                .iter()
                .take(index)
                .any(|r| r.slug == region.slug)
            {
                bail!("`regions` names `{}` twice", region.slug);
            }
        }
        let first = u32::from(self.vm.first_address);
        let last = first.checked_add(self.vm.addresses.saturating_sub(1));
        if self.vm.addresses == 0
            || !last.is_some_and(|last| first >> 24 == 127 && last >> 24 == 127)
        {
            bail!("`vm.first_address` and `vm.addresses` must stay within 127.0.0.0/8");
        }
        Ok(())
    }

    /// The URL of the database.
    pub fn database_url(&self) -> String {
        self.database
            .clone()
            .unwrap_or_else(|| sqlite_url(&self.data.join("abbild.db")))
    }

    /// Where the parts of a region lie.
    pub fn region_directory(&self, region: &RegionConfig) -> PathBuf {
        region
            .directory
            .clone()
            .unwrap_or_else(|| self.data.join("regions").join(&region.slug))
    }
}

fn check_slug(slug: &str) -> anyhow::Result<()> {
    let ok = !slug.is_empty()
        && slug.len() <= 32
        && slug
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !ok {
        bail!("region slug `{slug}` may only hold a-z, 0-9 and -, up to 32 of them");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn defaults_are_valid_and_have_the_two_regions() {
        let config = parse("").unwrap();
        let slugs: Vec<_> = config.regions.iter().map(|r| r.slug.as_str()).collect();
        assert_eq!(slugs, ["hal1", "nbg1"]);
    }

    #[test]
    fn the_example_file_holds_the_defaults() {
        let example = include_str!("../../../abbild.example.toml");
        let (example, defaults) = (parse(example).unwrap(), Config::default());
        for &rule in abbild_guest::RuleId::ALL {
            assert_eq!(
                example.requirements.0.get(&rule),
                Some(&rule.default_severity()),
                "abbild.example.toml: `{rule}` in [requirements]"
            );
        }
        let without_rules = |config: Config| Config {
            requirements: Severities::default(),
            ..config
        };
        assert_eq!(
            format!("{:?}", without_rules(example)),
            format!("{:?}", without_rules(defaults))
        );
    }

    #[test]
    fn every_rule_can_be_given_a_severity_and_nothing_else_can() {
        for &rule in abbild_guest::RuleId::ALL {
            for severity in ["failure", "warning", "note"] {
                let text = format!("[requirements]\n{rule} = \"{severity}\"");
                let config = parse(&text).unwrap();
                let named = serde_json::to_value(config.requirements.of(rule)).unwrap();
                assert_eq!(named, severity, "{rule}");
            }
        }
        assert!(parse("[requirements]\nno-such-rule = \"note\"").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("lisen = \"127.0.0.1:1\"", "lisen"),
            ("listen = \"0.0.0.0:80\"", "plain HTTP"),
            ("regions = []", "at least one"),
            ("[[regions]]\nslug = \"A\"\nname = \"a\"", "`A`"),
            ("[vm]\nfirst_address = \"10.0.0.1\"", "127.0.0.0/8"),
            (
                "[vm]\nfirst_address = \"127.255.255.255\"\naddresses = 2",
                "127.0.0.0/8",
            ),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
