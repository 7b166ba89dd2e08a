//! How a machine is connected, and the host's side of it: which port leads to its port 22.
//!
//! In the user network every machine has a loopback address of its own (all of 127.0.0.0/8 reaches this host), so that
//! its SSH can be on port 22 where clients expect it. Two things get in the way: only root may
//! bind ports below 1024, and an SSH server of the host that listens on *every* address occupies
//! port 22 of all of them. In both cases the machine gets a port from [`SSH_PORTS`] further on.
//!
//! QEMU's user-mode network needs no privileges and keeps machines apart, but has one gap that
//! QEMU offers no switch for: a guest reaches what listens on the host's 127.0.0.1 as 10.0.2.2.
//! Services there must not rely on that address for their protection.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use abbild_api::{Forward, Protocol};
use serde::{Deserialize, Serialize};

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
    /// By QEMU itself, without privileges: the guest reaches the world as the service does, and what
    /// is to be reached of the guest are single ports.
    #[serde(untagged)]
    User(UserNetwork),
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

/// The hardware address of machine `id`: locally administered, and different for any two machines
/// that can meet on one network.
#[must_use]
pub fn mac_address(id: i64) -> String {
    let [.., a, b, c, d] = id.to_be_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
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

    #[test]
    fn hardware_addresses_are_local_and_unicast() {
        assert_eq!(mac_address(0x1_2345_6789), "52:54:23:45:67:89");
        let first = u8::from_str_radix(&mac_address(7)[..2], 16).unwrap();
        assert_eq!(first & 0b11, 0b10);
    }
}
