//! What the worst guests may cost: 64 MiB of memory and 2 s, five times that without optimisation.
//!
//! Each is inspected by a process of its own, which is this test binary again: only so can the
//! memory of one inspection be told from that of others.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use abbild_disk::FileSource;
use abbild_guest::{Context, Lang, inspect};
use serde_json::Value;

use crate::tree::{Guest, START, edited, stat_inode};

const IMAGE: &str = "ABBILD_TEST_IMAGE";
const MEMORY: u64 = 64 << 20;
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });

/// The report on `disk` as JSON, after it has been made sure that it did not cost too much and
/// sends nothing to a terminal.
fn bounded(disk: &[u8]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), disk).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "bounds::inspection_in_a_process"])
        .args(["--ignored", "--nocapture"])
        .env(IMAGE, file.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let (_, line) = text.split_once("COST ").unwrap();
    let cost: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let time = Duration::from_millis(cost["milliseconds"].as_u64().unwrap());
    let memory = cost["memory"].as_u64().unwrap();
    eprintln!("{time:?}, {} KiB", memory >> 10);
    assert!(time < TIME, "{time:?}");
    assert!(memory < MEMORY, "{} KiB", memory >> 10);
    let report = cost["report"].clone();
    assert_printable(&report);
    report
}

/// No control character is in any string.
fn assert_printable(value: &Value) {
    match value {
        Value::String(text) => assert!(!text.contains(char::is_control), "{text:?}"),
        Value::Array(items) => items.iter().for_each(assert_printable),
        Value::Object(fields) => fields.values().for_each(assert_printable),
        _ => {}
    }
}

#[test]
#[ignore = "run by the tests beside it"]
fn inspection_in_a_process() {
    let path = env::var_os(IMAGE).unwrap();
    let before = memory("VmRSS:");
    let start = Instant::now();
    let disk = abbild_disk::open(FileSource::open(path.as_ref()).unwrap()).unwrap();
    let report = inspect(&std::sync::Arc::new(disk), &Context::default());
    let cost = serde_json::json!({
        "milliseconds": u64::try_from(start.elapsed().as_millis()).unwrap(),
        "memory": memory("VmHWM:").saturating_sub(before),
        "report": report.to_json(Lang::De),
    });
    println!("COST {cost}");
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kibibytes << 10
}

fn faults(report: &Value) -> Vec<&str> {
    let faults = report["facts"]["faults"].as_array().unwrap();
    faults
        .iter()
        .map(|fault| fault["code"].as_str().unwrap())
        .collect()
}

fn outcome<'a>(report: &'a Value, rule: &str) -> &'a str {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["rule"] == rule);
    finding.unwrap()["outcome"].as_str().unwrap()
}

/// Directory blocks of 1 KiB with `count` entries that all lead to `inode`.
fn directory_of(count: u32, inode: u32) -> Vec<u8> {
    const BLOCK: usize = 1024;
    const ENTRY: usize = 20;
    const PER_BLOCK: usize = BLOCK / ENTRY;
    let mut blocks = Vec::new();
    for index in 0..count {
        let place = index as usize % PER_BLOCK;
        let last = place == PER_BLOCK - 1 || index == count - 1;
        let length = if last { BLOCK - place * ENTRY } else { ENTRY };
        let name = format!("{index:06}.cfg");
        let start = blocks.len();
        blocks.extend(inode.to_le_bytes());
        blocks.extend(u16::try_from(length).unwrap().to_le_bytes());
        blocks.extend([u8::try_from(name.len()).unwrap(), 1]);
        blocks.extend(name.as_bytes());
        blocks.resize(start + length, 0);
    }
    blocks
}

#[test]
fn a_hundred_thousand_files_in_cloud_cfg_d() {
    const OPTIONS: [&str; 6] = [
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^dir_index",
    ];
    const PLACE: &str = "etc/cloud/cloud.cfg.d";
    let guest = Guest::debian();
    // Written as a file, because linking so many names takes mke2fs minutes.
    guest.remove(PLACE);
    guest.file("etc/cloud/one.cfg", "datasource_list: [ NoCloud ]\n");
    guest.file(PLACE, directory_of(100_000, 12));
    let inode = stat_inode(&guest.disk_as(&OPTIONS), "/etc/cloud/one.cfg");
    guest.file(PLACE, directory_of(100_000, inode));
    let disk = edited(
        guest.disk_as(&OPTIONS),
        &["set_inode_field /etc/cloud/cloud.cfg.d mode 040755"],
    );
    let report = bounded(&disk);
    assert!(
        faults(&report).contains(&"directory-too-large"),
        "{report:#}"
    );
    // The files that were read count.
    let list = &report["facts"]["cloud_init"]["datasource_list"]["value"];
    assert_eq!(list[0], "NoCloud", "{:#}", report["facts"]);
}

#[test]
fn files_that_claim_to_be_large() {
    let guest = Guest::debian();
    guest
        .sparse("usr/lib/os-release", 500 << 20)
        .sparse("etc/cloud/cloud.cfg", 500 << 20)
        .sparse("etc/ssh/sshd_config", 1 << 40)
        .sparse("boot/grub/grub.cfg", 500 << 20);
    let report = bounded(&guest.disk());
    assert!(faults(&report).contains(&"file-too-large"), "{report:#}");
    assert_eq!(outcome(&report, "operating-system"), "failure");
}

#[test]
fn package_databases_without_end() {
    let guest = Guest::debian();
    // Nothing but the databases can say the versions.
    guest
        .file(crate::tree::VERSION_PY, "")
        .file("usr/bin/ignition", "")
        .sparse("var/lib/dpkg/status", 32 << 20)
        .sparse("lib/apk/db/installed", 32 << 20);
    let report = bounded(&guest.disk());
    assert_eq!(outcome(&report, "cloud-init"), "unknown");
}

#[test]
fn yaml_that_unfolds() {
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..2000 {
        let before = i - 1;
        laughs += &format!("a{i}: &a{i} [*a{before},*a{before},*a{before},*a{before}]\n");
    }
    laughs += "datasource_list: *a1999\nusers: *a1\n";
    let guest = Guest::debian();
    guest
        .file("etc/cloud/cloud.cfg.d/91_laughs.cfg", laughs)
        .file("etc/cloud/cloud.cfg.d/92_deep.cfg", "[".repeat(250_000))
        .file("etc/cloud/cloud.cfg.d/93_flow.cfg", "{a: ".repeat(60_000))
        .file("etc/cloud/cloud.cfg.d/94_keys.cfg", "? ".repeat(125_000))
        .file("etc/cloud/cloud.cfg.d/95_anchors.cfg", "&a ".repeat(80_000))
        .file("etc/cloud/cloud.cfg.d/96_quote.cfg", "\"\\".repeat(125_000))
        .file(
            "etc/cloud/cloud.cfg.d/97_key.cfg",
            format!("{}: 1\n", "k".repeat(250_000)),
        )
        .file(
            "etc/cloud/cloud.cfg.d/98_items.cfg",
            format!("datasource_list: [{}]\n", "NoCloud, ".repeat(20_000)),
        );
    guest.file(
        "etc/cloud/cloud.cfg.d/99_tabs.cfg",
        format!("users: [{} \"\t\"]\n", "eve, ".repeat(20_000)),
    );
    let report = bounded(&guest.disk());
    assert_eq!(outcome(&report, "cloud-config"), "warning", "{report:#}");
}

#[test]
fn devices_and_pipes_where_files_belong() {
    let guest = Guest::debian();
    guest
        .pipe("etc/cloud/cloud.cfg.d/95_pipe.cfg")
        .remove("etc/ssh/sshd_config")
        .pipe("etc/ssh/sshd_config")
        .pipe("var/lib/dpkg/status");
    let disk = edited(
        guest.disk(),
        &[
            "set_inode_field /usr/lib/os-release mode 020644",
            "set_inode_field /etc/cloud/cloud.cfg mode 060644",
            "set_inode_field /usr/sbin/sshd mode 0140755",
        ],
    );
    let report = bounded(&disk);
    assert_eq!(outcome(&report, "operating-system"), "failure");
    assert_eq!(outcome(&report, "sshd"), "warning");
    // The drop-in beside the pipe is read all the same.
    assert_eq!(outcome(&report, "datasource-order"), "pass");
}

#[test]
fn names_and_contents_that_are_no_text() {
    let guest = Guest::debian();
    guest
        .file(
            "etc/cloud/cloud.cfg.d/95_\x1b[31mred\u{202e}.cfg",
            b"datasource_list: [ \"Conf\\e]0;owned\\aig\", \xff\xfe ]\nusers: [\"\\e[2J\"]\n"
                .as_slice(),
        )
        .file_named(
            b"etc/cloud/cloud.cfg.d/96_\xff\xfe.cfg",
            "datasource_list: []\n",
        )
        .file(
            "usr/lib/os-release",
            b"ID=debian\nPRETTY_NAME=\"\x1b]0;\xc3\x28\x07\"\n".as_slice(),
        )
        .link("boot/vmlinuz-\x1b[1m", "vmlinuz-6.1.0-40-cloud-amd64");
    let report = bounded(&guest.disk());
    let list = report["facts"]["cloud_init"]["datasource_list"].to_string();
    assert!(list.contains("\\\\u{1b}]0;owned"), "{list}");
    assert_eq!(outcome(&report, "datasource-order"), "warning");
}

/// Bytes of the filesystem's metadata and data overwritten at random, the same in every run.
#[test]
fn damaged_filesystems() {
    let disk = Guest::debian().disk_as(&["-t", "ext4", "-O", "^metadata_csum"]);
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as usize >> 8
    };
    for _ in 0..24 {
        let mut disk = disk.clone();
        for _ in 0..200 {
            let place = START + 2048 + random() % (1 << 20);
            disk[place] = u8::try_from(random() % 256).unwrap();
        }
        let report = bounded(&disk);
        assert!(report["findings"].as_array().unwrap().len() >= 7);
    }
}
