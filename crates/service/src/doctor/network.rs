//! Whether machines can be connected as the configuration says.

use std::net::Ipv4Addr;

use abbild_api::Protocol;

use super::{Finding, Outcome};
use crate::config::VmConfig;
use crate::vm::bridge::{self, Subnet};
use crate::vm::{network, qemu};

/// Looks at what the mode needs.
pub async fn examine(config: &VmConfig) -> Vec<Finding> {
    match config.network.subnet() {
        Some(subnet) => on_bridge(&subnet, qemu::user(&config.qemu_config())).await,
        None => vec![
            ssh_port(config.first_address),
            ipv6(network::host_has_ipv6()),
        ],
    }
}

async fn on_bridge(subnet: &Subnet, user: u32) -> Vec<Finding> {
    let wrong = bridge::examine(subnet, user).await;
    if wrong.is_empty() {
        let (bridge, ipv4) = (&subnet.bridge, subnet.ipv4);
        let ipv6 = subnet.ipv6.map(|(network, _)| format!(" and {network}"));
        let text = format!(
            "machines are connected to `{bridge}`, in {ipv4}{}",
            ipv6.unwrap_or_default()
        );
        return vec![Finding::ok("bridge", text)];
    }
    let failure = |(what, remedy): (String, String)| {
        Finding::new("bridge", Outcome::Failure, what, Some(&remedy))
    };
    wrong.into_iter().map(failure).collect()
}

/// No lack: what machines can do is what the host can do.
fn ipv6(has_ipv6: bool) -> Finding {
    Finding::ok(
        "ipv6",
        match has_ipv6 {
            true => "machines reach the IPv6 Internet, as this host does",
            false => "machines have no IPv6, as this host has no way into the IPv6 Internet",
        },
    )
}

fn ssh_port(address: Ipv4Addr) -> Finding {
    // One that no machine has: the first may be in use by one of ours.
    let last = Ipv4Addr::new(127, 255, 255, 253);
    match network::pick_ssh_port(last) {
        Ok(22) => Finding::ok(
            "ssh-port",
            format!("machines have SSH on port 22, from {address} on"),
        ),
        Ok(port) => {
            let reason = match network::check_port(last, 22, Protocol::Tcp) {
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    "this user may not bind ports below 1024"
                }
                _ => "another program listens there on all addresses, most likely the SSH server",
            };
            Finding::warning(
                "ssh-port",
                format!("machines have SSH on port {port} instead of 22: {reason}"),
                "give the service CAP_NET_BIND_SERVICE, as packaging/abbild.service does, and the SSH \
                 server of the host a `ListenAddress`",
            )
        }
        Err(error) => Finding::failure(
            "ssh-port",
            format!("no port of {last} can be bound, so machines could not be reached: {error}"),
            "see with `ip address show lo` whether the loopback interface has 127.0.0.1/8",
        ),
    }
}
