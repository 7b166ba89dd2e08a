//! The port of a machine: a TAP interface, persistent, so that QEMU needs no privileges to use it, and
//! may come and go.
//!
//! Its name follows from the machine's hardware address, which is random, so that several services can
//! have machines on one host. Its alias says whose it is; only interfaces that say they are ours are
//! ever touched.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::{Access, access};
use rustix::process::geteuid;
use serde::Deserialize;

use super::program::run;
use crate::vm::VmError;
use crate::vm::network::BridgeNetwork;

/// Where ports are opened (the kernel's *Universal TUN/TAP device driver*).
const DEVICE: &str = "/dev/net/tun";

/// What keeps the user with the id `user` from opening the port that was made for it, and what helps;
/// `None` if nothing does.
pub fn refusal(user: u32) -> Option<(String, String)> {
    let Ok(device) = fs::metadata(DEVICE) else {
        return Some((
            format!("{DEVICE} does not exist"),
            "modprobe tun".to_owned(),
        ));
    };
    let may_open = match user == geteuid().as_raw() {
        true => access(DEVICE, Access::READ_OK | Access::WRITE_OK).is_ok(),
        // Only the group of KVM is among the groups of such a user.
        false => user == 0 || device.permissions().mode() & 0o006 == 0o006 || device.uid() == user,
    };
    (!may_open).then(|| {
        (
            format!("the users of QEMU may not open {DEVICE}"),
            // So the kernel's documentation says.
            format!(
                "chmod 0666 {DEVICE}, as udev does: without CAP_NET_ADMIN nobody can open more there than \
                 what was made for them"
            ),
        )
    })
}

/// A network interface, as `ip -json -details link` has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    /// Its name.
    pub ifname: String,
    /// What somebody noted about it.
    pub ifalias: Option<String>,
    /// Its hardware address.
    pub address: Option<String>,
    /// The bridge that it is in.
    pub master: Option<String>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    flags: Vec<String>,
    linkinfo: Option<Info>,
}

#[derive(Debug, Clone, Deserialize)]
struct Info {
    info_kind: Option<String>,
}

impl Link {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        let kind = self.linkinfo.as_ref().and_then(|i| i.info_kind.as_deref());
        kind == Some("bridge")
    }

    /// Whether it was switched on.
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }
}

/// All interfaces. They are asked for by `ip`, since /sys shows those of the network namespace in which
/// it was mounted.
pub async fn links() -> Result<Vec<Link>, VmError> {
    let said = run("ip", &["-json", "-details", "link", "show"], "").await?;
    understand(&said)
}

fn understand<T: serde::de::DeserializeOwned>(said: &str) -> Result<T, VmError> {
    serde_json::from_str(said)
        .map_err(|error| VmError::Network(format!("`ip` says what cannot be understood: {error}")))
}

/// The addresses of an interface.
pub async fn addresses(name: &str) -> Result<Vec<IpAddr>, VmError> {
    #[derive(Deserialize)]
    struct Interface {
        #[serde(default)]
        addr_info: Vec<Address>,
    }
    #[derive(Deserialize)]
    struct Address {
        local: IpAddr,
    }
    let said = run("ip", &["-json", "address", "show", "dev", name], "").await?;
    let interfaces: Vec<Interface> = understand(&said)?;
    let addresses = interfaces.into_iter().flat_map(|i| i.addr_info);
    Ok(addresses.map(|address| address.local).collect())
}

/// Makes a port that the user with the id `user` may use. It is in no bridge yet. The host itself is not
/// to be reached through it, hence no address of its own.
pub async fn make(
    name: &str,
    user: u32,
    alias: &str,
    network: &BridgeNetwork,
) -> Result<(), VmError> {
    let user = user.to_string();
    let make = ["tuntap", "add", "dev", name, "mode", "tap", "user", &user];
    run("ip", &make, "").await?;
    let (mac, mtu) = (
        network.mac.of_host_side().to_string(),
        network.mtu.to_string(),
    );
    #[rustfmt::skip]
    let set = [
        "link", "set", "dev", name, "alias", alias, "address", &mac, "mtu", &mtu,
        "addrgenmode", "none",
    ];
    run("ip", &set, "").await?;
    Ok(())
}

/// Has a bridge keep the hardware address that it has. Unless it was given one it takes the lowest of its
/// ports, which only matters if there are none but ours: others have a lower one than those have.
pub async fn keep_address(links: &[Link], bridge: &Link) -> Result<(), VmError> {
    let is_ours = |link: &Link| {
        link.address
            .as_deref()
            .is_some_and(|a| a.starts_with("fe:"))
    };
    let mut ports = links
        .iter()
        .filter(|link| link.master.as_deref() == Some(&bridge.ifname));
    if let Some(address) = &bridge.address
        && ports.all(is_ours)
    {
        let keep = ["link", "set", "dev", &bridge.ifname, "address", address];
        run("ip", &keep, "").await?;
    }
    Ok(())
}

/// Puts a port into a bridge, and switches it on.
pub async fn join(name: &str, bridge: &str) -> Result<(), VmError> {
    let join = ["link", "set", "dev", name, "master", bridge, "up"];
    run("ip", &join, "").await?;
    Ok(())
}

/// Removes a port.
pub async fn remove(name: &str) -> Result<(), VmError> {
    run("ip", &["link", "delete", "dev", name], "").await?;
    Ok(())
}
