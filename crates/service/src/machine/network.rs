//! What connects machines, as their rows have it: an address that is lent to each for as long as it is on
//! a host, and on a bridge a hardware address.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use abbild_api::{NetworkV4, NetworkV6, Networks};
use anyhow::Context;

use super::complaints::Complaints;
use crate::Service;
use crate::config::VmConfig;
use crate::db::droplet::{self, DropletRow};
use crate::db::{self, Tx};
use crate::vm::mac::Mac;
use crate::vm::network::{self, BridgeNetwork, Network, UserNetwork};

/// How often machines that run are looked after.
const PERIOD: Duration = Duration::from_secs(10);

/// What a new machine is lent.
#[derive(Debug)]
pub struct Allotment {
    /// Its address.
    pub address: Ipv4Addr,
    /// The port on it for the guest's sshd.
    pub ssh_port: u16,
    /// Its hardware address, if it is for a bridge.
    pub mac: Option<Mac>,
}

/// The lowest address that no machine holds, with what belongs to it; `None` if all are taken.
///
/// # Errors
/// Those of the database.
pub async fn allot(config: &VmConfig, tx: &mut Tx) -> db::Result<Option<Allotment>> {
    let taken: HashSet<String> = droplet::addresses(tx).await?.into_iter().collect();
    let is_free = |address: &Ipv4Addr| !taken.contains(&address.to_string());
    if let Some(subnet) = config.network.subnet() {
        let Some(address) = subnet.addresses().find(is_free) else {
            return Ok(None);
        };
        let mut mac = Mac::random();
        while droplet::has_mac(tx, &mac.to_string()).await? {
            mac = Mac::random();
        }
        return Ok(Some(Allotment {
            address,
            ssh_port: 22,
            mac: Some(mac),
        }));
    }
    let first = u32::from(config.first_address);
    let addresses = (first..first.saturating_add(config.addresses)).map(Ipv4Addr::from);
    // Another program may hold the ports of an address; then the next one serves as well.
    let found = addresses.filter(is_free).find_map(|address| {
        let ssh_port = network::pick_ssh_port(address).ok()?;
        Some(Allotment {
            address,
            ssh_port,
            mac: None,
        })
    });
    Ok(found)
}

/// The place of a machine on the bridge; `None` if it has no hardware address of its own, or the network
/// on the bridge is another by now.
fn on_bridge(config: &VmConfig, row: &DropletRow) -> anyhow::Result<Option<BridgeNetwork>> {
    let (Some(mac), Some(subnet)) = (&row.mac, config.network.subnet()) else {
        return Ok(None);
    };
    Ok(subnet.place(row.address.parse()?, mac.parse()?))
}

/// How a machine is to be connected.
pub fn of(config: &VmConfig, row: &DropletRow) -> anyhow::Result<Network> {
    if row.mac.is_some() {
        let place = on_bridge(config, row)?.with_context(|| {
            format!(
                "the machine has the address {}, which is not of the network on this host\nits operator \
                 can set `[vm.network]` to what it was when the machine was made",
                row.address
            )
        })?;
        return Ok(Network::Bridge(place));
    }
    Ok(Network::User(UserNetwork {
        address: row.address.parse()?,
        ssh_port: u16::try_from(row.ssh_port)?,
        forwards: row.forwards()?,
        ipv6: network::host_has_ipv6(),
    }))
}

/// The addresses of a machine on the wire.
pub fn to_api(config: &VmConfig, row: &DropletRow) -> anyhow::Result<Networks> {
    let public = |netmask: String, gateway: Option<String>| NetworkV4 {
        ip_address: row.address.clone(),
        netmask,
        gateway,
        kind: "public".to_owned(),
    };
    let Some(place) = on_bridge(config, row)? else {
        let (netmask, gateway) = match row.mac {
            None => ("255.0.0.0", Some("127.0.0.1".to_owned())),
            Some(_) => ("255.255.255.255", None),
        };
        return Ok(Networks {
            v4: vec![public(netmask.to_owned(), gateway)],
            v6: Vec::new(),
        });
    };
    let v6 = place.ipv6.map(|ipv6| NetworkV6 {
        ip_address: ipv6.address.addr().to_string(),
        netmask: ipv6.address.prefix_len().into(),
        gateway: ipv6.gateway.to_string(),
        kind: "public".to_owned(),
    });
    Ok(Networks {
        v4: vec![public(
            place.ipv4.netmask().to_string(),
            Some(place.gateway.to_string()),
        )],
        v6: v6.into_iter().collect(),
    })
}

/// Looks again and again whether machines on a bridge are still connected.
pub async fn keep_connected(service: Arc<Service>) {
    let mut complaints = Complaints::default();
    loop {
        for region in &service.regions {
            let outcome = region.hypervisor.uphold_network().await;
            let slug = Some(region.slug.as_str());
            complaints.hear("looking after the machines' network", slug, outcome);
        }
        if service.config.vm.network.subnet().is_none() {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}
