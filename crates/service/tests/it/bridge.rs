//! What connects machines to a bridge: the real programs, in a network namespace of each test.

use std::process::Command;
use std::time::Duration;

use abbild_service::config::NetworkConfig;
use abbild_service::vm::VmId;
use abbild_service::vm::bridge::{Bridge, Owner, Subnet, examine};
use abbild_service::vm::mac::Mac;
use abbild_service::vm::network::{BridgeNetwork, Dhcp};

use crate::namespace::{in_namespace, make_bridge, sh, words};
use crate::service::block_on;

/// Plays a guest on its port.
const GUEST: &str = include_str!("guest.py");
/// A bridge that is the host's own, and the service's side of it.
struct Host {
    data: tempfile::TempDir,
    subnet: Subnet,
}

impl Host {
    fn new() -> Self {
        make_bridge();
        for line in [
            "ip link add other type veth peer name observer",
            "ip link set other master br0 up",
            "ip link set observer up",
        ] {
            sh(line);
        }
        let config: NetworkConfig = toml::from_str(
            "mode = 'bridge'\nbridge = 'br0'\nipv4 = '10.20.0.0/24'\nfirst = '10.20.0.5'\n\
             gateway = '10.20.0.1'\nipv6 = 'fd00:20::/64'\nipv6_gateway = 'fd00:20::1'\n\
             dns = ['10.20.0.1', 'fd00:20::1']",
        )
        .unwrap();
        Self {
            data: tempfile::tempdir().unwrap(),
            subnet: config.subnet().unwrap(),
        }
    }

    fn bridge(&self) -> Bridge {
        Bridge::new(Some(self.subnet.clone()), "node-1", self.data.path())
    }

    fn place(&self, last: u8) -> BridgeNetwork {
        let address = [10, 20, 0, last].into();
        self.subnet.place(address, Mac::random()).unwrap()
    }

    /// What `guest.py` says; nothing if all is well.
    fn guest(&self, what: &str, network: &BridgeNetwork, last: &str) -> String {
        let ipv6 = network.ipv6.as_ref().unwrap().address.addr().to_string();
        let (mac, ipv4) = (network.mac.to_string(), network.ipv4.addr().to_string());
        let output = Command::new("python3")
            .args([
                "-c",
                GUEST,
                what,
                &network.mac.port(),
                &mac,
                &ipv4,
                &ipv6,
                last,
            ])
            .output()
            .unwrap();
        assert!(output.status.success() || output.status.code() == Some(1));
        words(&output)
    }

    /// Whom dnsmasq answers.
    fn answered(&self) -> Vec<String> {
        let hosts = std::fs::read_dir(self.data.path().join("dnsmasq/hosts")).unwrap();
        let names = hosts.map(|host| host.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn dnsmasq(&self) -> Option<i32> {
        let pid = std::fs::read_to_string(self.data.path().join("dnsmasq/dnsmasq.pid")).ok()?;
        let pid = pid.trim().parse().ok()?;
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        (!state.contains(") Z ")).then_some(pid)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(pid) = self.dnsmasq() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
    }
}

fn machine(id: VmId) -> Owner<'static> {
    Owner { region: "hal1", id }
}

fn ports() -> Vec<String> {
    let links = sh("ip -o link show");
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    names
        .filter(|name| name.starts_with("ab"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_guest_cannot_pass_for_another() {
    in_namespace("bridge::a_guest_cannot_pass_for_another", || {
        block_on(async {
            let host = Host::new();
            let bridge = host.bridge();
            let network = host.place(5);
            bridge.attach(machine(1), &network, 0).await.unwrap();
            assert_eq!(host.guest("forge", &network, "observer"), "");
            // Without the guard everything would pass: that is what the test sees.
            sh("nft flush ruleset");
            let said = host.guest("forge", &network, "observer");
            assert!(
                said.contains("an advertisement of a router passed"),
                "{said}"
            );
            assert!(said.contains("a packet in a VLAN passed"), "{said}");
            assert!(!said.contains("did not pass"), "{said}");
            // Somebody did that to the host; the guards come back.
            bridge.uphold(std::slice::from_ref(&network)).await.unwrap();
            assert_eq!(host.guest("forge", &network, "observer"), "");
        })
    });
}

#[test]
fn dnsmasq_tells_machines_their_addresses() {
    in_namespace("bridge::dnsmasq_tells_machines_their_addresses", || {
        block_on(async {
            let host = Host::new();
            let bridge = host.bridge();
            let first = host.place(5);
            bridge.attach(machine(1), &first, 0).await.unwrap();
            assert_eq!(host.guest("dhcp", &first, "10.20.0.1"), "");
            let second = host.place(6);
            bridge.attach(machine(2), &second, 0).await.unwrap();
            assert_eq!(host.guest("dhcp", &second, "10.20.0.1"), "");
            let pid = host.dnsmasq().unwrap();

            // The next service finds it at work, and leaves it alone.
            let bridge = host.bridge();
            bridge.attach(machine(1), &first, 0).await.unwrap();
            bridge.uphold(&[]).await.unwrap();
            assert_eq!(host.dnsmasq(), Some(pid));
            // One that died comes back.
            sh(&format!("kill -9 {pid}"));
            while host.dnsmasq().is_some() {
                std::thread::sleep(Duration::from_millis(5));
            }
            bridge.uphold(&[]).await.unwrap();
            assert_ne!(host.dnsmasq().unwrap(), pid);
            assert_eq!(host.guest("dhcp", &first, "10.20.0.1"), "");

            // An address can be lent to another machine at once.
            bridge.detach(machine(1), &first).await.unwrap();
            let third = host.place(5);
            bridge.attach(machine(3), &third, 0).await.unwrap();
            assert_eq!(host.guest("dhcp", &third, "10.20.0.1"), "");
            assert_eq!(host.guest("dhcp", &second, "10.20.0.1"), "");

            for (id, network) in [(2, &second), (3, &third)] {
                bridge.detach(machine(id), network).await.unwrap();
                bridge.detach(machine(id), network).await.unwrap();
            }
            assert_eq!(host.dnsmasq(), None, "nobody is left");
        })
    });
}

#[test]
fn what_belongs_to_others_stays() {
    in_namespace("bridge::what_belongs_to_others_stays", || {
        block_on(async {
            let host = Host::new();
            let other = Bridge::new(
                Some(host.subnet.clone()),
                "node-2",
                &host.data.path().join("x"),
            );
            let bridge = host.bridge();
            let places = [5, 6, 7, 8].map(|last| host.place(last));
            bridge.attach(machine(1), &places[0], 0).await.unwrap();
            bridge.attach(machine(2), &places[1], 65534).await.unwrap();
            let nbg1 = Owner {
                region: "nbg1",
                id: 1,
            };
            bridge.attach(nbg1, &places[2], 0).await.unwrap();
            let fixed = BridgeNetwork {
                dhcp: Dhcp::Operator,
                ..places[3].clone()
            };
            other.attach(machine(1), &fixed, 0).await.unwrap();
            sh("ip tuntap add dev abc mode tap");
            assert_eq!(ports().len(), 5);

            let error = bridge
                .attach(machine(9), &fixed, 0)
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("belongs to something else"), "{error}");
            assert!(bridge.detach(machine(9), &fixed).await.is_err());

            bridge.sweep("hal1", |id| id == 2).await.unwrap();
            let left = ports();
            assert!(!left.contains(&places[0].mac.port()), "{left:?}");
            assert_eq!(left.len(), 4);
            let rules = sh("nft list ruleset");
            assert!(!rules.contains(&places[0].mac.port()), "{rules}");
            assert!(rules.contains(&places[2].mac.port()), "{rules}");
            assert_eq!(host.answered(), ["hal1.2", "nbg1.1"]);

            // It is given to another user when the machine starts again.
            let port = places[1].mac.port();
            let user = || sh(&format!("ip -details link show {port}")).contains("user nobody");
            assert!(user());
            bridge.attach(machine(2), &places[1], 0).await.unwrap();
            assert!(!user());
            // Somebody took it out of the bridge.
            sh(&format!("ip link set {port} nomaster"));
            bridge.uphold(&places[1..3]).await.unwrap();
            assert!(sh(&format!("ip link show {port}")).contains("master br0"));
        })
    });
}

#[test]
fn what_is_missing_is_named() {
    in_namespace("bridge::what_is_missing_is_named", || {
        block_on(async {
            let host = Host::new();
            assert_eq!(examine(&host.subnet, 4711).await, []);
            let said = async |subnet: &Subnet| {
                let wrong = examine(subnet, 4711).await;
                wrong
                    .into_iter()
                    .map(|(what, _)| what)
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            sh("chmod 0660 /dev/net/tun");
            assert_eq!(examine(&host.subnet, 0).await, []);
            let expected = "may not open /dev/net/tun";
            assert!(said(&host.subnet).await.contains(expected));
            let error = host.bridge().attach(machine(1), &host.place(5), 4711).await;
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("chmod"),
                "{error}"
            );
            assert_eq!(ports(), [""; 0], "nothing is half made");
            sh("chmod 0666 /dev/net/tun");
            sh("ip link set br0 down");
            sh("ip address flush dev br0");
            let wrong = said(&host.subnet).await;
            for expected in [
                "is down",
                "no address in 10.20.0.0/24",
                "no address in fd00:20::/64",
            ] {
                assert!(wrong.contains(expected), "{expected} in {wrong}");
            }
            sh("ip address add 10.20.0.9/24 dev br0");
            let wrong = said(&Subnet {
                mtu: 1400,
                ..host.subnet.clone()
            })
            .await;
            for expected in ["packets of 1500 bytes", "10.20.0.9 is this host's own"] {
                assert!(wrong.contains(expected), "{expected} in {wrong}");
            }
            for (name, expected) in [("lo", "is no bridge"), ("br9", "there is no bridge `br9`")] {
                let subnet = Subnet {
                    bridge: name.into(),
                    ..host.subnet.clone()
                };
                assert!(said(&subnet).await.contains(expected));
                let bridge = Bridge::new(Some(subnet), "node-1", host.data.path());
                let error = bridge
                    .attach(machine(1), &host.place(5), 0)
                    .await
                    .unwrap_err();
                assert!(error.to_string().contains(expected), "{error}");
                assert_eq!(ports(), [""; 0], "nothing is half made");
            }
        })
    });
}
