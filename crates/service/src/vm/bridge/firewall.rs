//! The guard of a machine's port: a guest sends in its own name or not at all.
//!
//! It is a chain of rules for each port in a table of our own, of nftables' family `bridge`, where every
//! frame passes before the bridge looks at it. So neither other machines nor the host itself see a
//! frame that
//!
//! - comes from another hardware address, or belongs to a VLAN;
//! - says in ARP (RFC 826) or neighbour discovery (RFC 4861) that another address is the machine's;
//! - comes from an IPv4 or IPv6 address that is not the machine's, but for those that a machine has
//!   while it asks for one: 0.0.0.0 and `::`;
//! - answers DHCP, advertises a router, or redirects others;
//! - is of any other protocol: spanning trees and the like are none of a guest's business.

use std::collections::HashSet;

use super::program::run;
use crate::vm::VmError;
use crate::vm::network::BridgeNetwork;

/// What every change begins with: the table, and in it the way from a port to its chain.
const TABLE: &str = "\
add table bridge abbild
add map bridge abbild ports { type ifname : verdict ; }
add chain bridge abbild guard { type filter hook prerouting priority filter ; policy accept ; }
flush chain bridge abbild guard
add rule bridge abbild guard iifname vmap @ports
";

/// Sets the guards of these machines, in place of what there may be, at one stroke.
pub async fn put(networks: &[&BridgeNetwork]) -> Result<(), VmError> {
    let mut script = TABLE.to_owned();
    for network in networks {
        script += &guard(network);
    }
    apply(&script).await
}

/// Removes the guard of a port; one that is not there is removed already.
pub async fn remove(port: &str) -> Result<(), VmError> {
    // What is added first can be removed in any case.
    let script = format!(
        "{TABLE}\
         add chain bridge abbild {port}\n\
         add element bridge abbild ports {{ \"{port}\" : goto {port} }}\n\
         delete element bridge abbild ports {{ \"{port}\" }}\n\
         flush chain bridge abbild {port}\n\
         delete chain bridge abbild {port}\n"
    );
    apply(&script).await
}

/// The ports that are guarded.
pub async fn guarded() -> HashSet<String> {
    // It fails if there is no table, and then none is.
    let said = run("nft", &["list", "map", "bridge", "abbild", "ports"], "").await;
    let said = said.unwrap_or_default();
    // Names are in quotation marks, and nothing else is.
    said.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

async fn apply(script: &str) -> Result<(), VmError> {
    run("nft", &["--file", "-"], script).await?;
    Ok(())
}

fn guard(network: &BridgeNetwork) -> String {
    let (port, mac, ipv4) = (network.mac.port(), network.mac, network.ipv4.addr());
    let addresses = network.ipv6_addresses();
    let ipv6 = addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    // The target of a solicitation or advertisement (RFC 4861, section 4.3), as a number.
    let targets = addresses
        .iter()
        .map(|address| format!("{:#034x}", address.to_bits()));
    let targets = targets.collect::<Vec<_>>().join(", ");
    let rules = [
        format!("ether saddr != {mac} drop"),
        "ether type { 8021q, 8021ad } drop".to_owned(),
        // A machine that looks whether its address is taken has none yet (RFC 5227).
        format!(
            "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {mac} \
             arp saddr ip {{ {ipv4}, 0.0.0.0 }} accept"
        ),
        "ether type ip udp sport 67 drop".to_owned(),
        "ether type ip udp dport 68 drop".to_owned(),
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept".to_owned(),
        format!("ip saddr {ipv4} accept"),
        "ether type ip6 udp sport 547 drop".to_owned(),
        "ether type ip6 udp dport 546 drop".to_owned(),
        "icmpv6 type { nd-router-advert, nd-redirect } drop".to_owned(),
        format!(
            "ip6 saddr {{ {ipv6} }} icmpv6 type nd-neighbor-advert @th,64,128 {{ {targets} }} accept"
        ),
        "icmpv6 type nd-neighbor-advert drop".to_owned(),
        format!("ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 {{ {targets} }} accept"),
        "ip6 saddr :: icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } \
         accept"
            .to_owned(),
        format!("ip6 saddr {{ {ipv6} }} accept"),
        "drop".to_owned(),
    ];
    let mut script = format!("add chain bridge abbild {port}\nflush chain bridge abbild {port}\n");
    for rule in rules {
        script += &format!("add rule bridge abbild {port} {rule}\n");
    }
    script + &format!("add element bridge abbild ports {{ \"{port}\" : goto {port} }}\n")
}
