//! The section `[fetch]` of the configuration.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::Issues;

/// How imports by URL are fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// Whether images may be imported by URL at all.
    pub enabled: bool,
    /// Ports that may be connected to: `443`, or a range such as `1024-65535`.
    pub ports: Vec<Ports>,
    /// Networks that may be reached although they are not public.
    pub allow: Vec<IpNet>,
    /// Networks that may not be reached although they are public.
    pub deny: Vec<IpNet>,
    /// An HTTP proxy through which everything is fetched; it then decides what can be reached.
    pub proxy: Option<String>,
    /// A PEM file of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Fetches that run at once.
    pub concurrent: u32,
    /// Of one account.
    pub concurrent_per_account: u32,
    /// Seconds in which a connection must stand.
    pub connect_seconds: u64,
    /// Seconds over which the rate is measured; silence for so long ends an attempt.
    pub stall_seconds: u64,
    /// Bytes per second that must come on average over `stall_seconds`.
    pub minimum_rate: u64,
    /// How often in a row an attempt may fail without having brought anything.
    pub retries: u32,
    /// Hours after which a fetch is given up, whatever it has brought.
    pub hours: u32,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            ports: vec![Ports(80, 80), Ports(443, 443), Ports(1024, u16::MAX)],
            allow: Vec::new(),
            deny: Vec::new(),
            proxy: None,
            ca_file: None,
            concurrent: 4,
            concurrent_per_account: 2,
            connect_seconds: 15,
            stall_seconds: 60,
            minimum_rate: 1024,
            retries: 6,
            hours: 24,
        }
    }
}

impl FetchConfig {
    /// What TOML's types cannot say.
    pub fn check(&self, issues: &mut Issues) {
        let counts = [
            ("concurrent", self.concurrent.into()),
            ("concurrent_per_account", self.concurrent_per_account.into()),
            ("connect_seconds", self.connect_seconds),
            ("stall_seconds", self.stall_seconds),
            ("hours", self.hours.into()),
        ];
        for (name, value) in counts {
            issues.require(value > 0, format!("fetch.{name}"), || {
                format!(
                    "`fetch.{name}` must be at least 1; `fetch.enabled = false` switches imports by URL off"
                )
            });
        }
        let proxy = self.proxy.as_ref().map(reqwest::Proxy::all);
        if let Some(Err(error)) = proxy {
            issues.require(false, "fetch.proxy", || {
                format!("`fetch.proxy` is not the URL of a proxy: {error}")
            });
        }
    }

    /// Whether `port` may be connected to.
    pub fn has_port(&self, port: u16) -> bool {
        let within = |ports: &Ports| (ports.0..=ports.1).contains(&port);
        self.ports.iter().any(within)
    }
}

/// A port, or a range of ports with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Ports(u16, u16);

/// [`Ports`] as they are written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(u16),
    Range(String),
}

impl TryFrom<Written> for Ports {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::One(port) => return Ok(Self(port, port)),
            Written::Range(text) => text,
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first, last)),
            _ => Err(format!(
                "`{text}` is not a port or a range of ports such as `1024-65535`"
            )),
        }
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self(first, last) if first == last => write!(f, "{first}"),
            Self(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<FetchConfig> {
        let config: FetchConfig = toml::from_str(text)?;
        let mut issues = Issues::default();
        config.check(&mut issues);
        match issues.0.pop() {
            Some(issue) => anyhow::bail!("{}", issue.message),
            None => Ok(config),
        }
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        let config = parse("ports = [80, \"8000-8999\"]").unwrap();
        assert!(config.has_port(80) && config.has_port(8000) && config.has_port(8999));
        assert!(!config.has_port(443) && !config.has_port(9000));
        assert_eq!(config.ports[1].to_string(), "8000-8999");
        for wrong in ["ports = [\"x\"]", "ports = [\"9-8\"]", "ports = [70000]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("concurrent = 0", "fetch.enabled"),
            ("hours = 0", "hours"),
            ("proxy = \"::\"", "fetch.proxy"),
            ("allow = [\"10.0.0.0/33\"]", "allow"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
