//! What a boot left on the disk of a machine: whether cloud-init ran and where it got its data, and who
//! can log in with the machine's key.
//!
//! cloud-init notes how far it is in `/var/lib/cloud/data/status.json`, which it writes anew on each
//! boot, and what came of it in `result.json` (`status_wrapper` in cloudinit/cmd/main.py). An image may
//! hold both from a boot of its maker, so they count only if the image had other ones.
//!
//! The guest wrote all of this and may have written anything.

use std::sync::Arc;

use abbild_disk::Disk;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::facts::{Evidence, Fact, Origin};
use crate::fs::{Text, Tree};
use crate::inspect::root_of;
use crate::text::clean;

const STATUS: &str = "/var/lib/cloud/data/status.json";
const RESULT: &str = "/var/lib/cloud/data/result.json";
/// Largest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Accounts whose keys are looked at.
const MAX_ACCOUNTS: usize = 64;
/// Errors of cloud-init that are kept.
const MAX_ERRORS: usize = 8;

/// What a boot left on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// Where one sees that cloud-init ran in this boot.
    pub cloud_init: Option<Evidence>,
    /// Where one sees that it came to its end.
    pub finished: Option<Evidence>,
    /// Where it got its data, in its own words: `DataSourceConfigDrive [net,ver=2][source=/dev/vdb]`.
    pub datasource: Option<Fact<String>>,
    /// What it says went wrong.
    #[serde(default)]
    pub errors: Vec<Evidence>,
    /// The account that has the machine's key, or else the default user if there is that account.
    pub user: Option<Fact<String>>,
    /// The line with the key.
    pub key: Option<Evidence>,
    /// Whether the root filesystem grew; absent if it had nowhere to grow to, or this cannot be told.
    #[serde(default)]
    pub growth: Option<RootGrowth>,
}

/// What became of the root filesystem on a disk that was larger than the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootGrowth {
    /// Its size in the image, in bytes.
    pub before: u64,
    /// Its size after the boot.
    pub after: u64,
    /// Its superblock.
    pub evidence: Evidence,
}

/// What the boot of a machine left on `disk`, which was made from `image`. The machine was given the
/// public key `key`, as one line of OpenSSH; `default_user` is who should have got it.
///
/// `None` if no system can be read on the disk.
pub fn traces<D: Disk + 'static, I: Disk + 'static>(
    disk: &Arc<D>,
    image: &Arc<I>,
    default_user: Option<&str>,
    key: &str,
) -> Option<Traces> {
    let root = root_of(disk)?;
    let before = root_of(image);
    let mut traces = cloud_init(&root.tree, before.as_ref().map(|root| &root.tree));
    (traces.user, traces.key) = account(&root.tree, default_user, key);
    let room = disk.virtual_size() > image.virtual_size();
    let sizes = before.and_then(|root| root.size).zip(root.size);
    traces.growth = sizes
        .filter(|_| room)
        .map(|((before, _), (after, place))| RootGrowth {
            before,
            after,
            evidence: seen(place),
        });
    Some(traces)
}

/// Something in a file of the disk after the boot.
fn seen(evidence: Evidence) -> Evidence {
    Evidence {
        from: Some(Origin::BootedDisk),
        ..evidence
    }
}

fn cloud_init(tree: &Tree, before: Option<&Tree>) -> Traces {
    let mut traces = Traces::default();
    let Some(status) = tree.read(STATUS, MAX_FILE) else {
        return traces;
    };
    let stale = before.and_then(|tree| tree.read(STATUS, MAX_FILE));
    if stale.is_some_and(|stale| stale.text == status.text) {
        return traces;
    }
    let place = seen(Evidence::path(clean(&status.path)));
    traces.cloud_init = Some(place.clone());
    read_data(&mut traces, &status, &place);
    if let Some(result) = tree.read(RESULT, MAX_FILE) {
        let place = seen(Evidence::path(clean(&result.path)));
        traces.finished = Some(place.clone());
        traces.errors.clear();
        read_data(&mut traces, &result, &place);
    }
    traces
}

/// The data source and the errors in one of cloud-init's two files: in `result.json` the errors stand
/// beside the data source, in `status.json` in each stage.
fn read_data(traces: &mut Traces, file: &Text, place: &Evidence) {
    let json: Value = serde_json::from_str(&file.text).unwrap_or_default();
    let Some(data) = json.get("v1").and_then(Value::as_object) else {
        return;
    };
    if let Some(source) = data.get("datasource").and_then(Value::as_str) {
        let source = clean(source);
        traces.datasource = Some(Fact::new(source.clone(), place.clone().saying(source)));
    }
    let stages = data.values().filter_map(|stage| stage.get("errors"));
    let errors = data.get("errors").into_iter().chain(stages);
    let errors = errors.filter_map(Value::as_array).flatten();
    let texts = errors.map(|error| match error.as_str() {
        Some(text) => clean(text),
        None => clean(error.to_string()),
    });
    traces
        .errors
        .extend(texts.map(|text| place.clone().saying(text)));
    traces.errors.truncate(MAX_ERRORS);
}

/// One line of passwd(5).
struct Account {
    name: String,
    home: String,
    place: Evidence,
}

/// The account with the key and the line with it; or the default user, if there is that account.
fn account(
    tree: &Tree,
    default_user: Option<&str>,
    key: &str,
) -> (Option<Fact<String>>, Option<Evidence>) {
    let Some(passwd) = tree.read("/etc/passwd", MAX_FILE) else {
        return (None, None);
    };
    let mut accounts: Vec<Account> = passwd
        .lines()
        .filter_map(|(number, line)| entry(&passwd, number, line))
        .collect();
    // The one that should have it first, and root, who may have it with a refusal, last.
    accounts.sort_by_key(|account| match account.name.as_str() {
        name if Some(name) == default_user => 0,
        "root" => 2,
        _ => 1,
    });
    for account in accounts.iter().take(MAX_ACCOUNTS) {
        if let Some(line) = key_line(tree, &account.home, key) {
            let user = Fact::new(account.name.clone(), account.place.clone());
            return (Some(user), Some(line));
        }
    }
    let default = accounts
        .first()
        .filter(|account| Some(account.name.as_str()) == default_user);
    let user = default.map(|account| Fact::new(account.name.clone(), account.place.clone()));
    (user, None)
}

fn entry(passwd: &Text, number: u32, line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let home = fields.nth(4).filter(|home| home.starts_with('/'))?;
    let shell = fields.next().unwrap_or_default();
    // Accounts of services have homes that do not exist, and there are many of them.
    let refuses = shell.ends_with("/nologin") || shell.ends_with("/false");
    (!refuses).then(|| Account {
        name: clean(name),
        home: home.trim_end_matches('/').to_owned(),
        place: seen(passwd.evidence(number, line)),
    })
}

/// The line of authorized_keys (sshd(8)) that lets the owner of `key` in: one that forces a command, as
/// cloud-init writes it for root, does not.
fn key_line(tree: &Tree, home: &str, key: &str) -> Option<Evidence> {
    let blob = key.split_whitespace().nth(1)?;
    let file = tree.read(&format!("{home}/.ssh/authorized_keys"), MAX_FILE)?;
    let (number, line) = file.lines().find(|(_, line)| {
        let line = line.trim_start();
        !line.starts_with('#') && !line.contains("command=") && line.contains(blob)
    })?;
    Some(seen(file.evidence(number, line)))
}
