//! The network card of a machine, and what is behind it.

use std::net::Ipv4Addr;

use abbild_api::{Devices, Forward, Hardware, Protocol};

use super::forward;
use crate::vm::network::{self, Network, UserNetwork, mac_address};
use crate::vm::{VmError, VmId};

/// The name by which QEMU knows the machine's network.
pub const NETWORK: &str = "net0";

/// The value of `-netdev`.
pub fn backend(network: &Network) -> String {
    match network {
        Network::User(user) => user_backend(user),
        Network::Isolated { port } => isolated_backend(*port),
    }
}

/// `restrict` has QEMU drop what the guest sends, unless it belongs to a connection that came in.
fn isolated_backend(port: u16) -> String {
    let ssh = Forward::new(port, Some(22), Protocol::Tcp);
    let ssh = forward::rule(Ipv4Addr::LOCALHOST, &ssh);
    format!("user,id={NETWORK},ipv6=off,restrict=on,hostfwd={ssh}")
}

fn user_backend(user: &UserNetwork) -> String {
    // IPv6 would be offered to the guest even where the host has none.
    let mut backend = format!("user,id={NETWORK},ipv6=off");
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

/// The value of `-device` for the card of machine `id`.
pub fn card(id: VmId, hardware: &Hardware) -> String {
    let model = match hardware.devices {
        Devices::Virtio => "virtio-net-pci",
        Devices::Emulated => "e1000",
    };
    let mac = mac_address(id);
    // An empty ROM file saves loading the network boot code.
    format!("{model},addr=5,netdev={NETWORK},mac={mac},romfile=")
}

/// Whether the host lets a machine have its network now.
pub fn check(network: &Network) -> Result<(), VmError> {
    match network {
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
