//! Ports of a machine's address that lead into its guest, changed while it runs.
//!
//! QEMU's user-mode network has no QMP commands for that, only those of its monitor for people, which
//! say what is wrong in words and nothing if all is well.

use std::net::Ipv4Addr;

use abbild_api::{Forward, Protocol};
use serde_json::json;

use super::files::MachineDir;
use super::netdev::{NETWORK, check_port};
use super::process;
use crate::vm::VmError;
use crate::vm::network::Network;

/// A rule as QEMU writes it, also on its command line.
pub fn rule(address: Ipv4Addr, forward: &Forward) -> String {
    let (port, guest_port) = (forward.port, forward.guest_port);
    format!(
        "{}-:{guest_port}",
        host_side(address, port, forward.protocol)
    )
}

fn host_side(address: Ipv4Addr, port: u16, protocol: Protocol) -> String {
    format!("{}:{address}:{port}", protocol.name())
}

/// Adds a rule, or puts it in the place of the one that has its port.
pub async fn add(machine: &MachineDir, forward: &Forward) -> Result<(), VmError> {
    let Forward { port, protocol, .. } = *forward;
    remove(machine, port, protocol).await?;
    let address = address(machine)?;
    check_port(address, port, protocol)?;
    let rule = rule(address, forward);
    let answer = say(machine, &format!("hostfwd_add {NETWORK} {rule}")).await?;
    match answer.trim() {
        "" => Ok(()),
        problem => Err(VmError::Hypervisor(problem.to_owned())),
    }
}

/// Removes a rule; one that is not there is removed already.
pub async fn remove(machine: &MachineDir, port: u16, protocol: Protocol) -> Result<(), VmError> {
    let rule = host_side(address(machine)?, port, protocol);
    say(machine, &format!("hostfwd_remove {NETWORK} {rule}")).await?;
    Ok(())
}

fn address(machine: &MachineDir) -> Result<Ipv4Addr, VmError> {
    match machine.launch()?.network {
        Network::User(user) => Ok(user.address),
        Network::Isolated { .. } => Err(VmError::Hypervisor(
            "a machine that is isolated has no further ports".into(),
        )),
        Network::Bridge(network) => Err(VmError::Network(format!(
            "all ports of {} are the guest's own already",
            network.ipv4.addr()
        ))),
    }
}

async fn say(machine: &MachineDir, line: &str) -> Result<String, VmError> {
    let mut qmp = process::monitor(machine).await?;
    let command = json!({ "command-line": line });
    let answer = qmp.execute_with("human-monitor-command", command).await?;
    Ok(answer.as_str().unwrap_or_default().to_owned())
}
