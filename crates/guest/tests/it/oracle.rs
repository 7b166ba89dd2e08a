//! cloud-init's own code as the judge of how its configuration is read.
//!
//! Random files are put together, and what the report shows is compared with what
//! `cloudinit.util.read_conf_with_confd` makes of the same files. For that, unpack cloud-init's
//! source, or Debian's package with `dpkg -x`, and name the directory of `cloudinit` in
//! `PYTHONPATH`; an interpreter with PyYAML and the other modules may be named in `ABBILD_PYTHON`.
//! Without it the test says so and does nothing, unless `ABBILD_REQUIRE_CLOUD_INIT=1`.

use std::env;
use std::process::Command;

use serde_json::{Value, json};

use crate::tree::Guest;

const CASES: usize = 80;

/// Prints what cloud-init makes of each of the trees named as arguments.
const READER: &str = r#"
import json, logging, os, sys
logging.disable(logging.CRITICAL)
from cloudinit import util

def names(items):
    if isinstance(items, str):
        return items.replace(",", " ").split()
    first = lambda item: item.get("name", "") if isinstance(item, dict) else item[0]
    return items and [item if isinstance(item, str) else first(item) for item in items]

def text(value):
    return None if value is None else str(value)

for tree in sys.argv[1:]:
    cfg = util.read_conf_with_confd(os.path.join(tree, "etc/cloud/cloud.cfg")) or {}
    system = cfg.get("system_info") or {}
    user = system.get("default_user") or {}
    sources = cfg.get("datasource_list")
    root = cfg.get("disable_root")
    print(json.dumps({
        "sources": sources and [str(source) for source in sources],
        "users": names(cfg.get("users")),
        "modules": names(cfg.get("cloud_init_modules")),
        "renderers": (system.get("network") or {}).get("renderers"),
        "name": text(user.get("name")),
        "shell": text(user.get("shell")),
        "root": None if root is None else util.is_true(root),
    }))
"#;

fn python() -> String {
    env::var("ABBILD_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn available() -> bool {
    let output = Command::new(python())
        .args(["-c", "import cloudinit.util"])
        .output();
    if output.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let message = "cloud-init's Python package is absent: name it in PYTHONPATH";
    let required = env::var_os("ABBILD_REQUIRE_CLOUD_INIT").is_some_and(|value| value == "1");
    assert!(!required, "{message}");
    eprintln!("\n*** NOT TESTED: {message} ***\n");
    false
}

/// Numbers that are the same in every run (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const SOURCES: [&str; 6] = [
    "datasource_list: [ ConfigDrive, NoCloud ]\n",
    "datasource_list:\n  - 'NoCloud'\n  - ConfigDrive\n  - None\n",
    "datasource_list: [\"Ec2\",\n  # c\n  None]\n",
    "\"datasource_list\" : [OpenStack]\n",
    "datasource_list:\n- ConfigDrive\n",
    "other: {datasource_list: [Bad]}\n",
];
const USERS: [&str; 6] = [
    "users: [default]\n",
    "users:\n  - default\n  - name: eve\n    groups: [a]\n",
    "users:\n - {gecos: X, name: bob}\n - default\n",
    "users: \"eve, default\"\n",
    "users: [eve]\n",
    "disable_root: false\n",
];
const SYSTEM: [&str; 5] = [
    "system_info:\n  default_user:\n    name: debian\n",
    "system_info:\n  default_user: {name: 'x y', shell: /bin/sh}\n",
    "system_info:\n  distro: debian\n  network:\n    renderers: [eni, netplan]\n",
    "system_info: {default_user: {shell: /bin/bash}, network: {renderers: ['networkd']}}\n",
    "disable_root: 1\n",
];
const MORE: [&str; 6] = [
    "cloud_init_modules:\n - growpart\n - [resizefs, always]\n - ssh\n",
    "cloud_init_modules: [ssh]\ndisable_root: off\n",
    "text: |\n  datasource_list: [Bad]\n",
    "a: &a [1]\nb: *a\n",
    "---\n# nothing\n",
    "x: \"\ty\" # \tz\n",
];
/// Files that are passed over as a whole.
const BROKEN: [&str; 10] = [
    "datasource_list: [ Bad\n",
    "users: [bad]\na: b: c\n",
    "- users\n- bad\n",
    "just text\n",
    "\tusers: [bad]\n",
    "users:\t[bad]\n",
    "users: [bad]\n---\na: 1\n",
    "users: !thing [bad]\n",
    "users: [bad]\n? [a]\n: b\n",
    "users: [bad]\na: *nowhere\n",
];

fn configuration(dice: &mut Dice) -> String {
    if dice.roll(8) == 0 {
        return dice.pick(&BROKEN).to_owned();
    }
    let mut parts = Vec::new();
    for (from, often) in [(&SOURCES[..], 3), (&USERS, 2), (&SYSTEM, 2), (&MORE, 2)] {
        if dice.roll(4) < often {
            parts.push(dice.pick(from));
        }
    }
    // A document has to begin with its marker.
    parts.sort_by_key(|part| !part.starts_with("---"));
    parts.concat()
}

fn guest(dice: &mut Dice) -> Guest {
    let guest = Guest::debian();
    guest.remove("etc/cloud/cloud.cfg.d/90_dpkg.cfg");
    guest.file("etc/cloud/cloud.cfg", configuration(dice));
    for name in [
        "05_a.cfg",
        "90_dpkg.cfg",
        "99.cfg",
        "Z.cfg",
        "a.cfg",
        "b.yaml",
        "é.cfg",
    ] {
        if dice.roll(3) == 0 {
            guest.file(
                &format!("etc/cloud/cloud.cfg.d/{name}"),
                configuration(dice),
            );
        }
    }
    guest
}

/// What the report shows, as the reader above puts it.
fn shown(guest: &Guest) -> Value {
    let cloud = guest.report().facts.cloud_init;
    let list = cloud.datasource_list.filter(|_| !cloud.datasource_built_in);
    json!({
        "sources": list.map(|list| list.value),
        "users": cloud.users.users.map(|users| users.value),
        "modules": cloud.growth.modules.map(|modules| modules.value),
        "renderers": cloud.renderers.wanted.map(|renderers| renderers.value),
        "name": cloud.default_user.map(|name| name.value),
        "shell": cloud.users.shell.map(|shell| shell.value),
        "root": cloud.users.disable_root.map(|root| root.value),
    })
}

#[test]
fn the_report_shows_what_cloud_init_reads() {
    if !available() {
        return;
    }
    let mut dice = Dice(1);
    let guests: Vec<Guest> = (0..CASES).map(|_| guest(&mut dice)).collect();
    let output = Command::new(python())
        .args(["-c", READER])
        .args(guests.iter().map(Guest::path))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(theirs.len(), CASES);
    for (guest, theirs) in guests.iter().zip(theirs) {
        let configuration = Command::new("grep")
            .args(["-r", ""])
            .arg(guest.path().join("etc/cloud"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&configuration.stdout).into_owned();
        assert_eq!(shown(guest), theirs, "{text}");
    }
}
