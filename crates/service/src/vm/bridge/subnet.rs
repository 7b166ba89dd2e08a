//! The network on a bridge, and the places in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::vm::mac::Mac;
use crate::vm::network::{BridgeNetwork, Dhcp, Ipv6Place};

/// What the operator said of it; the settings of `[vm.network]`.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // as the settings
pub struct Subnet {
    pub bridge: String,
    pub ipv4: Ipv4Net,
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// The network of 64 bits, and the router.
    pub ipv6: Option<(Ipv6Net, Ipv6Addr)>,
    pub dns: Vec<IpAddr>,
    pub mtu: u16,
    pub dhcp: Dhcp,
}

impl Subnet {
    /// The addresses that machines get, lowest first.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let numbers = self.first.to_bits()..=self.last.to_bits();
        numbers
            .map(Ipv4Addr::from_bits)
            .filter(|address| *address != self.gateway)
    }

    /// The place of a machine with these addresses; `None` if the network is another now.
    #[must_use]
    pub fn place(&self, address: Ipv4Addr, mac: Mac) -> Option<BridgeNetwork> {
        if !self.ipv4.contains(&address) {
            return None;
        }
        Some(BridgeNetwork {
            mac,
            ipv4: Ipv4Net::new(address, self.ipv4.prefix_len()).ok()?,
            gateway: self.gateway,
            ipv6: self.ipv6.and_then(|(network, gateway)| {
                let address = Ipv6Net::new(mac.in_network(network), network.prefix_len());
                let address = address.ok()?;
                Some(Ipv6Place { address, gateway })
            }),
            dns: self.dns.clone(),
            mtu: self.mtu,
            dhcp: self.dhcp,
        })
    }
}
