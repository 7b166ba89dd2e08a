//! Which data sources cloud-init asks, and in which order.
//!
//! From the strongest to the weakest: `ds=`, `ci.ds=` or `ci.datasource=` on the kernel command
//! line; a `cc:` section there; `datasource:` in `ds-identify.cfg`; `datasource_list` in the
//! configuration; the list that is built into cloud-init. The first and the third name a single
//! source, and ds-identify then hands that and `None` to cloud-init without looking further
//! (tools/ds-identify, `parse_cmdline_or_dmi` in cloudinit/sources and `fetch_base_config` in
//! cloudinit/stages.py). What ds-identify finds on the machine cannot be known from an image.

use crate::facts::{Evidence, Fact};
use crate::fs::{Text, Tree};
use crate::text::clean;
use crate::yaml::{self, Content};

use super::cloud_config::{Configuration, DATASOURCES};
use super::cmdline::CommandLine;
use super::{MAX_CONFIG, cloud_version};

/// The list in force and what it overrides.
#[derive(Default)]
pub(crate) struct Order {
    pub(crate) list: Option<Fact<Vec<String>>>,
    /// Whether nothing but cloud-init itself sets it.
    pub(crate) built_in: bool,
    /// The lists that it overrides, the weakest first.
    pub(crate) overridden: Vec<Fact<Vec<String>>>,
}

/// The order of data sources.
pub(crate) fn probe(
    tree: &Tree,
    configuration: &Configuration,
    command_line: Option<&CommandLine>,
) -> Order {
    let mut lists = configuration.datasource_lists.clone();
    lists.extend(identified(tree));
    if let Some(line) = command_line {
        lists.extend(in_section(line));
        lists.extend(named(line));
    }
    if let Some(list) = lists.pop() {
        return Order {
            list: Some(list),
            built_in: false,
            overridden: lists,
        };
    }
    Order {
        list: built_in(tree),
        built_in: true,
        overridden: Vec::new(),
    }
}

/// A single source, as ds-identify writes it down.
fn single(name: &str, evidence: Evidence) -> Fact<Vec<String>> {
    let mut list = vec![clean(name)];
    if !name.eq_ignore_ascii_case("None") {
        list.push("None".to_owned());
    }
    Fact::new(list, evidence)
}

/// `ds=nocloud;s=http://…`: the name ends at the semicolon. `nocloud-net` is an old name.
fn named(line: &CommandLine) -> Option<Fact<Vec<String>>> {
    ["ds", "ci.ds", "ci.datasource"].iter().find_map(|key| {
        let value = line.value(key)?.trim_matches(['"', '\'', '\\']);
        let name = value.split([';', '\\']).next()?;
        let name = match name {
            "" => return None,
            "nocloud-net" => "NoCloud",
            name => name,
        };
        Some(single(name, line.evidence()))
    })
}

/// `cc: datasource_list: [ X ] end_cc` on the kernel command line.
fn in_section(line: &CommandLine) -> Option<Fact<Vec<String>>> {
    let text = line.text();
    let mut rest = text.as_str();
    let mut sections = String::new();
    while let Some(start) = rest.find("cc:") {
        let after = rest.get(start + 3..)?;
        let end = after.find("end_cc").unwrap_or(after.len());
        sections.push_str(after.get(..end)?.trim_start());
        sections.push('\n');
        rest = after.get(end..)?.trim_start_matches("end_cc");
    }
    let sections = sections
        .replace("\\n", "\n")
        .replace("%5B", "[")
        .replace("%5D", "]");
    let mut found = yaml::find(&sections, &[DATASOURCES], &mut 1000).ok()?;
    match found.remove(DATASOURCES)?.content {
        Content::List(items) => {
            let names = items.iter().map(|item| clean(&item.text)).collect();
            Some(Fact::new(names, line.evidence()))
        }
        _ => None,
    }
}

fn identify(tree: &Tree, key: &str) -> Option<(Text, u32, String)> {
    let file = tree.read("/etc/cloud/ds-identify.cfg", MAX_CONFIG)?;
    let last = file
        .lines()
        .filter_map(|(number, line)| {
            let line = line.split('#').next()?;
            let value = line
                .trim()
                .strip_prefix(key)?
                .trim_start()
                .strip_prefix(':')?;
            let value = value.trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| (number, value.to_owned()))
        })
        .last();
    let (number, value) = last?;
    Some((file, number, value))
}

fn evidence(file: &Text, number: u32) -> Evidence {
    let line = file.text.lines().nth(number.saturating_sub(1) as usize);
    file.evidence(number, line.unwrap_or(""))
}

/// `datasource: NAME` in ds-identify.cfg: no other data source is tried.
fn identified(tree: &Tree) -> Option<Fact<Vec<String>>> {
    let (file, number, name) = identify(tree, "datasource")?;
    Some(single(&name, evidence(&file, number)))
}

/// `policy: disabled` in ds-identify.cfg, or `ci.di.policy=disabled`: cloud-init never starts.
pub(crate) fn policy_disabled(tree: &Tree, command_line: Option<&CommandLine>) -> Option<Evidence> {
    let mode = |policy: &str| policy.split(',').next().unwrap_or("").trim() == "disabled";
    if let Some((policy, line)) =
        command_line.and_then(|line| Some((line.value("ci.di.policy")?, line)))
    {
        return mode(policy).then(|| line.evidence());
    }
    let (file, number, policy) = identify(tree, "policy")?;
    mode(&policy).then(|| evidence(&file, number))
}

/// The list in the program's own `settings.py`.
fn built_in(tree: &Tree) -> Option<Fact<Vec<String>>> {
    let file = cloud_version::module_directories(tree)
        .iter()
        .find_map(|directory| {
            tree.read(&format!("{directory}/cloudinit/settings.py"), MAX_CONFIG)
        })?;
    let (number, line) = file
        .lines()
        .find(|(_, line)| line.trim_start().starts_with("\"datasource_list\": ["))?;
    let names: Vec<String> = file
        .text
        .lines()
        .skip(number as usize)
        .take(64)
        .take_while(|line| !line.trim_start().starts_with(']'))
        .filter_map(|line| {
            line.trim()
                .strip_prefix(['"', '\''])?
                .split(['"', '\''])
                .next()
        })
        .map(clean)
        .collect();
    let evidence = file.evidence(number, line);
    (!names.is_empty()).then(|| Fact::new(names, evidence))
}
