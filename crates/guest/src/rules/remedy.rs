//! Commands that meet a requirement, for the distribution at hand.

use crate::facts::{Evidence, Facts};
use crate::report::{Message, Place, Remedy};

/// Commands to run in the guest, as root.
pub(super) fn guest<C: Into<String>>(text: &str, commands: impl IntoIterator<Item = C>) -> Remedy {
    remedy(Place::Guest, text, commands)
}

/// Commands to run where the image file is.
pub(super) fn host<C: Into<String>>(text: &str, commands: impl IntoIterator<Item = C>) -> Remedy {
    remedy(Place::Host, text, commands)
}

fn remedy<C: Into<String>>(
    place: Place,
    text: &str,
    commands: impl IntoIterator<Item = C>,
) -> Remedy {
    Remedy {
        place,
        text: Message::new(text),
        commands: commands.into_iter().map(Into::into).collect(),
    }
}

/// Package managers, by the distributions (os-release `ID` or `ID_LIKE`) that use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packages {
    Apt,
    Dnf,
    Zypper,
    Apk,
    Pacman,
    Pkg,
}

impl Packages {
    /// The one of the system in the image, if it is known.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        let os = facts.os.as_ref()?;
        os.id
            .iter()
            .chain(&os.id_like)
            .find_map(|id| match id.as_str() {
                "debian" | "ubuntu" | "devuan" | "linuxmint" | "kali" => Some(Self::Apt),
                "fedora" | "rhel" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" => {
                    Some(Self::Dnf)
                }
                "suse" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" => {
                    Some(Self::Zypper)
                }
                "alpine" => Some(Self::Apk),
                "arch" | "manjaro" => Some(Self::Pacman),
                "freebsd" => Some(Self::Pkg),
                _ => None,
            })
    }

    fn install(self, package: &str) -> Vec<String> {
        match self {
            Self::Apt => vec![
                "apt-get update".to_owned(),
                format!("apt-get install -y {package}"),
            ],
            Self::Dnf => vec![format!("dnf install -y {package}")],
            Self::Zypper => vec![format!("zypper install -y {package}")],
            Self::Apk => vec![format!("apk add {package}")],
            Self::Pacman => vec![format!("pacman -Sy --noconfirm {package}")],
            Self::Pkg => vec![format!("pkg install -y {package}")],
        }
    }
}

/// Whether the system writes its boot menu with `update-grub`, as Debian and its kin do.
pub(super) fn has_update_grub(facts: &Facts) -> bool {
    Packages::of(facts) == Some(Packages::Apt)
}

/// Ways to install a package whose name is the same everywhere but for `arch`, Arch's name of it.
pub(super) fn install(facts: &Facts, package: &str, arch: &str) -> Vec<Remedy> {
    let Some(packages) = Packages::of(facts) else {
        return vec![guest("remedy-install-generic", Vec::<String>::new())];
    };
    let name = match (packages, package) {
        (Packages::Pacman, _) => arch,
        // The packages' names carry Python's version; the port's does not.
        (Packages::Pkg, "cloud-init") => "net/cloud-init",
        (Packages::Pkg, "openssh-server") => "openssh-portable",
        _ => package,
    };
    let mut remedies = vec![guest("remedy-install", packages.install(name))];
    if packages != Packages::Pkg {
        let command = format!("virt-customize -a IMAGE --install {name}");
        remedies.push(host("remedy-install", [command]));
    }
    remedies
}

/// The same for a service; `start` is the command that has it start on boot, for systems on which
/// installing it does not.
pub(super) fn install_started(
    facts: &Facts,
    package: &str,
    arch: &str,
    start: impl Fn(Packages) -> Option<&'static str>,
) -> Vec<Remedy> {
    let mut remedies = install(facts, package, arch);
    let Some(start) = Packages::of(facts).and_then(start) else {
        return remedies;
    };
    for remedy in &mut remedies {
        remedy.commands.push(match remedy.place {
            Place::Guest => start.to_owned(),
            Place::Host => format!("virt-customize -a IMAGE --run-command {}", quote(start)),
        });
    }
    remedies
}

/// The same commands in the running guest and, through `virt-customize`, on the host.
pub(super) fn both(text: &str, commands: &[String]) -> Vec<Remedy> {
    let on_host = commands
        .iter()
        .map(|command| format!("virt-customize -a IMAGE --run-command {}", quote(command)));
    vec![guest(text, commands.to_vec()), host(text, on_host)]
}

/// Removes what `pattern`, a basic regular expression, matches on the kernel command line: in the
/// boot loader's file at `path`, and where GRUB's is made from.
pub(super) fn from_command_line(text: &str, pattern: &str, path: &str) -> Vec<Remedy> {
    const SOURCE: &str = "/etc/default/grub";
    let files = if path == SOURCE {
        SOURCE.to_owned()
    } else {
        format!("{SOURCE} {}", quote(path))
    };
    let command = format!("sed -i {} {files}", quote(&format!("s/{pattern}//g")));
    both(text, &[command])
}

/// Whether `path` is a boot loader's configuration, or what GRUB's is made from.
pub(super) fn is_command_line(path: &str) -> bool {
    path.starts_with("/boot/") || path == "/etc/default/grub"
}

/// A word of the shell.
pub(super) fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Removes the masks among `evidence`: `systemctl unmask` for units, `rm` for the rest.
pub(super) fn unmask(evidence: &[Evidence]) -> Vec<String> {
    let masked = evidence
        .iter()
        .filter(|evidence| matches!(evidence.text.as_deref(), Some("-> /dev/null" | "(empty)")))
        .filter_map(|evidence| evidence.path.as_deref());
    masked
        .map(|path| match path.strip_prefix("/etc/systemd/system/") {
            Some(unit) => format!("systemctl unmask {}", quote(unit)),
            None => format!("rm {}", quote(path)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_they_must_be() {
        assert_eq!(quote("systemctl"), "systemctl");
        assert_eq!(quote("systemctl enable ssh"), "'systemctl enable ssh'");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(quote("$(reboot)"), "'$(reboot)'");
        assert_eq!(quote(""), "''");
    }
}
