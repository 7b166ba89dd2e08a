//! The permanent names of all rules, each with the severity that applies unless the operator
//! changed it.
//!
//! The first seven are the requirements: every report has a finding on each of them. The others
//! look for what makes an image that meets them misbehave; a report has a finding on one of those
//! only if there is something to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::messages::{Lang, render};
use crate::report::{Message, Severity};

/// Makes [`RuleId`] of one line per rule, so that there is one place to add one.
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $severity:ident;)+) => {
        /// The permanent name of a rule, in the order in which findings are reported.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum RuleId {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl RuleId {
            /// All of them, in report order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The kebab-case name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The severity that applies unless the operator changed it.
            pub fn default_severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)+
                }
            }
        }
    };
}

rules! {
    /// A Linux or BSD system is inside.
    OperatingSystem = "operating-system", Failure;
    /// The file is an image in a supported format.
    ImageFormat = "image-format", Failure;
    /// The virtual disk is within the limit.
    VirtualSize = "virtual-size", Failure;
    /// The root filesystem is ext3 or ext4.
    RootFilesystem = "root-filesystem", Failure;
    /// cloud-init 0.7.7 or later is installed and enabled.
    CloudInit = "cloud-init", Failure;
    /// cloud-init asks ConfigDrive before NoCloud.
    DatasourceOrder = "datasource-order", Warning;
    /// An SSH server is installed and starts.
    Sshd = "sshd", Warning;

    /// The makers of the system still maintain it.
    SupportEnd = "support-end", Note;
    /// The disk holds no other system besides the one that boots.
    SeveralSystems = "several-systems", Note;
    /// The processors are those that machines have here.
    Architecture = "architecture", Warning;
    /// Some firmware finds a boot loader.
    BootLoader = "boot-loader", Warning;
    /// The kernel and initrd of the default entry exist.
    Kernel = "kernel", Warning;
    /// The kernel has drivers for virtio disks and network cards.
    VirtioDrivers = "virtio-drivers", Warning;
    /// The initrd was made for any machine, and not for the one that made it.
    InitrdDrivers = "initrd-drivers", Note;
    /// `root=` on the kernel command line names a filesystem of this image.
    RootDevice = "root-device", Warning;
    /// The kernel and a login use the serial console.
    SerialConsole = "serial-console", Note;
    /// `/etc/fstab` mounts nothing that a machine will not have.
    Fstab = "fstab", Warning;
    /// cloud-init understands its configuration, and the image holds no state of another machine.
    CloudConfig = "cloud-config", Warning;
    /// An account gets a machine's keys and can be logged in to.
    CloudUser = "cloud-user", Warning;
    /// cloud-init finds a program with which it can set up the network.
    NetworkRenderer = "network-renderer", Warning;
    /// The root filesystem grows to the size of the disk.
    DiskGrowth = "disk-growth", Warning;
    /// No address is configured that belongs to another machine.
    StaticNetwork = "static-network", Warning;
    /// Machines made from the image will differ in their machine id.
    MachineId = "machine-id", Warning;
    /// Machines made from the image will differ in their SSH host keys.
    HostKeys = "host-keys", Warning;
    /// Nobody's public keys are left in the image.
    AuthorizedKeys = "authorized-keys", Warning;
    /// Nobody's private keys are left in the image.
    PrivateKeys = "private-keys", Warning;
    /// The SSH server listens on port 22.
    SshdPort = "sshd-port", Note;
    /// No firewall inside the guest is in the way of SSH.
    SshdFirewall = "sshd-firewall", Warning;
    /// Nobody can log in as root with a password.
    SshdRootLogin = "sshd-root-login", Warning;
}

impl RuleId {
    /// The seven requirements.
    pub const REQUIREMENTS: &[Self] = match Self::ALL.split_at_checked(7) {
        Some((requirements, _)) => requirements,
        None => &[],
    };

    /// Whether every report has a finding on it.
    pub fn is_requirement(self) -> bool {
        Self::REQUIREMENTS.contains(&self)
    }

    /// Its short name in `lang`.
    pub fn title(self, lang: Lang) -> String {
        render(lang, &Message::new(&format!("{self}-title")))
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no rule has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule is called `{0}`")]
pub struct UnknownRule(String);

impl FromStr for RuleId {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        Self::ALL
            .iter()
            .copied()
            .find(|rule| rule.as_str() == name)
            .ok_or_else(|| UnknownRule(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requirements_come_first() {
        assert_eq!(RuleId::REQUIREMENTS.len(), 7);
        assert_eq!(RuleId::REQUIREMENTS.last(), Some(&RuleId::Sshd));
        assert!(!RuleId::Architecture.is_requirement());
    }

    #[test]
    fn names_lead_back_to_the_rules() {
        for rule in RuleId::ALL {
            assert_eq!(rule.as_str().parse(), Ok(*rule));
            let json = serde_json::to_string(rule).unwrap();
            assert_eq!(json, format!("\"{rule}\""));
        }
        assert!("sshD".parse::<RuleId>().is_err());
    }
}
