//! The dnsmasq that tells machines their addresses, where the operator leaves that to the service.
//!
//! ```text
//! dnsmasq/               in the data directory
//!   hosts/hal1.42        hardware address and addresses of machine 42 in the region hal1
//!   leases               who has been told what; dnsmasq's own
//!   dnsmasq.pid          its process id
//! ```
//!
//! It answers machines that have a file in `hosts` and nobody else, so it does no harm beside another
//! DHCP server. It runs for as long as there is one of them, also while the service does not, and has
//! all its settings in its arguments: one that runs with the right arguments is kept, any other is
//! replaced. What is in `hosts` it reads again on SIGHUP. Only when a machine goes it is started anew, as
//! it would keep the address for that machine until the lease has run out.
//!
//! Beside DHCP it advertises the IPv6 network, for guests that do not read the config drive, in such a
//! way that they ask it for the one address that they may use (RFC 4861, section 4.2: managed).

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::{Owner, Subnet, port, program};
use crate::vm::network::BridgeNetwork;
use crate::vm::{VmError, VmId, host};

/// How long it may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
/// For how long an address is told.
const LEASE: &str = "1h";

/// Seconds between advertisements that nobody asked for; dnsmasq's default.
const RA_INTERVAL: u32 = 600;

/// The dnsmasq of one service.
#[derive(Debug)]
pub struct Dnsmasq {
    directory: PathBuf,
    /// One change at a time.
    busy: Mutex<()>,
}

impl Dnsmasq {
    /// With its files in `directory`, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            busy: Mutex::default(),
        }
    }

    /// Answers a machine from now on.
    pub async fn admit(
        &self,
        subnet: &Subnet,
        owner: Owner<'_>,
        network: &BridgeNetwork,
    ) -> Result<(), VmError> {
        let _busy = self.busy.lock().await;
        let line = host_line(network);
        let path = self.host(owner);
        match fs::read_to_string(&path) {
            Ok(present) if present == line => return self.ensure_running(Some(subnet)).await,
            Ok(present) => {
                self.write(&path, &line)?;
                self.forget(&present).await?;
                self.ensure_running(Some(subnet)).await
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.write(&path, &line)?;
                self.ensure_running(Some(subnet)).await?;
                self.signal(Signal::HUP).map(drop)
            }
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Answers a machine no longer, and forgets what it was told. If nobody is left to answer, or `subnet`
    /// is `None`, dnsmasq ends.
    pub async fn dismiss(&self, subnet: Option<&Subnet>, owner: Owner<'_>) -> Result<(), VmError> {
        let _busy = self.busy.lock().await;
        let path = self.host(owner);
        let present = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            present => present.map_err(failed(&path))?,
        };
        fs::remove_file(&path).map_err(failed(&path))?;
        self.forget(&present).await?;
        self.ensure_running(subnet).await
    }

    /// Starts dnsmasq if it should run and does not, or not as it should, and ends it if it should not.
    pub async fn ensure(&self, subnet: Option<&Subnet>) -> Result<(), VmError> {
        let _busy = self.busy.lock().await;
        self.ensure_running(subnet).await
    }

    /// The machines of a region that are answered.
    pub fn hosts_of(&self, region: &str) -> Result<Vec<VmId>, VmError> {
        let hosts = self.hosts()?;
        let ids = hosts.iter().filter_map(|name| {
            let (slug, id) = name.rsplit_once('.')?;
            (slug == region).then(|| id.parse().ok())?
        });
        Ok(ids.collect())
    }

    /// Names of the files of all machines.
    fn hosts(&self) -> Result<Vec<String>, VmError> {
        let path = self.directory.join("hosts");
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed(&path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed(&path))?.file_name();
            // dnsmasq passes over those as well; they are half written.
            names.extend(
                name.into_string()
                    .ok()
                    .filter(|name| !name.starts_with('.')),
            );
        }
        Ok(names)
    }

    fn host(&self, owner: Owner<'_>) -> PathBuf {
        let name = format!("{}.{}", owner.region, owner.id);
        self.directory.join("hosts").join(name)
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("dnsmasq.pid")
    }

    fn leases(&self) -> PathBuf {
        self.directory.join("leases")
    }

    /// Gives a file new content, all or nothing.
    fn write(&self, path: &Path, content: &str) -> Result<(), VmError> {
        let directory = path.parent().unwrap_or(&self.directory);
        let writing = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            let mut file = tempfile::Builder::new()
                .prefix(".")
                .tempfile_in(directory)?;
            file.write_all(content.as_bytes())?;
            file.persist(path)?;
            Ok(())
        };
        writing().map_err(failed(path))
    }

    async fn ensure_running(&self, subnet: Option<&Subnet>) -> Result<(), VmError> {
        let is_needed = !self.hosts()?.is_empty();
        let Some(subnet) = subnet.filter(|_| is_needed) else {
            return self.end().await;
        };
        let arguments = self.arguments(subnet, &port::addresses(&subnet.bridge).await?);
        if self
            .running()
            .is_some_and(|(_, running)| running == arguments)
        {
            return Ok(());
        }
        self.end().await?;
        program::run("dnsmasq", &arguments, "").await?;
        tracing::info!(bridge = subnet.bridge, "dnsmasq serves DHCP to machines");
        Ok(())
    }

    /// `own` are the addresses of the bridge. The host is the router of IPv6 if it has the router's
    /// address, and does not pretend to be one otherwise.
    fn arguments(&self, subnet: &Subnet, own: &[IpAddr]) -> Vec<String> {
        let path = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
        let (ipv4, mask) = (subnet.ipv4.network(), subnet.ipv4.netmask());
        let mut arguments = vec![
            // Nothing of the host's own configuration.
            "--conf-file=/dev/null".to_owned(),
            path("pid-file", self.pid_file()),
            path("dhcp-leasefile", self.leases()),
            path("dhcp-hostsfile", self.directory.join("hosts")),
            // No DNS.
            "--port=0".to_owned(),
            "--no-resolv".to_owned(),
            "--no-hosts".to_owned(),
            format!("--interface={}", subnet.bridge),
            "--except-interface=lo".to_owned(),
            "--bind-dynamic".to_owned(),
            // Guests must not be able to fill the host's log.
            "--quiet-dhcp".to_owned(),
            "--quiet-dhcp6".to_owned(),
            "--quiet-ra".to_owned(),
            "--dhcp-authoritative".to_owned(),
            // Addresses are allotted, so nobody else has them.
            "--no-ping".to_owned(),
            "--dhcp-ignore=tag:!known".to_owned(),
            format!("--dhcp-lease-max={}", 2 * subnet.addresses().count()),
            format!("--dhcp-range={ipv4},static,{mask},{LEASE}"),
            format!("--dhcp-option=option:router,{}", subnet.gateway),
            format!("--dhcp-option=option:mtu,{}", subnet.mtu),
        ];
        arguments.extend(name_servers(subnet));
        if let Some((network, gateway)) = subnet.ipv6 {
            let is_router = own.contains(&IpAddr::V6(gateway));
            let lifetime = if is_router { "" } else { ",0" };
            arguments.push("--enable-ra".to_owned());
            arguments.push(format!(
                "--dhcp-range={},static,64,{LEASE}",
                network.network()
            ));
            arguments.push(format!(
                "--ra-param={},mtu:{},{RA_INTERVAL}{lifetime}",
                subnet.bridge, subnet.mtu
            ));
        }
        if rustix::process::geteuid().is_root() {
            // Its files are the service's, and root's if that is.
            arguments.push("--user=root".to_owned());
        }
        arguments
    }

    /// The process id of our dnsmasq and its arguments, if it lives. Others do not have the name of our
    /// file among theirs.
    fn running(&self) -> Option<(Pid, Vec<String>)> {
        let pid = fs::read_to_string(self.pid_file()).ok()?;
        let pid = Pid::from_raw(pid.trim().parse().ok()?)?;
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        let words = line.split(|byte| *byte == 0).map(|word| word.to_vec());
        let words = words.map(|word| std::ffi::OsString::from_vec(word).into_string());
        let mut words = words.collect::<Result<Vec<_>, _>>().ok()?;
        // The line ends with a zero, and begins with the program.
        words.pop();
        let arguments = words.split_off(1.min(words.len()));
        let ours = format!("--pid-file={}", self.pid_file().display());
        arguments.contains(&ours).then_some((pid, arguments))
    }

    /// Whether there was a process to get the signal.
    fn signal(&self, signal: Signal) -> Result<bool, VmError> {
        let identify = || self.running().map(|(pid, _)| pid);
        host::signal(identify, signal).map_err(|source| VmError::Io {
            what: "sending a signal to dnsmasq".to_owned(),
            source,
        })
    }

    async fn end(&self) -> Result<(), VmError> {
        for signal in [Signal::TERM, Signal::KILL] {
            if !self.signal(signal)? {
                return Ok(());
            }
            let deadline = Instant::now() + END_TIMEOUT;
            while self.running().is_some() && Instant::now() < deadline {
                sleep(PAUSE).await;
            }
        }
        match self.running() {
            None => Ok(()),
            Some((pid, _)) => Err(VmError::Network(format!(
                "dnsmasq, process {}, does not end",
                pid.as_raw_nonzero()
            ))),
        }
    }

    /// Forgets who has the addresses in a line of `hosts`, so that they can be given to another machine
    /// at once. It ends dnsmasq, which has them in its memory.
    async fn forget(&self, line: &str) -> Result<(), VmError> {
        self.end().await?;
        let path = self.leases();
        let leases = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            leases => leases.map_err(failed(&path))?,
        };
        let addresses: Vec<&str> = line
            .split(',')
            .map(|word| word.trim().trim_matches(['[', ']']))
            .filter(|word| word.parse::<IpAddr>().is_ok())
            .collect();
        // Time, hardware address, address, name, client; IPv6 after a line with the server's own id.
        let stays = |lease: &&str| {
            let address = lease.split(' ').nth(2).unwrap_or_default();
            !addresses.contains(&address)
        };
        let kept: Vec<&str> = leases.lines().filter(stays).collect();
        let end = if kept.is_empty() { "" } else { "\n" };
        self.write(&path, &(kept.join("\n") + end))
    }
}

/// Without a server of a kind, that none is told; dnsmasq would name itself.
fn name_servers(subnet: &Subnet) -> Vec<String> {
    let option = |name: &str, is_asked: fn(&IpAddr) -> bool| {
        let servers = subnet.dns.iter().filter(|server| is_asked(server));
        let servers = servers.map(|server| match server {
            IpAddr::V4(server) => format!(",{server}"),
            IpAddr::V6(server) => format!(",[{server}]"),
        });
        format!(
            "--dhcp-option={name}:dns-server{}",
            servers.collect::<String>()
        )
    };
    let mut options = vec![option("option", IpAddr::is_ipv4)];
    if subnet.ipv6.is_some() {
        options.push(option("option6", IpAddr::is_ipv6));
    }
    options
}

/// What dnsmasq is told of a machine. A guest may say another name of itself each time that it is
/// started, as rescue systems do; `id:*` has dnsmasq go by the hardware address alone.
fn host_line(network: &BridgeNetwork) -> String {
    let (mac, ipv4) = (network.mac, network.ipv4.addr());
    let ipv6 = network.ipv6.as_ref().map(|place| place.address.addr());
    let ipv6 = ipv6.map(|address| format!(",[{address}]"));
    format!("{mac},id:*,{ipv4}{}\n", ipv6.unwrap_or_default())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> VmError {
    let what = format!("changing {}", path.display());
    |source| VmError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetworkConfig;

    #[test]
    fn only_a_host_that_is_the_router_says_so() {
        let config: NetworkConfig = toml::from_str(
            "mode = 'bridge'\nbridge = 'br0'\nipv4 = '10.20.0.0/24'\ngateway = '10.20.0.1'\n\
             ipv6 = 'fd00:20::/64'\nipv6_gateway = 'fd00:20::1'\ndns = ['fd00:20::1', '10.20.0.1']",
        )
        .unwrap();
        let dnsmasq = Dnsmasq::new("/d".into());
        let subnet = config.subnet().unwrap();
        let line = |own: &str| {
            let own: IpAddr = own.parse().unwrap();
            dnsmasq.arguments(&subnet, &[own]).join(" ")
        };
        assert!(line("fd00:20::1").contains("--ra-param=br0,mtu:1500,600"));
        assert!(!line("fd00:20::1").contains("mtu:1500,600,0"));
        assert!(line("fd00:20::2").contains("--ra-param=br0,mtu:1500,600,0"));
        for expected in [
            "--dhcp-range=10.20.0.0,static,255.255.255.0,1h ",
            "--dhcp-option=option:dns-server,10.20.0.1 ",
            "--dhcp-option=option6:dns-server,[fd00:20::1] ",
            "--pid-file=/d/dnsmasq.pid ",
        ] {
            assert!(line("fd00:20::1").contains(expected), "{expected}");
        }
        let without = Subnet {
            ipv6: None,
            dns: Vec::new(),
            ..subnet.clone()
        };
        let line = dnsmasq.arguments(&without, &[]).join(" ") + " ";
        assert!(
            line.contains("--dhcp-option=option:dns-server "),
            "dnsmasq must not name itself: {line}"
        );
        assert!(
            !line.contains("enable-ra") && !line.contains("option6"),
            "{line}"
        );
    }
}
