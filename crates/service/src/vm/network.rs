//! The host's side of a machine's network: which port leads to its port 22.
//!
//! Every machine has a loopback address of its own (all of 127.0.0.0/8 reaches this host), so that
//! its SSH can be on port 22 where clients expect it. Two things get in the way: only root may
//! bind ports below 1024, and an SSH server of the host that listens on *every* address occupies
//! port 22 of all of them. In both cases the machine gets a port from [`SSH_PORTS`] further on.
//!
//! QEMU's user-mode network needs no privileges and keeps machines apart, but has one gap that
//! QEMU offers no switch for: a guest reaches what listens on the host's 127.0.0.1 as 10.0.2.2.
//! Services there must not rely on that address for their protection.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use abbild_api::Protocol;

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
