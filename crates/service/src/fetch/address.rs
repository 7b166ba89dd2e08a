//! Which addresses an import by URL may connect to.
//!
//! A customer chooses the URL, and the service stands inside the operator's network: whatever is
//! not plainly a host of the public internet is refused. The tables are IANA's registries of
//! special-purpose addresses (RFC 6890 and its successors), and what clouds use for the metadata
//! of their machines. Addresses that carry an IPv4 address within are judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 addresses that are no host of the public internet, and what they are.
const V4: &[(Ipv4Net, &str)] = &[
    (v4([0, 0, 0, 0], 8), "an unspecified address"),
    (v4([10, 0, 0, 0], 8), "a private address"),
    (
        v4([100, 64, 0, 0], 10),
        "an address shared by a provider's customers",
    ),
    (v4([127, 0, 0, 0], 8), "a loopback address"),
    (
        v4([168, 63, 129, 16], 32),
        "a cloud's own service for its machines",
    ),
    (v4([169, 254, 0, 0], 16), "a link-local address"),
    (v4([172, 16, 0, 0], 12), "a private address"),
    (v4([192, 0, 0, 0], 24), "an address reserved for protocols"),
    (v4([192, 0, 2, 0], 24), "an address for documentation"),
    (v4([192, 88, 99, 0], 24), "a 6to4 relay"),
    (v4([192, 168, 0, 0], 16), "a private address"),
    (v4([198, 18, 0, 0], 15), "an address for benchmarks"),
    (v4([198, 51, 100, 0], 24), "an address for documentation"),
    (v4([203, 0, 113, 0], 24), "an address for documentation"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([240, 0, 0, 0], 4), "a reserved or broadcast address"),
];

/// The only IPv6 addresses that are assigned to hosts of the public internet.
const V6_PUBLIC: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Those among them that are no such host.
const V6: &[(Ipv6Net, &str)] = &[
    // Teredo, benchmarks, ORCHID and more: tunnels and identifiers, not hosts.
    (
        v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
        "an address reserved for protocols",
    ),
    (
        v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        "an address for documentation",
    ),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "a 6to4 address"),
    (
        v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
        "an address for documentation",
    ),
];

/// Outside of [`V6_PUBLIC`], only to say what it is.
const V6_OTHER: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "an unspecified address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        "a link-local address",
    ),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

/// `::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2.
const V6_MAPPED: Ipv6Net = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
/// `64:ff9b::a.b.c.d`, RFC 6052: what DNS64 answers for hosts that have IPv4 only.
const V6_NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The operator's exceptions.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// May be connected to, whatever they are.
    pub allow: Vec<IpNet>,
    /// May not, not even if they are public.
    pub deny: Vec<IpNet>,
}

impl Reach {
    /// What `address` is, if it may not be connected to.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        let inner = embedded(address);
        let within = |nets: &[IpNet]| {
            nets.iter()
                .any(|net| net.contains(&address) || inner.is_some_and(|ip| net.contains(&ip)))
        };
        if within(&self.deny) {
            return Some("an address that the operator has closed");
        }
        if within(&self.allow) {
            return None;
        }
        special(inner.unwrap_or(address))
    }
}

/// The IPv4 address that packets to `address` end at.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(v6) if V6_MAPPED.contains(&v6) || V6_NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            Some(Ipv4Addr::new(a, b, c, d).into())
        }
        _ => None,
    }
}

/// What `address` is, if it is no host of the public internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) => V4.iter().find(|(net, _)| net.contains(&ip)).map(|e| e.1),
        IpAddr::V6(ip) if V6_PUBLIC.contains(&ip) => {
            V6.iter().find(|(net, _)| net.contains(&ip)).map(|e| e.1)
        }
        IpAddr::V6(ip) => {
            let known = V6_OTHER.iter().find(|(net, _)| net.contains(&ip));
            Some(known.map_or("a reserved address", |entry| entry.1))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(address: &str) -> bool {
        Reach::default().refusal(address.parse().unwrap()).is_some()
    }

    #[test]
    fn only_hosts_of_the_public_internet_are_reached() {
        let closed = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in closed {
            assert!(refused(address), "{address}");
        }
        let open = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a01:4f8::1",
            "2003::1",
            "2001:200::1",
        ];
        for address in open {
            assert!(!refused(address), "{address}");
        }
    }

    #[test]
    fn exceptions_reach_what_is_embedded_and_closing_wins() {
        let reach = Reach {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            deny: vec![
                "10.9.0.0/16".parse().unwrap(),
                "8.8.8.0/24".parse().unwrap(),
            ],
        };
        let open = |address: &str| reach.refusal(address.parse().unwrap()).is_none();
        assert!(open("10.1.2.3") && open("::ffff:10.1.2.3") && open("64:ff9b::10.1.2.3"));
        assert!(open("fd12::1") && open("9.9.9.9"));
        assert!(!open("10.9.0.1") && !open("::ffff:10.9.0.1"));
        assert!(!open("8.8.8.8") && !open("64:ff9b::8.8.8.8"));
        assert!(!open("192.168.0.1") && !open("127.0.0.1") && !open("fc00::1"));
    }

    proptest! {
        /// The standard library's own idea of these classes is the oracle.
        #[test]
        fn what_the_standard_library_calls_special_is_refused(bits: u32) {
            let ip = Ipv4Addr::from(bits);
            let special = ip.is_private() || ip.is_loopback() || ip.is_link_local()
                || ip.is_multicast() || ip.is_broadcast() || ip.is_documentation()
                || ip.is_unspecified();
            let reach = Reach::default();
            prop_assert!(!special || reach.refusal(ip.into()).is_some());
            // However it is written, it is judged alike.
            let expected = reach.refusal(ip.into());
            prop_assert_eq!(reach.refusal(ip.to_ipv6_mapped().into()), expected);
            let [a, b, c, d] = ip.octets();
            let nat64 = Ipv6Addr::from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
            prop_assert_eq!(reach.refusal(nat64.into()), expected);
        }

        #[test]
        fn ipv6_outside_of_global_unicast_is_refused(bits: u128) {
            let ip = Ipv6Addr::from(bits);
            let special = ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast()
                || ip.is_loopback() || ip.is_unspecified();
            prop_assert!(!special || refused(&ip.to_string()));
            let public = ip.segments()[0] >> 13 == 1;
            prop_assert!(public || embedded(ip.into()).is_some() || refused(&ip.to_string()));
        }
    }
}
