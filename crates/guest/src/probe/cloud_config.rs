//! cloud-init's configuration files, merged as cloud-init merges them.
//!
//! `cloud.cfg` is overridden by the files of `cloud.cfg.d` whose names end in `.cfg`, and among
//! those the last by name wins (`read_conf_with_confd` in cloudinit/util.py). Mappings are merged
//! key by key, and everything else replaces what was there, lists too. A file that is no YAML
//! mapping counts as empty: cloud-init logs a warning and goes on. A file may ask for another way
//! of merging (`merge_how`); that is reported, but not followed here.
//!
//! Of all that, only the values at [`PATHS`] are kept.

use std::collections::HashMap;

use crate::facts::{Evidence, Fact, Fault};
use crate::fs::{Text, Tree};
use crate::text::clean;
use crate::yaml::{self, Content};

/// Largest file read. Scanning one long line takes time that grows faster than its length.
const MAX_FILE: u64 = 256 << 10;
/// Bytes read of all files together.
const MAX_BYTES: usize = 2 << 20;
/// Files read. Distributions ship a handful.
const MAX_FILES: usize = 256;

/// Where the configuration lies: on Linux, and under the prefixes of FreeBSD's and NetBSD's
/// packages.
const BASES: [&str; 3] = ["/etc/cloud", "/usr/local/etc/cloud", "/usr/pkg/etc/cloud"];

pub(crate) const DATASOURCES: &str = "datasource_list";

/// The values that are kept.
const PATHS: [&str; 23] = [
    DATASOURCES,
    "conf_d",
    "merge_how",
    "merge_type",
    "disable_ec2_metadata",
    "datasource.ConfigDrive.dsmode",
    "datasource.NoCloud.seedfrom",
    "system_info.default_user.name",
    "system_info.default_user.sudo",
    "system_info.default_user.doas",
    "system_info.default_user.lock_passwd",
    "system_info.default_user.shell",
    "system_info.network.renderers",
    "users",
    "users.default",
    "user",
    "disable_root",
    "ssh_pwauth",
    "cloud_init_modules",
    "growpart.mode",
    "resize_rootfs",
    "network.config",
    "manual_cache_clean",
];

/// A value in force, and where it is set.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    content: Content,
    evidence: Evidence,
    /// Lines of the data sources, if their list is written over several.
    items: Vec<Evidence>,
}

/// The configuration in force.
#[derive(Default)]
pub(crate) struct Configuration {
    /// Directory that it was found in.
    pub(crate) base: Option<&'static str>,
    settings: HashMap<&'static str, Setting>,
    /// Every list of data sources, the one in force last.
    pub(crate) datasource_lists: Vec<Fact<Vec<String>>>,
    /// Files that cloud-init will pass over, and why.
    pub(crate) broken: Vec<Fault>,
    /// What was not read.
    pub(crate) faults: Vec<Fault>,
}

impl Configuration {
    /// Reads the files in the order in which they take effect.
    pub(crate) fn read(tree: &Tree) -> Self {
        let mut configuration = Self::default();
        let base = BASES
            .into_iter()
            .find(|base| tree.exists(&format!("{base}/cloud.cfg")))
            .or_else(|| BASES.into_iter().find(|base| tree.exists(base)));
        let Some(base) = base else {
            return configuration;
        };
        configuration.base = Some(base);
        let mut budget = Budget {
            bytes: MAX_BYTES,
            events: yaml::EVENTS,
        };
        configuration.take(tree, &format!("{base}/cloud.cfg"), &mut budget);
        // `cloud.cfg` may name another directory, or none.
        let directory = configuration
            .text("conf_d")
            .map_or_else(|| format!("{base}/cloud.cfg.d"), |named| named.value);
        let mut names = tree.list(&directory);
        names.retain(|name| name.ends_with(".cfg"));
        // The last ones win, so those are the ones to read.
        if names.len() > MAX_FILES {
            let detail = format!("only the last {MAX_FILES} of its files were read");
            configuration.faults.push(fault(
                "inspection-limit",
                detail,
                Evidence::path(clean(&directory)),
            ));
            names.drain(..names.len() - MAX_FILES);
        }
        for name in names {
            if !configuration.take(tree, &format!("{directory}/{name}"), &mut budget) {
                break;
            }
        }
        configuration
    }

    /// Reads one file; false if no more may be read.
    fn take(&mut self, tree: &Tree, path: &str, budget: &mut Budget) -> bool {
        let Some(file) = tree.read(path, MAX_FILE) else {
            return true;
        };
        let Some(bytes) = budget.bytes.checked_sub(file.text.len()) else {
            let detail = format!("cloud-init's configuration has more than {MAX_BYTES} bytes");
            let place = Evidence::path(clean(&file.path));
            self.faults.push(fault("inspection-limit", detail, place));
            return false;
        };
        budget.bytes = bytes;
        match yaml::find(&file.text, &PATHS, &mut budget.events) {
            Ok(found) => self.merge(&file, found),
            // A template is rendered first; what comes out cannot be known here.
            Err(_) if file.text.starts_with("## template:") && budget.events > 0 => {}
            Err(broken) if budget.events > 0 => {
                let place = line_of(&file, broken.line);
                self.broken.push(fault("not-yaml", broken.what, place));
            }
            Err(broken) => {
                let place = Evidence::path(clean(&file.path));
                self.faults
                    .push(fault("inspection-limit", broken.what, place));
                return false;
            }
        }
        true
    }

    fn merge(&mut self, file: &Text, found: HashMap<&'static str, yaml::Value>) {
        for (path, value) in found {
            let evidence = line_of(file, value.line);
            let items = match &value.content {
                Content::List(items) if path == DATASOURCES => {
                    items.iter().map(|item| item.line).collect()
                }
                _ => Vec::new(),
            };
            let setting = Setting {
                content: value.content,
                items: items
                    .into_iter()
                    .filter(|line| *line != value.line)
                    .map(|line| line_of(file, line))
                    .collect(),
                evidence,
            };
            if path == DATASOURCES
                && let Some(list) = setting.list()
            {
                self.datasource_lists.push(list);
            }
            self.settings.insert(path, setting);
        }
    }

    /// The scalar at `path`, if it is one.
    pub(crate) fn text(&self, path: &str) -> Option<Fact<String>> {
        let setting = self.settings.get(path)?;
        match &setting.content {
            Content::Scalar(text) => Some(Fact::new(clean(text), setting.evidence.clone())),
            // `sudo: ["ALL=(ALL) NOPASSWD:ALL"]` and the like.
            Content::List(items) => {
                let text: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
                Some(Fact::new(clean(text.join("; ")), setting.evidence.clone()))
            }
            Content::Other => None,
        }
    }

    /// The truth value at `path`, as cloud-init's `is_true` and YAML 1.1 take it.
    pub(crate) fn flag(&self, path: &str) -> Option<Fact<bool>> {
        let text = self.text(path)?;
        let yes = ["true", "1", "on", "yes"]
            .iter()
            .any(|word| text.value.eq_ignore_ascii_case(word));
        Some(Fact {
            value: yes,
            evidence: text.evidence,
        })
    }

    /// The list at `path`; a scalar counts as a list of its words.
    pub(crate) fn list(&self, path: &str) -> Option<Fact<Vec<String>>> {
        self.settings.get(path)?.list()
    }

    /// Where `path` is set, whatever its value is.
    pub(crate) fn place(&self, path: &str) -> Option<Evidence> {
        Some(self.settings.get(path)?.evidence.clone())
    }
}

impl Setting {
    /// The items, the line of the key first and then those of the items that are not on it.
    fn list(&self) -> Option<Fact<Vec<String>>> {
        let value = match &self.content {
            Content::List(items) => items.iter().map(|item| clean(&item.text)).collect(),
            Content::Scalar(text) => text
                .split([',', ' '])
                .filter(|word| !word.is_empty())
                .map(clean)
                .collect(),
            Content::Other => return None,
        };
        let mut evidence = vec![self.evidence.clone()];
        evidence.extend(self.items.iter().take(16).cloned());
        Some(Fact { value, evidence })
    }
}

struct Budget {
    bytes: usize,
    events: usize,
}

fn line_of(file: &Text, line: u32) -> Evidence {
    let text = file.text.lines().nth(line.saturating_sub(1) as usize);
    file.evidence(line, text.unwrap_or(""))
}

fn fault(code: &str, detail: String, evidence: Evidence) -> Fault {
    Fault {
        code: code.to_owned(),
        detail: clean(detail),
        evidence,
    }
}
