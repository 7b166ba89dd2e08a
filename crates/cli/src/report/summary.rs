//! What was found in an image, in a few labelled lines above the findings.

use abbild_guest::{CloudInit, Container, Fact, Facts, Lang, PartitionTable, Sshd};

use super::words::{starts, words};
use crate::print::size;

/// Data sources that are listed; the built-in lists have more than thirty.
const DATASOURCES: usize = 6;

/// The type of a partition with GRUB's second stage, which has no filesystem.
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

/// Label and value of each line; an empty value is not shown.
pub(super) fn lines(facts: &Facts, lang: Lang) -> Vec<(&'static str, String)> {
    let words = words(lang);
    vec![
        (words.system, system(facts)),
        (words.image, image(&facts.container, lang)),
        (words.partitions, partitions(facts, lang)),
        (words.root, root(facts, lang)),
        (words.boot, boot(facts, lang)),
        ("cloud-init", cloud_init(&facts.cloud_init, lang)),
        ("SSH", sshd(&facts.sshd, lang)),
    ]
}

fn system(facts: &Facts) -> String {
    let mut parts = Vec::new();
    if let Some(os) = &facts.os {
        parts.extend(os.name.clone().or_else(|| os.id.clone()));
    }
    parts.extend(value(&facts.architecture));
    parts.join(", ")
}

fn image(container: &Container, lang: Lang) -> String {
    let mut parts = Vec::new();
    if let Some(format) = &container.format {
        let layers = container
            .layers
            .iter()
            .rev()
            .map(|layer| format!("+{layer}"));
        parts.push(format!("{format}{}", layers.collect::<String>()));
    }
    let size = |bytes| match lang {
        Lang::De => size(bytes).replace('.', ","),
        Lang::En => size(bytes),
    };
    match (container.virtual_size, container.file_size) {
        (Some(disk), Some(file)) => parts.push(format!("{} in {}", size(disk), size(file))),
        (Some(disk), None) => parts.push(size(disk)),
        _ => {}
    }
    parts.join(", ")
}

/// `GPT: 1 ext4, 14 BIOS boot, 15 vfat`.
fn partitions(facts: &Facts, lang: Lang) -> String {
    let Some(PartitionTable {
        kind, partitions, ..
    }) = &facts.partition_table
    else {
        return String::new();
    };
    if kind == "none" {
        return words(lang).no_table.to_owned();
    }
    let partitions: Vec<_> = partitions
        .iter()
        .map(|partition| {
            let kind = match &partition.filesystem {
                Some(filesystem) => &filesystem.kind,
                None if partition.type_code == BIOS_BOOT => words(lang).bios_partition,
                None => "-",
            };
            format!("{} {kind}", partition.number)
        })
        .collect();
    format!("{}: {}", kind.to_uppercase(), partitions.join(", "))
}

fn root(facts: &Facts, lang: Lang) -> String {
    let words = words(lang);
    let Some(root) = &facts.root else {
        return String::new();
    };
    let kind = &root.filesystem;
    match (&root.volume, root.partition) {
        (Some(volume), _) => format!("{kind} {} {volume}", words.in_volume),
        (None, 0) => format!("{kind} {}", words.on_disk),
        (None, number) => format!("{kind} {} {number}", words.on_partition),
    }
}

fn boot(facts: &Facts, lang: Lang) -> String {
    let mut parts = Vec::new();
    let modes = [(facts.boot.bios, "BIOS"), (facts.boot.uefi, "UEFI")];
    parts.extend(
        modes
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, name)| name.to_owned()),
    );
    parts.extend(
        facts
            .serial_console
            .as_ref()
            .map(|console| format!("{} {}", words(lang).console, console.value)),
    );
    parts.join(", ")
}

fn cloud_init(cloud_init: &CloudInit, lang: Lang) -> String {
    let mut parts = Vec::new();
    parts.extend(value(&cloud_init.version));
    let state = cloud_init.enablement.as_ref().map(|state| state.value);
    parts.extend(
        state
            .and_then(|state| starts(state, lang))
            .map(str::to_owned),
    );
    if let Some(list) = &cloud_init.datasource_list {
        let mut names: Vec<_> = list.value.iter().take(DATASOURCES).cloned().collect();
        if list.value.len() > DATASOURCES {
            names.push("…".to_owned());
        }
        parts.push(format!("[{}]", names.join(", ")));
    }
    parts.join(", ")
}

fn sshd(sshd: &Sshd, lang: Lang) -> String {
    let mut parts = Vec::new();
    parts.extend(value(&sshd.server));
    let state = sshd.enablement.as_ref().map(|state| state.value);
    parts.extend(
        state
            .and_then(|state| starts(state, lang))
            .map(str::to_owned),
    );
    parts.extend(value(&sshd.port).map(|port| format!("Port {port}")));
    parts.join(", ")
}

fn value(fact: &Option<Fact<String>>) -> Option<String> {
    fact.as_ref().map(|fact| fact.value.clone())
}
