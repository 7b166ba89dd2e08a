//! Which data sources cloud-init asks, and in which order.
//!
//! From the strongest to the weakest: a `cc:` section on the kernel command line; `ds=`, `ci.ds=`
//! or `ci.datasource=` there; `datasource:` in `ds-identify.cfg`; `datasource_list` in the
//! configuration; the list that is built into cloud-init. The second and the third name a single
//! source, and ds-identify then hands that and `None` to cloud-init without looking further
//! (tools/ds-identify, and `fetch_base_config` in cloudinit/stages.py). What ds-identify finds on
//! the machine cannot be known from an image.

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
        lists.extend(named(line));
        lists.extend(in_section(line));
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

/// `ds=nocloud;s=http://…`: the name ends at the semicolon, and the last of the arguments counts.
/// `nocloud-net` is an old name.
fn named(line: &CommandLine) -> Option<Fact<Vec<String>>> {
    let text = line.text();
    let value = text
        .split_whitespace()
        .filter_map(|argument| {
            let (key, value) = argument.split_once('=')?;
            matches!(key, "ds" | "ci.ds" | "ci.datasource").then_some(value)
        })
        .next_back()?;
    // Boot loaders want the semicolon quoted.
    let value = value.trim_matches(['"', '\'']);
    let name = match value.split([';', '\\']).next()? {
        "" => return None,
        "nocloud-net" => "NoCloud",
        name => name,
    };
    Some(single(name, line.evidence()))
}

/// `cc: datasource_list: [ X ] end_cc` on the kernel command line (`read_cc_from_cmdline` in
/// cloudinit/util.py).
fn in_section(line: &CommandLine) -> Option<Fact<Vec<String>>> {
    let sections = sections(&line.text());
    let mut found = yaml::find(&sections, &[DATASOURCES], &mut 1000).ok()?;
    match found.remove(DATASOURCES)?.content {
        Content::List(items) => {
            let names = items.iter().map(|item| clean(&item.text)).collect();
            Some(Fact::new(names, line.evidence()))
        }
        _ => None,
    }
}

/// What stands between `cc:` and `end_cc`, decoded, one section a line.
fn sections(command_line: &str) -> String {
    let text = format!(" {command_line}");
    let mut sections = text.split(" cc:");
    sections.next();
    let decoded: Vec<String> = sections
        .map(|section| {
            let section = section.split("end_cc").next().unwrap_or("");
            percent_decoded(section.trim_start()).replace("\\n", "\n")
        })
        .collect();
    decoded.join("\n")
}

/// `%5B` becomes `[`, and so on; what is no such code stays.
fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or("").as_bytes().to_vec();
    for part in parts {
        let code = part
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or("").as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A value of `ds-identify.cfg`. The last line with the key counts, and as the program reads it
/// with the shell's `read`, a line without an end does not.
fn identify(tree: &Tree, key: &str) -> Option<(Text, u32, String)> {
    let file = tree.read("/etc/cloud/ds-identify.cfg", MAX_CONFIG)?;
    let (terminated, _) = file.text.rsplit_once('\n')?;
    let last = (1..)
        .zip(terminated.lines())
        .filter_map(|(number, line)| {
            let (found, value) = line.split('#').next()?.split_once(':')?;
            (found.trim() == key).then(|| (number, value.trim().trim_matches(['"', '\''])))
        })
        .last();
    let (number, value) = last.filter(|(_, value)| !value.is_empty())?;
    let value = value.to_owned();
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
    if let Some((policy, line)) =
        command_line.and_then(|line| Some((line.value("ci.di.policy")?, line)))
    {
        return is_disabled(policy).then(|| line.evidence());
    }
    let (file, number, policy) = identify(tree, "policy")?;
    is_disabled(&policy).then(|| evidence(&file, number))
}

/// Whether the last mode in a policy such as `search,found=all,notfound=disabled` is `disabled`.
fn is_disabled(policy: &str) -> bool {
    let modes = ["enabled", "disabled", "search", "report"];
    let mode = policy.split(',').rfind(|word| modes.contains(word));
    mode == Some("disabled")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mode_of_a_policy_counts() {
        for (policy, disabled) in [
            ("disabled", true),
            ("found=all,disabled", true),
            ("disabled,enabled", false),
            ("search,found=all,maybe=none,notfound=disabled", false),
        ] {
            assert_eq!(is_disabled(policy), disabled, "{policy}");
        }
    }

    /// The examples of `read_cc_from_cmdline`.
    #[test]
    fn sections_of_the_command_line() {
        for (line, text) in [
            (
                "ro cc: ssh_import_id: [a, b]\\n quiet",
                "ssh_import_id: [a, b]\n quiet",
            ),
            ("cc:a: [x] end_cc cc:b: [y] end_cc ro", "a: [x] \nb: [y] "),
            ("cc:a: %5Bx%5D end_cc", "a: [x] "),
            ("cc: a: 100%, %zz%4", "a: 100%, %zz%4"),
            ("acc: no", ""),
            ("", ""),
        ] {
            assert_eq!(sections(line), text, "{line}");
        }
    }
}
