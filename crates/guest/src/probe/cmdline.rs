//! The kernel command line that the boot loader passes.
//!
//! GRUB's own `grub.cfg` decides, then Boot Loader Specification entries, then syslinux; files
//! such as `/etc/default/grub` only matter when `grub.cfg` is written anew and are used if nothing
//! else is there.

use crate::facts::{Evidence, Fact};
use crate::fs::{Text, Tree};
use crate::text::clean;

use super::os::assignment;

/// Large installations have a `grub.cfg` of some tens of kilobytes.
const MAX_LOADER_CONFIG: u64 = 1 << 20;

/// Arguments of the entry that boots by default, and where they are written.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    arguments: Vec<String>,
    kernel: Option<String>,
    initrds: Vec<String>,
    evidence: Evidence,
}

impl CommandLine {
    /// The last value of `name=value`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// Whether `name` stands there, with or without a value that means yes.
    pub(crate) fn says(&self, name: &str) -> bool {
        let bare = self.arguments.iter().any(|argument| argument == name);
        let value = self.value(name);
        value.map_or(bare, |value| !matches!(value, "" | "0" | "no" | "off"))
    }

    /// All arguments.
    pub(crate) fn text(&self) -> String {
        self.arguments.join(" ")
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .filter_map(move |argument| argument.strip_prefix(name)?.strip_prefix('='))
    }

    /// The kernel's path, as the boot loader has it.
    pub(crate) fn kernel(&self) -> Option<&str> {
        self.kernel.as_deref()
    }

    /// The paths of the initrds, as the boot loader has them.
    pub(crate) fn initrds(&self) -> &[String] {
        &self.initrds
    }

    /// Where it is written.
    pub(crate) fn evidence(&self) -> Evidence {
        self.evidence.clone()
    }

    /// The serial console, if the kernel is told to use one.
    pub(crate) fn serial_console(&self) -> Option<Fact<String>> {
        const SERIAL: [&str; 5] = ["ttyS", "ttyAMA", "hvc", "ttysclp", "sclp"];
        self.values("console")
            .filter(|console| SERIAL.iter().any(|prefix| console.starts_with(prefix)))
            .last()
            .map(|console| Fact::new(clean(console), self.evidence()))
    }
}

/// The kernel command line of the default entry, if a boot loader's configuration is readable.
pub(crate) fn probe(tree: &Tree) -> Option<CommandLine> {
    const GRUB: [&str; 3] = [
        "/boot/grub/grub.cfg",
        "/boot/grub2/grub.cfg",
        "/etc/grub2.cfg",
    ];
    const SYSLINUX: [&str; 4] = [
        "/boot/extlinux.conf",
        "/boot/extlinux/extlinux.conf",
        "/boot/syslinux/syslinux.cfg",
        "/boot/grub/menu.lst",
    ];
    let keyword_in = |paths: &[&str], keywords: &[&str], take_all| {
        paths
            .iter()
            .filter_map(|path| tree.read(path, MAX_LOADER_CONFIG))
            .find_map(|file| keyword_line(&file, keywords, take_all))
    };
    keyword_in(&GRUB, &["linux", "linux16", "linuxefi"], false)
        .or_else(|| loader_entry(tree))
        .or_else(|| keyword_in(&SYSLINUX, &["append", "kernel"], true))
        .or_else(|| default_grub(tree))
}

/// The arguments after the first of `keywords` in a file. GRUB writes the default entry first.
/// Unless `take_all`, the first word is the kernel's path.
fn keyword_line(file: &Text, keywords: &[&str], take_all: bool) -> Option<CommandLine> {
    file.lines().find_map(|(number, line)| {
        let mut words = line.split_whitespace();
        let keyword = words.next()?.to_ascii_lowercase();
        if !keywords.contains(&keyword.as_str()) {
            return None;
        }
        let kernel = match take_all {
            true => named(file, &["linux", "kernel"], number, false),
            false => words.next().into_iter().map(str::to_owned).collect(),
        };
        let arguments: Vec<String> = words.map(str::to_owned).collect();
        // In Red Hat's grub.cfg the arguments are a variable, and the entries are elsewhere.
        if arguments.is_empty() {
            return None;
        }
        let mut initrds = named(file, INITRD, number, !take_all);
        initrds.extend(
            arguments
                .iter()
                .filter_map(|argument| argument.strip_prefix("initrd="))
                .flat_map(|paths| paths.split(','))
                .map(str::to_owned),
        );
        Some(CommandLine {
            kernel: kernel.into_iter().next(),
            initrds,
            arguments,
            evidence: file.evidence(number, line),
        })
    })
}

/// Keywords for initrds, of GRUB and of the Boot Loader Specification.
const INITRD: &[&str] = &["initrd", "initrd16", "initrdefi"];

/// The words after one of `keywords` in the entry around line `number`: up to the end of the block
/// in a file of many entries that are blocks, else in the whole file.
fn named(file: &Text, keywords: &[&str], number: u32, blocks: bool) -> Vec<String> {
    let skip = if blocks { number as usize } else { 0 };
    file.text
        .lines()
        .skip(skip)
        .map(str::trim)
        .take_while(|line| !blocks || !line.starts_with('}'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let keyword = words.next()?.to_ascii_lowercase();
            keywords.contains(&keyword.as_str()).then_some(words)
        })
        .next()
        .map(|words| words.map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The entry with the highest name under `/boot/loader/entries`, which boots by default.
fn loader_entry(tree: &Tree) -> Option<CommandLine> {
    let directory = "/boot/loader/entries";
    let names = tree.list(directory);
    let name = names.iter().rfind(|name| name.ends_with(".conf"))?;
    let file = tree.read(&format!("{directory}/{name}"), MAX_LOADER_CONFIG)?;
    keyword_line(&file, &["options"], true)
}

fn default_grub(tree: &Tree) -> Option<CommandLine> {
    let file = tree.read("/etc/default/grub", MAX_LOADER_CONFIG)?;
    let mut arguments = Vec::new();
    let mut evidence = None;
    for (number, line) in file.lines() {
        if let Some(("GRUB_CMDLINE_LINUX" | "GRUB_CMDLINE_LINUX_DEFAULT", value)) = assignment(line)
        {
            arguments.extend(value.split_whitespace().map(str::to_owned));
            evidence = Some(file.evidence(number, line));
        }
    }
    Some(CommandLine {
        arguments,
        kernel: None,
        initrds: Vec::new(),
        evidence: evidence?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grub(text: &str) -> Option<CommandLine> {
        let file = Text {
            path: "/boot/grub/grub.cfg".to_owned(),
            text: text.to_owned(),
        };
        keyword_line(&file, &["linux"], false)
    }

    #[test]
    fn the_first_entry_counts_and_the_last_console_wins() {
        let line = grub(
            "menuentry 'Debian' {\n\tlinux\t/vmlinuz root=/dev/vda1 console=tty0 console=ttyS0,115200 quiet\n}\n\
             menuentry 'recovery' {\n\tlinux /vmlinuz cloud-init=disabled\n}\n",
        )
        .unwrap();
        assert_eq!(line.serial_console().unwrap().value, "ttyS0,115200");
        assert_eq!(line.evidence().line, Some(2));
        assert_eq!(line.value("cloud-init"), None);
        assert_eq!(line.value("root"), Some("/dev/vda1"));
    }

    #[test]
    fn a_screen_is_no_serial_console() {
        let line = grub("linux /vmlinuz console=tty1\n").unwrap();
        assert!(line.serial_console().is_none());
    }
}
