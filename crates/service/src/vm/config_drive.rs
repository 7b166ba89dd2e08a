//! The config drive: how a machine learns who it is.
//!
//! A small read-only disk labelled `config-2`, laid out as OpenStack does it and as cloud-init's
//! ConfigDrive source, Ignition, Afterburn and cloudbase-init read it:
//!
//! ```text
//! openstack/<version>/meta_data.json      uuid, host name, SSH keys
//! openstack/<version>/network_data.json   one network card, and how it gets its addresses
//! openstack/<version>/vendor_data.json    locale and time zone, if the operator chose them
//! openstack/<version>/user_data           what the customer gave, unchanged; absent if nothing
//! ```
//!
//! `<version>` is `latest` and the dates in [`VERSIONS`]. A reader takes the newest version it
//! knows: cloud-init since 2018 takes `2018-08-27`; 0.7.7 and later need one no older than
//! `2015-10-15` to look at the network; older ones fall back to `latest`.
//!
//! Reference: <https://docs.openstack.org/nova/latest/user/metadata.html> and cloud-init's
//! `sources/helpers/openstack.py`.

use serde_json::{Map, Value, json};

use super::iso9660::{Error, Tree};
use super::mac::Mac;
use super::network::{BridgeNetwork, Dhcp, Network};

/// The label by which guests find the drive.
pub const LABEL: &str = "config-2";
/// Metadata versions present; the content of all of them is the same.
pub const VERSIONS: [&str; 3] = ["2015-10-15", "2018-08-27", "latest"];

/// What a config drive tells its machine.
#[derive(Debug, Clone)]
pub struct ConfigDrive<'a> {
    /// Identity of the machine, as hyphenated hexadecimal. When it changes, cloud-init treats the
    /// disk as a new machine: new host keys, everything done again.
    pub uuid: &'a str,
    /// Host name.
    pub name: &'a str,
    /// OpenSSH public keys with their names, in order.
    pub ssh_keys: &'a [(String, String)],
    /// Region of the machine.
    pub availability_zone: &'a str,
    /// Hardware address of the network card.
    pub mac: Mac,
    /// How it is connected.
    pub network: &'a Network,
    /// What the operator chose for guests that were not told otherwise.
    pub vendor: &'a Vendor,
    /// User data, any content.
    pub user_data: Option<&'a [u8]>,
}

/// What a cloud tells every guest. It comes after the guest's own configuration, and before the user data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vendor {
    /// For example `de_DE.UTF-8`.
    pub locale: Option<String>,
    /// For example `Europe/Berlin`.
    pub timezone: Option<String>,
}

impl Vendor {
    /// cloud-init takes what is under its name (`sources.convert_vendordata`); others look at nothing
    /// here. JSON is YAML as well.
    fn data(&self) -> Value {
        let chosen = [("locale", &self.locale), ("timezone", &self.timezone)];
        let mut chosen: Map<_, _> = chosen
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())))
            .collect();
        if let Some(command) = self.locale.as_deref().and_then(list_locale) {
            chosen.insert("bootcmd".to_owned(), json!([["sh", "-c", command]]));
        }
        match chosen.is_empty() {
            true => json!({}),
            false => json!({ "cloud-init": format!("#cloud-config\n{}\n", Value::Object(chosen)) }),
        }
    }
}

/// A boot command that puts `locale` on the list of those that a guest makes, where there is such a list.
/// On Debian cloud-init tells `locale-gen` the name, which `locale-gen` ignores for the list, and then cannot
/// set a locale that was never made (locale.gen(5)). Boot commands are carried out before that.
fn list_locale(locale: &str) -> Option<String> {
    let (_, charset) = locale.split_once('.')?;
    if !["utf-8", "utf8"].contains(&charset.to_lowercase().as_str()) {
        return None;
    }
    let (list, entry) = ("/etc/locale.gen", format!("{locale} UTF-8"));
    Some(format!(
        "[ ! -s {list} ] || grep -qxF '{entry}' {list} || echo '{entry}' >> {list}"
    ))
}

impl ConfigDrive<'_> {
    /// The drive as an ISO 9660 image. The same content gives the same bytes.
    ///
    /// # Errors
    ///
    /// User data of 4 GiB and more.
    pub fn image(&self) -> Result<Vec<u8>, Error> {
        let meta_data = self.meta_data().to_string();
        let network_data = self.network_data().to_string();
        let vendor_data = self.vendor.data().to_string();
        let mut tree = Tree::default();
        for version in VERSIONS {
            let path = |name: &str| format!("openstack/{version}/{name}");
            tree.file(path("meta_data.json"), meta_data.as_bytes());
            tree.file(path("network_data.json"), network_data.as_bytes());
            tree.file(path("vendor_data.json"), vendor_data.as_bytes());
            if let Some(user_data) = self.user_data {
                tree.file(path("user_data"), user_data);
            }
        }
        tree.image(LABEL)
    }

    fn meta_data(&self) -> Value {
        let mut keys = Map::new();
        for (name, key) in self.ssh_keys {
            // The format has a map, while customers may give two keys the same name.
            let mut unique = name.clone();
            let mut number = 2;
            while keys.contains_key(&unique) {
                unique = format!("{name}-{number}");
                number += 1;
            }
            keys.insert(unique, key.trim_end().into());
        }
        json!({
            "uuid": self.uuid,
            "hostname": self.name,
            "name": self.name,
            "launch_index": 0,
            "availability_zone": self.availability_zone,
            "public_keys": keys,
        })
    }

    /// Only types that cloud-init 0.7.7 knows already: it takes any other for a static address, and
    /// fails without one.
    fn network_data(&self) -> Value {
        let (mtu, networks, dns) = match self.network {
            Network::User(_) | Network::Isolated { .. } => (1500, vec![ipv4_dhcp()], &[][..]),
            Network::Bridge(network) => (network.mtu, on_bridge(network), &*network.dns),
        };
        let service = |address| json!({ "type": "dns", "address": address });
        json!({
            "links": [{
                "id": LINK,
                "type": "phy",
                "ethernet_mac_address": self.mac,
                "mtu": mtu,
            }],
            "networks": networks,
            "services": dns.iter().map(service).collect::<Vec<_>>(),
        })
    }
}

/// What `network_data.json` calls the card.
const LINK: &str = "link0";

fn ipv4_dhcp() -> Value {
    json!({ "id": "network0", "type": "ipv4_dhcp", "link": LINK, "network_id": "default" })
}

/// IPv6 is static in any case: the guest shall have the one address that it may use, and needs neither
/// a DHCPv6 client nor advertisements, which cloud-init switches off beside a static address.
fn on_bridge(network: &BridgeNetwork) -> Vec<Value> {
    let fixed = |id, kind, address: String, netmask: String, gateway: String, any| {
        json!({
            "id": id,
            "type": kind,
            "link": LINK,
            "network_id": "default",
            "ip_address": address,
            "netmask": netmask,
            "routes": [{ "network": any, "netmask": any, "gateway": gateway }],
        })
    };
    let ipv4 = match network.dhcp {
        Dhcp::Managed => ipv4_dhcp(),
        Dhcp::Operator => fixed(
            "network0",
            "ipv4",
            network.ipv4.addr().to_string(),
            network.ipv4.netmask().to_string(),
            network.gateway.to_string(),
            "0.0.0.0",
        ),
    };
    let ipv6 = network.ipv6.as_ref().map(|place| {
        fixed(
            "network1",
            "ipv6",
            place.address.addr().to_string(),
            place.address.netmask().to_string(),
            place.gateway.to_string(),
            "::",
        )
    });
    [ipv4].into_iter().chain(ipv6).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::vm::network::{Ipv6Place, UserNetwork};

    static USER: Network = Network::User(UserNetwork {
        address: Ipv4Addr::new(127, 64, 0, 2),
        ssh_port: 22,
        forwards: Vec::new(),
        ipv6: true,
    });

    fn drive<'a>(keys: &'a [(String, String)], user_data: Option<&'a [u8]>) -> ConfigDrive<'a> {
        ConfigDrive {
            uuid: "6e3a9c0e-0000-4000-8000-00000000002a",
            name: "web-1",
            ssh_keys: keys,
            availability_zone: "hal1",
            mac: Mac::of_machine(42),
            network: &USER,
            vendor: &Vendor {
                locale: None,
                timezone: None,
            },
            user_data,
        }
    }

    #[test]
    fn locale_and_time_zone_are_told_as_cloud_init_wants_them() {
        assert_eq!(Vendor::default().data(), json!({}));
        let vendor = Vendor {
            locale: Some("de_DE.UTF-8".into()),
            timezone: Some("Europe/Berlin".into()),
        };
        let data = vendor.data();
        let text = data["cloud-init"].as_str().unwrap();
        let told: Value =
            serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        let list = "[ ! -s /etc/locale.gen ] || grep -qxF 'de_DE.UTF-8 UTF-8' /etc/locale.gen \
                    || echo 'de_DE.UTF-8 UTF-8' >> /etc/locale.gen";
        let expected = json!({
            "locale": "de_DE.UTF-8",
            "timezone": "Europe/Berlin",
            "bootcmd": [["sh", "-c", list]],
        });
        assert_eq!(told, expected);
        assert_eq!(list_locale("de_DE.ISO-8859-1"), None);
        assert_eq!(list_locale("de_DE"), None);
    }

    #[test]
    fn keys_of_one_name_are_all_there() {
        let keys = ["a", "b", "c"].map(|key| ("laptop".to_owned(), format!("ssh-ed25519 {key}\n")));
        let meta_data = drive(&keys, None).meta_data();
        assert_eq!(
            meta_data["public_keys"],
            json!({"laptop": "ssh-ed25519 a", "laptop-2": "ssh-ed25519 b", "laptop-3": "ssh-ed25519 c"})
        );
        assert_eq!(meta_data["hostname"], "web-1");
    }

    #[test]
    fn user_data_is_on_the_drive_unchanged_or_not_at_all() {
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let with = drive(&[], Some(&bytes)).image().unwrap();
        assert!(with.windows(bytes.len()).any(|window| window == bytes));
        let without = drive(&[], None).image().unwrap();
        assert!(!without.windows(9).any(|window| window == b"user_data"));
        assert_eq!(without, drive(&[], None).image().unwrap());
    }

    #[test]
    fn a_machine_on_a_bridge_is_told_its_place() {
        let mut network = BridgeNetwork {
            mac: "06:00:00:00:00:2a".parse().unwrap(),
            ipv4: "10.20.0.5/20".parse().unwrap(),
            gateway: "10.20.0.1".parse().unwrap(),
            ipv6: Some(Ipv6Place {
                address: "fd00:20::5/64".parse().unwrap(),
                gateway: "fe80::1".parse().unwrap(),
            }),
            dns: vec!["10.20.0.1".parse().unwrap(), "fd00:20::1".parse().unwrap()],
            mtu: 1450,
            dhcp: Dhcp::Managed,
        };
        let data = |network: &BridgeNetwork| {
            let network = Network::Bridge(network.clone());
            let drive = ConfigDrive {
                mac: network.mac(42),
                network: &network,
                ..drive(&[], None)
            };
            drive.network_data()
        };
        let managed = data(&network);
        assert_eq!(
            managed["links"][0]["ethernet_mac_address"],
            "06:00:00:00:00:2a"
        );
        assert_eq!(managed["links"][0]["mtu"], 1450);
        assert_eq!(managed["networks"][0]["type"], "ipv4_dhcp");
        assert_eq!(
            managed["networks"][1],
            json!({
                "id": "network1", "type": "ipv6", "link": "link0", "network_id": "default",
                "ip_address": "fd00:20::5", "netmask": "ffff:ffff:ffff:ffff::",
                "routes": [{"network": "::", "netmask": "::", "gateway": "fe80::1"}],
            })
        );
        assert_eq!(
            managed["services"][1],
            json!({"type": "dns", "address": "fd00:20::1"})
        );
        network.dhcp = Dhcp::Operator;
        network.ipv6 = None;
        let fixed = data(&network);
        assert_eq!(fixed["networks"].as_array().unwrap().len(), 1);
        assert_eq!(fixed["networks"][0]["type"], "ipv4");
        assert_eq!(fixed["networks"][0]["netmask"], "255.255.240.0");
        assert_eq!(fixed["networks"][0]["routes"][0]["gateway"], "10.20.0.1");
    }
}
