//! Machines on a bridge of the host: computers of the operator's network like any other.
//!
//! A machine's card is a TAP interface, made by [`port`] and put into the bridge, which QEMU uses
//! without privileges. What the guest sends goes through [`firewall`], which lets nothing pass that is not
//! sent in the machine's own name. If the operator wants it so, [`dhcp`] runs a dnsmasq that tells
//! guests their addresses; [`subnet`] knows which there are.
//!
//! All three are put in place before a machine starts, and go with it. They live in the kernel, or
//! beside the service, so machines stay connected while the service is away; when it returns it looks
//! whether all is there ([`Bridge::uphold`]), and removes what belongs to machines that are gone
//! ([`Bridge::sweep`]). The programs `ip`, `nft` and `dnsmasq` do the work ([`program`]), each given exact
//! arguments and no shell.

mod dhcp;
mod firewall;
mod port;
mod program;
mod subnet;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, capabilities, capability_is_in_ambient_set, capability_is_in_bounding_set,
};

use self::dhcp::Dnsmasq;
use self::port::Link;
pub use self::subnet::Subnet;
use super::network::{BridgeNetwork, Dhcp};
use super::{VmError, VmId};

/// What connects machines of this service to the bridge.
#[derive(Debug)]
pub struct Bridge {
    /// `None` if machines are not connected to a bridge, or not any more.
    subnet: Option<Subnet>,
    /// Tells what is ours from what belongs to other services on this host.
    node: String,
    dnsmasq: Dnsmasq,
}

/// Which machine something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Slug of the region.
    pub region: &'a str,
    /// The machine.
    pub id: VmId,
}

/// The bridge as one region has it.
#[derive(Debug, Clone)]
pub struct RegionBridge {
    /// The same for all regions.
    pub bridge: Arc<Bridge>,
    /// Slug of the region.
    pub region: String,
}

impl RegionBridge {
    /// Machine `id` of this region.
    #[must_use]
    pub fn owner(&self, id: VmId) -> Owner<'_> {
        Owner {
            region: &self.region,
            id,
        }
    }
}

impl Bridge {
    /// For the service whose data directory is `data` and called `node`. Nothing is touched yet.
    #[must_use]
    pub fn new(subnet: Option<Subnet>, node: &str, data: &Path) -> Self {
        Self {
            subnet,
            node: node.to_owned(),
            dnsmasq: Dnsmasq::new(data.join("dnsmasq")),
        }
    }

    /// Whether machines are connected to a bridge.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.subnet.is_some()
    }

    fn subnet(&self) -> Result<&Subnet, VmError> {
        self.subnet.as_ref().ok_or_else(|| {
            VmError::Network(
                "it was made on a bridge, and this host has none any more\nits operator can set \
                 `mode = \"bridge\"` in `[vm.network]` again"
                    .to_owned(),
            )
        })
    }

    fn alias(&self, owner: Owner<'_>, user: u32) -> String {
        format!("{}{}/{user}", self.aliases_of(owner.region), owner.id)
    }

    /// What the aliases of all ports of a region begin with.
    fn aliases_of(&self, region: &str) -> String {
        format!("abbild/{}/{region}/", self.node)
    }

    /// Connects a machine that is about to start; the process with the user id `user` may then use its
    /// port. The guard is set before the port is, so nothing passes unguarded.
    ///
    /// # Errors
    /// The bridge is missing, a program is, or what it says.
    pub async fn attach(
        &self,
        owner: Owner<'_>,
        network: &BridgeNetwork,
        user: u32,
    ) -> Result<(), VmError> {
        let subnet = self.subnet()?;
        if let Some((what, remedy)) = port::refusal(user) {
            return Err(VmError::Network(format!("{what}\n{remedy}")));
        }
        let links = port::links().await?;
        let bridge = find_bridge(&links, &subnet.bridge)?;
        let (name, alias) = (network.mac.port(), self.alias(owner, user));
        match links.iter().find(|link| link.ifname == name) {
            Some(link) if link.ifalias.as_deref() == Some(&alias) => {}
            Some(link) => {
                self.expect_own(owner, link)?;
                port::remove(&name).await?;
                port::make(&name, user, &alias, network).await?;
            }
            None => port::make(&name, user, &alias, network).await?,
        }
        firewall::put(&[network]).await?;
        match network.dhcp {
            Dhcp::Managed => self.dnsmasq.admit(subnet, owner, network).await?,
            Dhcp::Operator => self.dnsmasq.dismiss(self.managed(), owner).await?,
        }
        port::keep_address(&links, bridge).await?;
        port::join(&name, &subnet.bridge).await
    }

    /// The port may have no alias yet, if the service was killed while it made it; its name is random
    /// enough to be ours all the same.
    fn expect_own(&self, owner: Owner<'_>, link: &Link) -> Result<(), VmError> {
        let ours = format!("{}{}/", self.aliases_of(owner.region), owner.id);
        match link.ifalias.as_deref() {
            None => Ok(()),
            Some(alias) if alias.starts_with(&ours) => Ok(()),
            Some(alias) => Err(VmError::Network(format!(
                "the interface `{}` belongs to something else, `{alias}`\nits operator can remove it \
                 with `ip link delete {}` if nobody needs it",
                link.ifname, link.ifname
            ))),
        }
    }

    /// Removes all that connected a machine. Its QEMU has ended.
    ///
    /// # Errors
    /// A program is missing, or what it says.
    pub async fn detach(&self, owner: Owner<'_>, network: &BridgeNetwork) -> Result<(), VmError> {
        self.clear(owner, &network.mac.port()).await
    }

    /// The port goes last: by it the rest is found again if this is interrupted.
    async fn clear(&self, owner: Owner<'_>, name: &str) -> Result<(), VmError> {
        self.dnsmasq.dismiss(self.managed(), owner).await?;
        firewall::remove(name).await?;
        let links = port::links().await?;
        let Some(link) = links.iter().find(|link| link.ifname == name) else {
            return Ok(());
        };
        self.expect_own(owner, link)?;
        port::remove(name).await
    }

    /// The network that dnsmasq serves, if it is to serve one.
    fn managed(&self) -> Option<&Subnet> {
        self.subnet
            .as_ref()
            .filter(|subnet| subnet.dhcp == Dhcp::Managed)
    }

    /// Removes what connected machines of `region` that are gone, and nothing else.
    ///
    /// # Errors
    /// A program is missing, or what it says.
    pub async fn sweep(&self, region: &str, exists: impl Fn(VmId) -> bool) -> Result<(), VmError> {
        let prefix = self.aliases_of(region);
        for link in port::links().await? {
            let alias = link.ifalias.as_deref().unwrap_or_default();
            let id = alias.strip_prefix(&prefix).and_then(|rest| {
                let (id, _) = rest.split_once('/')?;
                id.parse().ok()
            });
            if let Some(id) = id
                && !exists(id)
            {
                tracing::info!(machine = id, port = link.ifname, "a port is left over");
                self.clear(Owner { region, id }, &link.ifname).await?;
            }
        }
        for id in self.dnsmasq.hosts_of(region)? {
            if !exists(id) {
                self.dnsmasq
                    .dismiss(self.managed(), Owner { region, id })
                    .await?;
            }
        }
        Ok(())
    }

    /// Puts in place again whatever somebody else has taken away from machines that run: reloading the
    /// host's firewall commonly empties it first, and reloading its network may empty the bridge.
    ///
    /// # Errors
    /// A program is missing, or what it says.
    pub async fn uphold(&self, running: &[BridgeNetwork]) -> Result<(), VmError> {
        self.dnsmasq.ensure(self.managed()).await?;
        let Some(subnet) = &self.subnet else {
            return Ok(());
        };
        if running.is_empty() {
            return Ok(());
        }
        let guarded = firewall::guarded().await;
        let unguarded: Vec<_> = running
            .iter()
            .filter(|network| !guarded.contains(&network.mac.port()))
            .collect();
        if !unguarded.is_empty() {
            tracing::warn!(
                ports = unguarded.len(),
                "machines had lost the rules against forged addresses, and have them again"
            );
            firewall::put(&unguarded).await?;
        }
        let links = port::links().await?;
        for name in running.iter().map(|network| network.mac.port()) {
            let link = links.iter().find(|link| link.ifname == name);
            if link.is_some_and(|link| link.master.as_deref() != Some(&subnet.bridge)) {
                tracing::warn!(
                    port = name,
                    "a machine had lost the bridge, and has it again"
                );
                port::join(&name, &subnet.bridge).await?;
            }
        }
        Ok(())
    }
}

fn find_bridge<'a>(links: &'a [Link], name: &str) -> Result<&'a Link, VmError> {
    match links.iter().find(|link| link.ifname == name) {
        Some(link) if link.is_bridge() => Ok(link),
        Some(_) => Err(VmError::Network(format!(
            "`{name}` is no bridge\nits operator can name another in `[vm.network]`"
        ))),
        None => Err(VmError::Network(format!(
            "there is no bridge `{name}` on this host\nits operator can make it with `ip link add {name} \
             type bridge`, or name another in `[vm.network]`"
        ))),
    }
}

/// What is wrong with the bridge of `subnet`, as `(what, remedy)`; empty if machines can be connected to
/// it, and their QEMUs run as the user with the id `user`. Nothing is changed.
pub async fn examine(subnet: &Subnet, user: u32) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for name in ["ip", "nft", "dnsmasq"] {
        if (name != "dnsmasq" || subnet.dhcp == Dhcp::Managed) && program::find(name).is_err() {
            wrong.push((
                format!("`{name}` cannot be found"),
                format!("apt install {}", program::package(name)),
            ));
        }
    }
    wrong.extend(port::refusal(user));
    if !may_administer() {
        wrong.push((
            "this user may not change the host's network".to_owned(),
            "give the service CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE, as \
             packaging/bridge.conf does"
                .to_owned(),
        ));
    }
    if let Ok(links) = port::links().await {
        match find_bridge(&links, &subnet.bridge) {
            Err(error) => {
                let error = error.to_string();
                let (what, remedy) = error.split_once('\n').unwrap_or((&error, ""));
                wrong.push((what.to_owned(), remedy.to_owned()));
            }
            Ok(bridge) => wrong.extend(examine_link(subnet, bridge).await),
        }
    }
    wrong
}

async fn examine_link(subnet: &Subnet, link: &Link) -> Vec<(String, String)> {
    let name = &subnet.bridge;
    let mut wrong = Vec::new();
    if !link.is_up() {
        wrong.push((
            format!("the bridge `{name}` is down"),
            format!("ip link set {name} up"),
        ));
    }
    if link.mtu != u32::from(subnet.mtu) {
        wrong.push((
            format!(
                "the bridge `{name}` has packets of {} bytes, and `vm.network.mtu` is {}",
                link.mtu, subnet.mtu
            ),
            format!("set `mtu = {}` in `[vm.network]`", link.mtu),
        ));
    }
    let own = port::addresses(name).await.unwrap_or_default();
    if subnet.dhcp == Dhcp::Managed {
        let in_ipv4 =
            |address: &IpAddr| matches!(address, IpAddr::V4(a) if subnet.ipv4.contains(a));
        if !own.iter().any(in_ipv4) {
            wrong.push((
                format!(
                    "`{name}` has no address in {}, and dnsmasq serves none without",
                    subnet.ipv4
                ),
                format!(
                    "ip address add ADDRESS/{} dev {name}",
                    subnet.ipv4.prefix_len()
                ),
            ));
        }
        if let Some((network, _)) = subnet.ipv6 {
            let inside = |address: &IpAddr| matches!(address, IpAddr::V6(a) if network.contains(a));
            if !own.iter().any(inside) {
                wrong.push((
                    format!(
                        "`{name}` has no address in {network}, and dnsmasq serves none without"
                    ),
                    format!("ip address add ADDRESS/64 dev {name}"),
                ));
            }
        }
    }
    for address in subnet.addresses().filter(|a| own.contains(&IpAddr::V4(*a))) {
        wrong.push((
            format!("{address} is this host's own, and a machine might be given it"),
            "leave it out with `first` and `last` in `[vm.network]`".to_owned(),
        ));
    }
    wrong
}

/// Whether this process has CAP_NET_ADMIN and hands it on to programs that it starts
/// (capabilities(7): root does, others by the ambient set).
fn may_administer() -> bool {
    let wanted = CapabilitySet::NET_ADMIN;
    match geteuid().is_root() {
        true => {
            let ours = capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted));
            ours && capability_is_in_bounding_set(wanted).unwrap_or(false)
        }
        false => capability_is_in_ambient_set(wanted).unwrap_or(false),
    }
}
