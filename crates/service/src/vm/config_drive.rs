//! The config drive: how a machine learns who it is.
//!
//! A small read-only disk labelled `config-2`, laid out as OpenStack does it and as cloud-init's
//! ConfigDrive source, Ignition, Afterburn and cloudbase-init read it:
//!
//! ```text
//! openstack/<version>/meta_data.json      uuid, host name, SSH keys
//! openstack/<version>/network_data.json   one network card, addressed by DHCP
//! openstack/<version>/vendor_data.json    nothing
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
    pub mac: &'a str,
    /// User data, any content.
    pub user_data: Option<&'a [u8]>,
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
        let mut tree = Tree::default();
        for version in VERSIONS {
            let path = |name: &str| format!("openstack/{version}/{name}");
            tree.file(path("meta_data.json"), meta_data.as_bytes());
            tree.file(path("network_data.json"), network_data.as_bytes());
            tree.file(path("vendor_data.json"), b"{}");
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

    fn network_data(&self) -> Value {
        json!({
            "links": [{
                "id": "link0",
                "type": "phy",
                "ethernet_mac_address": self.mac,
                "mtu": 1500,
            }],
            "networks": [{
                "id": "network0",
                "type": "ipv4_dhcp",
                "link": "link0",
                "network_id": "default",
            }],
            "services": [],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive<'a>(keys: &'a [(String, String)], user_data: Option<&'a [u8]>) -> ConfigDrive<'a> {
        ConfigDrive {
            uuid: "6e3a9c0e-0000-4000-8000-00000000002a",
            name: "web-1",
            ssh_keys: keys,
            availability_zone: "hal1",
            mac: "52:54:00:00:00:2a",
            user_data,
        }
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
}
