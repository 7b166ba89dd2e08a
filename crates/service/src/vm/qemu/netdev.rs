//! The network card of a machine, and what is behind it.

use std::net::Ipv4Addr;

use abbild_api::{Devices, Forward, Hardware, Protocol};

use super::files::MachineDir;
use super::forward;
use crate::vm::bridge::RegionBridge;
use crate::vm::mac::Mac;
use crate::vm::network::{self, BridgeNetwork, Network, UserNetwork};
use crate::vm::{VmError, VmId, VmSpec};

/// The name by which QEMU knows the machine's network.
pub const NETWORK: &str = "net0";

/// The value of `-netdev`.
pub fn backend(network: &Network) -> String {
    match network {
        Network::User(user) => user_backend(user),
        Network::Isolated { port } => isolated_backend(*port),
        // The port is there already, and QEMU may use it by its user; it runs no scripts and needs no
        // privileges.
        Network::Bridge(network) => format!(
            "tap,id={NETWORK},ifname={},script=no,downscript=no,vhost=off",
            network.mac.port()
        ),
    }
}

/// `restrict` has QEMU drop what the guest sends, unless it belongs to a connection that came in.
fn isolated_backend(port: u16) -> String {
    let ssh = Forward::new(port, Some(22), Protocol::Tcp);
    let ssh = forward::rule(Ipv4Addr::LOCALHOST, &ssh);
    format!("user,id={NETWORK},ipv6=off,restrict=on,hostfwd={ssh}")
}

fn user_backend(user: &UserNetwork) -> String {
    // Unless told, QEMU would offer IPv6 even where the host has none.
    let ipv6 = if user.ipv6 { "on" } else { "off" };
    // With one of the two alone, QEMU takes the other for unwanted.
    let mut backend = format!("user,id={NETWORK},ipv4=on,ipv6={ipv6}");
    for forward in ports(user) {
        backend += &format!(",hostfwd={}", forward::rule(user.address, &forward));
    }
    backend
}

/// All ports that lead into the guest.
fn ports(user: &UserNetwork) -> impl Iterator<Item = Forward> {
    let ssh = Forward::new(user.ssh_port, Some(22), Protocol::Tcp);
    user.forwards.iter().copied().chain([ssh])
}

/// The value of `-device` for the card with the address `mac`.
pub fn card(mac: Mac, hardware: &Hardware) -> String {
    let model = match hardware.devices {
        Devices::Virtio => "virtio-net-pci",
        Devices::Emulated => "e1000",
    };
    // An empty ROM file saves loading the network boot code.
    format!("{model},addr=5,netdev={NETWORK},mac={mac},romfile=")
}

/// Whether the host lets a machine have its network now.
pub fn check(network: &Network) -> Result<(), VmError> {
    match network {
        // It was put in place just before.
        Network::Bridge(_) => Ok(()),
        Network::User(user) => {
            ports(user).try_for_each(|there| check_port(user.address, there.port, there.protocol))
        }
        Network::Isolated { port } => check_port(Ipv4Addr::LOCALHOST, *port, Protocol::Tcp),
    }
}

/// Whether the host lets us have a port now; QEMU itself does not say why it cannot.
pub fn check_port(address: Ipv4Addr, port: u16, protocol: Protocol) -> Result<(), VmError> {
    network::check_port(address, port, protocol).map_err(|source| VmError::Port {
        address,
        port,
        source,
    })
}

/// Connects a machine that is about to start, if it is one for a bridge; `user` is whom its QEMU runs as.
pub async fn connect(
    bridge: Option<&RegionBridge>,
    machine: &MachineDir,
    spec: &VmSpec,
    user: u32,
) -> Result<(), VmError> {
    let Network::Bridge(network) = &spec.network else {
        return Ok(());
    };
    if machine.is_alive()? {
        return Ok(());
    }
    let Some(region) = bridge else {
        let missing = "this driver knows of no bridge".to_owned();
        return Err(VmError::Network(missing));
    };
    region
        .bridge
        .attach(region.owner(spec.id), network, user)
        .await
}

/// Takes down what [`connect`] put in place. QEMU has ended.
pub async fn disconnect(
    bridge: Option<&RegionBridge>,
    machine: &MachineDir,
    id: VmId,
) -> Result<(), VmError> {
    // Without the file there was no start, and what cannot be read must not keep a machine alive.
    let Ok(launch) = machine.launch() else {
        return Ok(());
    };
    match (launch.network, bridge) {
        (Network::Bridge(network), Some(region)) => {
            region.bridge.detach(region.owner(id), &network).await
        }
        _ => Ok(()),
    }
}

/// The places on a bridge of those machines that run.
pub fn running(machines: &[MachineDir]) -> Vec<BridgeNetwork> {
    // One may vanish meanwhile.
    let running = machines
        .iter()
        .filter(|machine| machine.is_alive().unwrap_or(false));
    let places = running.filter_map(|machine| match machine.launch().ok()?.network {
        Network::Bridge(network) => Some(network),
        _ => None,
    });
    places.collect()
}
