//! Small guests: a directory of files, made into an ext filesystem on a disk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use abbild_guest::{Context, Finding, Lang, Outcome, Report, RuleId, inspect};
use tempfile::TempDir;

pub use crate::disk::START;
use crate::disk::{Disk, Part};

const SIZE: usize = 8 << 20;

/// A guest in the making.
pub struct Guest {
    directory: TempDir,
}

impl Guest {
    /// Nothing at all.
    pub fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// What matters of Debian 12's systemd, cloud-init 22.4.2-1+deb12u3 and openssh-server
    /// 1:9.2p1-2+deb12u7, all of it in order.
    pub fn debian() -> Self {
        let guest = Self::empty();
        for (link, target) in [
            ("bin", "usr/bin"),
            ("sbin", "usr/sbin"),
            ("lib", "usr/lib"),
            ("etc/os-release", "../usr/lib/os-release"),
            ("usr/sbin/init", "../lib/systemd/systemd"),
        ] {
            guest.link(link, target);
        }
        guest
            .file("usr/lib/os-release", OS_RELEASE)
            .file("usr/lib/systemd/systemd", ELF_X86_64)
            .file("etc/fstab", "LABEL=root / ext4 defaults 0 1\n")
            .file("boot/vmlinuz-6.1.0-40-cloud-amd64", "")
            .file("boot/grub/grub.cfg", GRUB)
            .file("usr/bin/cloud-init", "#!/usr/bin/python3\n")
            .file(
                VERSION_PY,
                "__VERSION__ = \"22.4.2\"\n_PACKAGED_VERSION = \"@@PACKAGED_VERSION@@\"\n",
            )
            .file(
                "usr/lib/systemd/system-generators/cloud-init-generator",
                "#!/bin/sh\n",
            )
            .file("etc/cloud/cloud.cfg", CLOUD_CFG)
            .file(
                "etc/cloud/cloud.cfg.d/90_dpkg.cfg",
                "# to update this file, run dpkg-reconfigure cloud-init\n\
                 datasource_list: [ ConfigDrive, NoCloud, None ]\n",
            )
            .file("usr/bin/growpart", "#!/bin/sh\n")
            .file("usr/sbin/resize2fs", ELF_X86_64)
            .file("usr/sbin/netplan", "#!/usr/bin/python3\n")
            .file("usr/sbin/sshd", ELF_X86_64)
            .file(
                "etc/ssh/sshd_config",
                "#Port 22\nPermitRootLogin prohibit-password\n",
            );
        for unit in ["cloud-init", "cloud-init-local"] {
            guest.enable(&format!("{unit}.service"), "cloud-init.target");
        }
        guest.enable("ssh.service", "multi-user.target");
        guest
    }

    /// The directory that holds its files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file.
    pub fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        let path = self.at(path);
        fs::write(path, contents).unwrap();
        self
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.at(path)).unwrap();
        self
    }

    /// Writes a file whose path is not UTF-8.
    pub fn file_named(&self, path: &[u8], contents: &str) -> &Self {
        fs::write(
            self.directory.path().join(OsStr::from_bytes(path)),
            contents,
        )
        .unwrap();
        self
    }

    /// Writes a file that is one hole.
    pub fn sparse(&self, path: &str, len: u64) -> &Self {
        let file = fs::File::create(self.at(path)).unwrap();
        file.set_len(len).unwrap();
        self
    }

    /// Makes a named pipe.
    pub fn pipe(&self, path: &str) -> &Self {
        let made = Command::new("mkfifo").arg(self.at(path)).status().unwrap();
        assert!(made.success());
        self
    }

    /// Removes a file, a link, or a directory with all that is in it.
    pub fn remove(&self, path: &str) -> &Self {
        let path = self.directory.path().join(path);
        if path.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        self
    }

    /// Installs a unit and has `target` want it.
    pub fn enable(&self, unit: &str, target: &str) -> &Self {
        self.file(&format!("usr/lib/systemd/system/{unit}"), "[Unit]\n");
        self.link(
            &format!("etc/systemd/system/{target}.wants/{unit}"),
            &format!("/lib/systemd/system/{unit}"),
        )
    }

    /// Moves the directory `path` into a guest of its own, and leaves an empty one.
    pub fn split(&self, path: &str) -> Self {
        let part = Self::empty();
        let from = self.directory.path().join(path);
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), part.directory.path().join(entry.file_name())).unwrap();
        }
        part
    }

    /// Moves all files of `other` into the directory `path`.
    pub fn adopt(&self, path: &str, other: Self) -> &Self {
        let to = self.at(path);
        fs::rename(other.directory.keep(), to).unwrap();
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// A disk with one ext4 partition that holds the files.
    pub fn disk(&self) -> Vec<u8> {
        self.disk_as(&["-t", "ext4"])
    }

    /// The same with other options for mke2fs.
    pub fn disk_as(&self, options: &[&str]) -> Vec<u8> {
        Disk::mbr([Part::new(self.filesystem(options))]).bytes()
    }

    /// The same disk and filesystem, both `more` bytes larger.
    pub fn grown_disk(&self, more: usize) -> Vec<u8> {
        let filesystem = filesystem_of_size(self.directory.path(), &["-t", "ext4"], SIZE + more);
        Disk::mbr([Part::new(filesystem)]).bytes()
    }

    /// The filesystem alone.
    pub fn filesystem(&self, options: &[&str]) -> Vec<u8> {
        filesystem_of(self.directory.path(), options)
    }

    /// The report on [`Guest::disk`].
    pub fn report(&self) -> Report {
        report(self.disk())
    }
}

/// An ext filesystem of the files in `directory`.
fn filesystem_of(directory: &Path, options: &[&str]) -> Vec<u8> {
    filesystem_of_size(directory, options, SIZE)
}

fn filesystem_of_size(directory: &Path, options: &[&str], size: usize) -> Vec<u8> {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(size as u64).unwrap();
    let made = Command::new("/sbin/mke2fs")
        .args(["-q", "-F", "-L", "root"])
        .args(options)
        .arg("-d")
        .arg(directory)
        .arg(image.path())
        .arg(format!("{}k", size / 1024))
        .output()
        .expect("mke2fs is in the package e2fsprogs");
    assert!(made.status.success(), "{made:?}");
    fs::read(image.path()).unwrap()
}

/// The disk after debugfs has carried out `commands` on its filesystem.
pub fn edited(disk: Vec<u8>, commands: &[&str]) -> Vec<u8> {
    let (disk, output) = debugfs(disk, true, &commands.join("\n"));
    assert!(!output.contains("not found"), "{output}");
    disk
}

/// The number of the inode under `path`.
pub fn stat_inode(disk: &[u8], path: &str) -> u32 {
    let (_, output) = debugfs(disk.to_vec(), false, &format!("stat {path}"));
    let (_, rest) = output
        .split_once("Inode: ")
        .expect("debugfs knows the path");
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

fn debugfs(disk: Vec<u8>, write: bool, commands: &str) -> (Vec<u8>, String) {
    let image = tempfile::NamedTempFile::new().unwrap();
    fs::write(image.path(), disk).unwrap();
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), commands).unwrap();
    let output = Command::new("/sbin/debugfs")
        .args(write.then_some("-w"))
        .arg("-f")
        .arg(script.path())
        .arg(format!("{}?offset={START}", image.path().display()))
        .output()
        .expect("debugfs is in the package e2fsprogs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (fs::read(image.path()).unwrap(), text)
}

/// The report on a raw disk.
pub fn report(disk: Vec<u8>) -> Report {
    let disk = abbild_disk::open(disk).unwrap();
    let report = inspect(&Arc::new(disk), &Context::default());
    assert_rendered(&report);
    report
}

/// Every sentence exists in both languages and has all its arguments.
pub fn assert_rendered(report: &Report) {
    for lang in [Lang::De, Lang::En] {
        for finding in &report.findings {
            let mut texts = vec![finding.title(lang), finding.text(lang), finding.why(lang)];
            texts.extend(finding.remedies.iter().map(|remedy| remedy.text(lang)));
            for text in texts {
                assert!(!text.contains("{$") && !text.is_empty(), "{lang}: {text}");
                let raw = text == finding.message.id;
                assert!(!raw, "{lang}: no sentence for {text}");
            }
        }
    }
    let json = serde_json::to_string(report).unwrap();
    assert_eq!(*report, serde_json::from_str(&json).unwrap());
}

/// The finding on `rule`.
pub fn finding(report: &Report, rule: RuleId) -> &Finding {
    report.finding(rule).unwrap()
}

/// Outcome and English sentence of the finding on `rule`.
pub fn says(report: &Report, rule: RuleId) -> (Outcome, String) {
    let finding = finding(report, rule);
    (finding.outcome, finding.text(Lang::En))
}

/// Path and line of the first evidence of the finding on `rule`.
pub fn place(report: &Report, rule: RuleId) -> (String, Option<u32>) {
    let evidence = &finding(report, rule).evidence[0];
    (evidence.path.clone().unwrap(), evidence.line)
}

/// All commands that the finding on `rule` offers.
pub fn commands(report: &Report, rule: RuleId) -> Vec<String> {
    let remedies = &finding(report, rule).remedies;
    remedies
        .iter()
        .flat_map(|remedy| remedy.commands.clone())
        .collect()
}

pub const VERSION_PY: &str = "usr/lib/python3/dist-packages/cloudinit/version.py";

const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n\
    NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n";

const GRUB: &str = "set default=\"0\"\nmenuentry 'Debian GNU/Linux' {\n\
    \tlinux\t/boot/vmlinuz-6.1.0-40-cloud-amd64 root=LABEL=root ro console=ttyS0,115200\n}\n";

const CLOUD_CFG: &str = "users:\n - default\ncloud_init_modules:\n - growpart\n - resizefs\n - users-groups\n - ssh\n\
    system_info:\n  distro: debian\n  default_user:\n    name: debian\n";

/// The ELF header of a 64-bit little-endian program for x86-64, and nothing after it.
pub const ELF_X86_64: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0";
