//! How a machine is connected: by itself, or to a bridge of the host.
//!
//! On a bridge ([`bridge`](super::bridge)) it is a computer of that network like any other. In the user
//! network every machine has a loopback address of its own (all of 127.0.0.0/8 reaches this host), so that
//! its SSH can be on port 22 where clients expect it. Two things get in the way: only root may
//! bind ports below 1024, and an SSH server of the host that listens on *every* address occupies
//! port 22 of all of them. In both cases the machine gets a port from [`SSH_PORTS`] further on.
//!
//! QEMU's user-mode network needs no privileges and keeps machines apart, but has one gap that
//! QEMU offers no switch for: a guest reaches what listens on the host's 127.0.0.1 as 10.0.2.2.
//! Services there must not rely on that address for their protection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use abbild_api::{Forward, Protocol};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::VmId;
use super::mac::Mac;

/// How a machine is connected.
///
/// The variants of a machine's `launch.json` are told apart by `network`, but for the first, which has
/// none, as in the files of versions that knew no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "network", rename_all = "lowercase")]
pub enum Network {
    /// The guest reaches nobody, not even the host, and is reached by its port 22 alone.
    Isolated {
        /// Port of the host's 127.0.0.1 that leads to the guest's port 22.
        port: u16,
    },
    /// To a bridge of the host.
    Bridge(BridgeNetwork),
    /// By QEMU itself, without privileges: the guest reaches the world as the service does, and what
    /// is to be reached of the guest are single ports.
    #[serde(untagged)]
    User(UserNetwork),
}

impl Network {
    /// The hardware address of machine `id`.
    #[must_use]
    pub fn mac(&self, id: VmId) -> Mac {
        match self {
            Self::Bridge(network) => network.mac,
            Self::User(_) | Self::Isolated { .. } => Mac::of_machine(id),
        }
    }
}

/// The place of a machine in a network of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeNetwork {
    /// The hardware address allotted to the machine.
    pub mac: Mac,
    /// Its address, and how many bits of it are the network's.
    pub ipv4: Ipv4Net,
    /// The router.
    pub gateway: Ipv4Addr,
    /// The same in IPv6, if the network has that.
    pub ipv6: Option<Ipv6Place>,
    /// Name servers, best first.
    pub dns: Vec<IpAddr>,
    /// The largest packet, in bytes.
    pub mtu: u16,
    /// Who tells the guest its IPv4 address.
    pub dhcp: Dhcp,
}

impl BridgeNetwork {
    /// All IPv6 addresses that the machine may have, first the one on the link.
    #[must_use]
    pub fn ipv6_addresses(&self) -> Vec<Ipv6Addr> {
        let further = self.ipv6.as_ref().map(|place| place.address.addr());
        [self.mac.link_local()].into_iter().chain(further).collect()
    }
}

/// The IPv6 side of a [`BridgeNetwork`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Place {
    /// The machine's address, and how many bits of it are the network's.
    pub address: Ipv6Net,
    /// The router.
    pub gateway: Ipv6Addr,
}

/// Who serves DHCP on a bridge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dhcp {
    /// A dnsmasq that the service runs; guests ask it for their addresses.
    #[default]
    Managed,
    /// The operator, or nobody; guests are told their addresses by the config drive.
    Operator,
}

/// A network of QEMU's own making for one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNetwork {
    /// The loopback address allotted to the machine.
    pub address: Ipv4Addr,
    /// Host port on `address` that leads to the guest's port 22.
    pub ssh_port: u16,
    /// Ports of `address` that lead into the guest, beside `ssh_port`.
    #[serde(default)]
    pub forwards: Vec<Forward>,
    /// Whether the guest is offered IPv6.
    #[serde(default)]
    pub ipv6: bool,
}

/// Whether this host has a way into the IPv6 Internet. Nothing is sent to find out.
#[must_use]
pub fn host_has_ipv6() -> bool {
    // Of no host; the kernel only looks for a route.
    let somewhere = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1);
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((somewhere, 9)))
        .is_ok()
}

/// Host ports for a machine's port 22, best first.
pub const SSH_PORTS: [u16; 3] = [22, 2222, 22022];

/// The first of [`SSH_PORTS`] that can be bound on `address` by this process now.
///
/// # Errors
///
/// The answer for the last port when none can be bound, for example because `address` is none of
/// this host.
pub fn pick_ssh_port(address: Ipv4Addr) -> io::Result<u16> {
    pick(address, &SSH_PORTS)
}

fn pick(address: Ipv4Addr, ports: &[u16]) -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &port in ports {
        match check_port(address, port, Protocol::Tcp) {
            Ok(()) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether this process could listen on `port` of `address` now.
///
/// # Errors
///
/// The system's answer: in use, not permitted, not an address of this host.
pub fn check_port(address: Ipv4Addr, port: u16, protocol: Protocol) -> io::Result<()> {
    match protocol {
        Protocol::Tcp => TcpListener::bind((address, port)).map(drop),
        Protocol::Udp => UdpSocket::bind((address, port)).map(drop),
    }
}

/// A port of the host's 127.0.0.1 that nobody listens on now.
///
/// # Errors
///
/// The system's answer when none is left.
pub fn free_port() -> io::Result<u16> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occupied_port_is_passed_over() {
        let address = Ipv4Addr::new(127, 83, 11, 5);
        let first = TcpListener::bind((address, 0)).unwrap();
        let second = TcpListener::bind((address, 0)).unwrap();
        let [taken, free] = [&first, &second].map(|socket| socket.local_addr().unwrap().port());
        drop(second);
        assert_eq!(pick(address, &[taken, free]).unwrap(), free);
        let error = pick(address, &[taken]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        let error = pick_ssh_port(Ipv4Addr::new(192, 0, 2, 1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
