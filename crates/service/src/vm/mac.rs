//! Hardware addresses of machines, and what IPv6 makes of them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::VmId;

/// A hardware address, locally administered and unicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// That of a machine which has a network of its own, where nobody else can have it.
    #[must_use]
    pub fn of_machine(id: VmId) -> Self {
        let [.., a, b, c, d] = id.to_be_bytes();
        Self([0x52, 0x54, a, b, c, d])
    }

    /// One for a machine on a bridge, where it meets those of other services, whose ids are the same.
    #[must_use]
    pub fn random() -> Self {
        let [a, b, c, d, e] = rand::random();
        Self([0x06, a, b, c, d, e])
    }

    /// The name of the bridge port to which a machine with this address is connected; shorter than
    /// the 15 bytes that the kernel allows.
    #[must_use]
    pub fn port(self) -> String {
        let [_, rest @ ..] = self.0;
        format!("ab{}", hex::encode(rest))
    }

    /// The address of the host's side of that port. A bridge takes the lowest address of its ports for
    /// its own, unless it was given one, and must not change it with every machine.
    #[must_use]
    pub fn of_host_side(self) -> Self {
        let [_, a, b, c, d, e] = self.0;
        Self([0xfe, a, b, c, d, e])
    }

    /// The IPv6 address that follows from it in a network of 64 bits (EUI-64; RFC 4291, appendix A).
    #[must_use]
    pub fn in_network(self, network: Ipv6Net) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let interface = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        let prefix = network.network().to_bits() >> 64 << 64;
        Ipv6Addr::from_bits(prefix | u128::from(interface))
    }

    /// Its IPv6 address on the link itself (RFC 4291, section 2.5.6).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        self.in_network(Ipv6Net::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is no hardware address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no hardware address")]
pub struct NotMac(String);

impl FromStr for Mac {
    type Err = NotMac;

    fn from_str(text: &str) -> Result<Self, NotMac> {
        let mut bytes = [0; 6];
        match hex::decode_to_slice(text.replace(':', ""), &mut bytes) {
            Ok(()) if text.len() == 17 => Ok(Self(bytes)),
            _ => Err(NotMac(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Mac {
    type Error = NotMac;

    fn try_from(text: String) -> Result<Self, NotMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_local_and_unicast() {
        let mac = Mac::of_machine(0x1_2345_6789);
        assert_eq!(mac.to_string(), "52:54:23:45:67:89");
        for mac in [mac, Mac::random(), Mac::random().of_host_side()] {
            assert_eq!(mac.0[0] & 0b11, 0b10);
            assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
            assert!(mac.port().len() <= 15);
        }
        assert!("52:54:00".parse::<Mac>().is_err());
        assert!("52:54:00:00:00:0g".parse::<Mac>().is_err());
    }

    #[test]
    fn ipv6_addresses_are_those_of_the_rfc() {
        let mac: Mac = "36:56:78:9a:bc:de".parse().unwrap();
        let network = "fd00:20::/64".parse().unwrap();
        assert_eq!(
            mac.in_network(network).to_string(),
            "fd00:20::3456:78ff:fe9a:bcde"
        );
        assert_eq!(mac.link_local().to_string(), "fe80::3456:78ff:fe9a:bcde");
        assert_eq!(mac.port(), "ab56789abcde");
    }
}
