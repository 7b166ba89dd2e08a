//! cloud-init's configuration: which data sources it asks, in which order, and whom it creates.
//!
//! `cloud.cfg` is overridden by the files of `cloud.cfg.d` whose names end in `.cfg`, and among
//! those the last by name wins (`cloudinit.util.read_conf_d`). A list replaces a list.
//! `ds-identify.cfg` may name one data source, which then is the only one.

use crate::facts::{Evidence, Fact, Fault};
use crate::fs::{Text, Tree};
use crate::text::clean;
use crate::yaml::{self, Content};

use super::MAX_CONFIG;

/// Largest file read. Scanning one long line takes time that grows faster than its length.
const MAX_FILE: u64 = 256 << 10;
/// Bytes read of all files together.
const MAX_BYTES: usize = 2 << 20;
const LIST: &str = "datasource_list";
const USER: &str = "system_info.default_user.name";

/// What the configuration says.
#[derive(Default)]
pub(crate) struct Configuration {
    pub(crate) datasource_list: Option<Fact<Vec<String>>>,
    pub(crate) default_user: Option<Fact<String>>,
    pub(crate) faults: Vec<Fault>,
}

/// Reads the configuration in the order in which it takes effect.
pub(crate) fn probe(tree: &Tree) -> Configuration {
    let mut configuration = Configuration::default();
    let directory = "/etc/cloud/cloud.cfg.d";
    let dropins = tree
        .list(directory)
        .into_iter()
        .filter(|name| name.ends_with(".cfg"))
        .map(|name| format!("{directory}/{name}"));
    let mut bytes = 0;
    let mut events = yaml::EVENTS;
    for path in std::iter::once("/etc/cloud/cloud.cfg".to_owned()).chain(dropins) {
        let Some(file) = tree.read(&path, MAX_FILE) else {
            continue;
        };
        bytes += file.text.len();
        if bytes > MAX_BYTES {
            let detail = format!("cloud-init's configuration has more than {MAX_BYTES} bytes");
            configuration
                .faults
                .push(fault("inspection-limit", detail, &file));
            break;
        }
        take(&file, &mut events, &mut configuration);
    }
    if let Some(fact) = identified(tree) {
        configuration.datasource_list = Some(fact);
    }
    configuration
}

fn take(file: &Text, events: &mut usize, configuration: &mut Configuration) {
    let mut found = match yaml::find(&file.text, &[LIST, USER], events) {
        Ok(found) => found,
        Err(detail) => {
            configuration
                .faults
                .push(fault("file-unreadable", detail, file));
            return;
        }
    };
    let evidence = |line: u32| {
        let text = file.text.lines().nth(line.saturating_sub(1) as usize);
        file.evidence(line, text.unwrap_or(""))
    };
    if let Some(value) = found.remove(LIST) {
        let names = match value.content {
            Content::List(names) => names,
            Content::Scalar(name) => vec![name],
            Content::Other => Vec::new(),
        };
        configuration.datasource_list = Some(Fact::new(
            names.iter().map(clean).collect(),
            evidence(value.line),
        ));
    }
    if let Some(value) = found.remove(USER)
        && let Content::Scalar(name) = value.content
    {
        configuration.default_user = Some(Fact::new(clean(name), evidence(value.line)));
    }
}

fn fault(code: &str, detail: String, file: &Text) -> Fault {
    Fault {
        code: code.to_owned(),
        detail: clean(detail),
        evidence: Evidence::path(clean(&file.path)),
    }
}

/// `datasource: NAME` in ds-identify.cfg: no other data source is tried.
fn identified(tree: &Tree) -> Option<Fact<Vec<String>>> {
    let file = tree.read("/etc/cloud/ds-identify.cfg", MAX_CONFIG)?;
    file.lines().find_map(|(number, line)| {
        let name = line.strip_prefix("datasource:")?.trim();
        if name.is_empty() {
            return None;
        }
        Some(Fact::new(vec![clean(name)], file.evidence(number, line)))
    })
}

/// `policy: disabled` in ds-identify.cfg: cloud-init is never started.
pub(crate) fn policy_disabled(tree: &Tree) -> Option<Evidence> {
    let file = tree.read("/etc/cloud/ds-identify.cfg", MAX_CONFIG)?;
    file.lines().find_map(|(number, line)| {
        let policy = line.strip_prefix("policy:")?.trim();
        let word = policy.split(',').next().unwrap_or("").trim();
        (word == "disabled").then(|| file.evidence(number, line))
    })
}
