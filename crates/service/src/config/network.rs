//! How machines are connected: `[vm.network]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::Issues;
use crate::vm::bridge::Subnet;
use crate::vm::network::Dhcp;

/// `[vm.network]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// By themselves or to a bridge. The settings below are for the latter.
    pub mode: NetworkMode,
    /// The bridge, which must be there.
    pub bridge: Option<String>,
    /// The IPv4 network on it.
    pub ipv4: Option<Ipv4Net>,
    /// First and last of its addresses that machines get; all when absent.
    pub first: Option<Ipv4Addr>,
    pub last: Option<Ipv4Addr>,
    /// Its router.
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 network on the bridge, of 64 bits; none when absent.
    pub ipv6: Option<Ipv6Net>,
    /// Its router.
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// Name servers, best first.
    pub dns: Vec<IpAddr>,
    /// The largest packet on the bridge, in bytes.
    pub mtu: u16,
    /// Who serves DHCP there.
    pub dhcp: Dhcp,
}

/// How machines are connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Each by itself, with a loopback address of the host.
    #[default]
    User,
    /// To a bridge of the host.
    Bridge,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            mode: NetworkMode::User,
            bridge: None,
            ipv4: None,
            first: None,
            last: None,
            gateway: None,
            ipv6: None,
            ipv6_gateway: None,
            dns: Vec::new(),
            mtu: 1500,
            dhcp: Dhcp::Managed,
        }
    }
}

/// What IPv6 demands of every link (RFC 8200, section 5), and IPv4 hardly works below.
const SMALLEST_MTU: u16 = 1280;

impl NetworkConfig {
    /// The network that machines are connected to, unless each is by itself; also `None` if something
    /// is missing, which [`Self::check`] finds.
    pub fn subnet(&self) -> Option<Subnet> {
        if self.mode == NetworkMode::User {
            return None;
        }
        let ipv4 = self.ipv4?;
        let mut hosts = ipv4.hosts();
        Some(Subnet {
            bridge: self.bridge.clone()?,
            ipv4,
            first: self.first.or_else(|| hosts.next())?,
            last: self.last.or_else(|| hosts.next_back())?,
            gateway: self.gateway?,
            ipv6: match self.ipv6 {
                Some(network) => Some((network, self.ipv6_gateway?)),
                None => None,
            },
            dns: self.dns.clone(),
            mtu: self.mtu,
            dhcp: self.dhcp,
        })
    }

    /// What TOML's types cannot say.
    pub fn check(&self, issues: &mut Issues) {
        if self.mode == NetworkMode::User {
            return;
        }
        let mut require = |holds: bool, key: &str, message: &str| {
            issues.require(holds, format!("vm.network.{key}"), || message.to_owned());
        };
        require(
            self.bridge.as_deref().is_some_and(is_interface),
            if self.bridge.is_some() {
                "bridge"
            } else {
                "mode"
            },
            "with `mode = \"bridge\"`, `bridge` must name a bridge of this host: up to 15 letters, digits, `-`, `_` and `.`",
        );
        require(
            self.mtu >= SMALLEST_MTU,
            "mtu",
            "`mtu` must be at least 1280, which IPv6 demands",
        );
        self.check_ipv4(&mut require);
        self.check_ipv6(&mut require);
    }

    fn check_ipv4(&self, require: &mut impl FnMut(bool, &str, &str)) {
        let Some(network) = self.ipv4 else {
            require(
                false,
                "mode",
                "with `mode = \"bridge\"`, `ipv4` must say which network is on the bridge, such as \"10.20.0.0/24\"",
            );
            return;
        };
        let large = network.prefix_len() <= 30;
        require(
            large && !network.addr().is_loopback() && !network.addr().is_multicast(),
            "ipv4",
            "`ipv4` must be a network of hosts with at most 30 bits, such as \"10.20.0.0/24\"",
        );
        if !large {
            return;
        }
        let is_host = |address: Ipv4Addr| {
            network.contains(&address)
                && address != network.network()
                && address != network.broadcast()
        };
        for (key, address) in [("first", self.first), ("last", self.last)] {
            require(
                address.is_none_or(is_host),
                key,
                &format!("`{key}` must be an address that a host in `ipv4` can have"),
            );
        }
        require(
            self.first
                .zip(self.last)
                .is_none_or(|(first, last)| first <= last),
            "first",
            "`first` must not lie behind `last`",
        );
        require(
            self.gateway.is_some_and(is_host),
            if self.gateway.is_some() {
                "gateway"
            } else {
                "ipv4"
            },
            "`gateway` must be the address of the router in `ipv4`",
        );
    }

    fn check_ipv6(&self, require: &mut impl FnMut(bool, &str, &str)) {
        let Some(network) = self.ipv6 else {
            require(
                self.ipv6_gateway.is_none(),
                "ipv6_gateway",
                "`ipv6_gateway` is of no use without `ipv6`",
            );
            return;
        };
        require(
            network.prefix_len() == 64 && !network.addr().is_multicast(),
            "ipv6",
            "`ipv6` must have 64 bits, such as \"fd00:20::/64\": the other half of an address follows from the machine's hardware address",
        );
        let is_router =
            |address: Ipv6Addr| network.contains(&address) || address.is_unicast_link_local();
        require(
            self.ipv6_gateway.is_some_and(is_router),
            if self.ipv6_gateway.is_some() {
                "ipv6_gateway"
            } else {
                "ipv6"
            },
            "`ipv6_gateway` must be the address of the router in `ipv6`, or its address on the link (fe80::…)",
        );
    }
}

/// Whether a network interface may be called that.
fn is_interface(name: &str) -> bool {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !matches!(name, "" | "." | "..")
        && name.len() <= 15
        && !name.starts_with('-')
        && name.chars().all(ordinary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issues(text: &str) -> Vec<String> {
        let config: NetworkConfig = toml::from_str(text).unwrap();
        let mut issues = Issues::default();
        config.check(&mut issues);
        issues.0.into_iter().map(|issue| issue.key).collect()
    }

    const GOOD: &str = r#"
mode = "bridge"
bridge = "br0"
ipv4 = "10.20.0.0/24"
gateway = "10.20.0.1"
ipv6 = "fd00:20::/64"
ipv6_gateway = "fe80::1"
"#;

    #[test]
    fn a_network_needs_little() {
        assert_eq!(issues(GOOD), [""; 0]);
        let config: NetworkConfig = toml::from_str(GOOD).unwrap();
        let subnet = config.subnet().unwrap();
        assert_eq!(subnet.first.to_string(), "10.20.0.1");
        assert_eq!(subnet.last.to_string(), "10.20.0.254");
        assert!(NetworkConfig::default().subnet().is_none());
    }

    #[test]
    fn every_mistake_is_named() {
        assert_eq!(issues("bridge = \"/\""), [""; 0], "nothing is used of it");
        assert_eq!(
            issues("mode = \"bridge\""),
            ["vm.network.mode", "vm.network.mode"]
        );
        let wrong = r#"
mode = "bridge"
bridge = "a name that is too long"
ipv4 = "10.20.0.0/24"
first = "10.20.0.0"
last = "10.20.1.1"
gateway = "10.20.0.255"
ipv6 = "fd00:20::/48"
ipv6_gateway = "fd00:21::1"
mtu = 576
"#;
        let wrong = issues(wrong);
        for key in [
            "bridge",
            "mtu",
            "first",
            "last",
            "gateway",
            "ipv6",
            "ipv6_gateway",
        ] {
            let key = format!("vm.network.{key}");
            assert!(wrong.contains(&key), "{key} in {wrong:?}");
        }
        let missing = GOOD.replace("gateway", "#").replace("ipv6_#", "#");
        assert_eq!(issues(&missing), ["vm.network.ipv4", "vm.network.ipv6"]);
        let small = GOOD.replace("10.20.0.0/24", "10.20.0.0/31");
        assert_eq!(issues(&small), ["vm.network.ipv4"]);
        let reversed = format!("{GOOD}first = \"10.20.0.9\"\nlast = \"10.20.0.8\"");
        assert_eq!(issues(&reversed), ["vm.network.first"]);
    }
}
