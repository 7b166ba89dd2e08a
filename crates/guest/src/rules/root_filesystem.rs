//! `root-filesystem`: the root filesystem is ext3 or ext4, and in order.

use super::{Judgement, Rule, remedy};
use crate::facts::{Facts, Fault, Root};
use crate::report::{Context, Message, Remedy, RuleId};

pub(super) struct RootFilesystem;

impl Rule for RootFilesystem {
    fn id(&self) -> RuleId {
        RuleId::RootFilesystem
    }

    fn judge(&self, facts: &Facts, _: &Context) -> Judgement {
        if facts.container.format.is_none() {
            return Judgement::unknown(Message::new("not-checked-no-image"));
        }
        let fault = facts
            .faults
            .iter()
            .find(|fault| fault.code.starts_with("filesystem-"));
        let Some(root) = &facts.root else {
            let table = facts.partition_table.as_ref();
            let known = table.is_some_and(|table| {
                let mut partitions = table.partitions.iter();
                partitions.any(|partition| partition.filesystem.is_some())
            });
            let judgement = match known {
                true => Judgement::unknown(Message::new("not-checked-no-system")),
                false => Judgement::not_met(Message::new("root-filesystem-none")),
            };
            return judgement.seen(facts.faults.iter().map(|fault| fault.evidence.clone()));
        };
        let about = |id: &str| about(root, id);
        match (root.filesystem.as_str(), fault) {
            ("ext2", _) => Judgement::not_met(about("root-filesystem-ext2"))
                .seen(root.evidence.clone())
                .cure([remedy::guest(
                    "root-filesystem-remedy-journal",
                    [
                        "tune2fs -j \"$(findmnt -no SOURCE /)\"",
                        "sed -i 's/\\bext2\\b/ext3/' /etc/fstab",
                    ],
                )]),
            ("ext3" | "ext4", None) => {
                Judgement::met(about("root-filesystem-good")).seen(root.evidence.clone())
            }
            ("ext3" | "ext4", Some(fault)) => damaged(root, fault),
            (kind, _) => {
                Judgement::not_met(about("root-filesystem-other").with("class", class(kind)))
                    .seen(root.evidence.clone())
                    .cure([rebuild()])
            }
        }
    }
}

/// A sentence about the root that says where it lies: `root-filesystem-place` has the words.
fn about(root: &Root, id: &str) -> Message {
    let message = Message::new(id)
        .with("kind", &root.filesystem)
        .with("partition", root.partition.to_string());
    match (&root.volume, root.partition) {
        (Some(volume), _) => message
            .with("where", "volume")
            .with("group", &volume.group)
            .with("volume", &volume.name),
        (None, 0) => message.with("where", "disk"),
        (None, _) => message.with("where", "partition"),
    }
}

/// How a kind is spoken of: as a filesystem, or as something around one.
fn class(kind: &str) -> &'static str {
    match kind {
        "lvm" => "lvm",
        "luks" | "bitlocker" => "encrypted",
        "mdraid" => "raid",
        _ => "filesystem",
    }
}

fn damaged(root: &Root, fault: &Fault) -> Judgement {
    let id = match fault.code.as_str() {
        "filesystem-truncated" => "root-filesystem-truncated",
        "filesystem-dirty" => "root-filesystem-dirty",
        "filesystem-unsupported" => "root-filesystem-unsupported",
        _ => "root-filesystem-corrupt",
    };
    let message = about(root, id).with("detail", &fault.detail);
    let device = match (&root.volume, root.partition) {
        (Some(volume), _) => format!("/dev/{volume}"),
        (None, 0) => "/dev/sda".to_owned(),
        (None, number) => format!("/dev/sda{number}"),
    };
    let check = format!("guestfish --rw -a IMAGE run : e2fsck {device} forceall:true");
    let cure = match fault.code.as_str() {
        "filesystem-truncated" => {
            remedy::host("root-filesystem-remedy-truncated", ["qemu-img check IMAGE"])
        }
        "filesystem-unsupported" => rebuild(),
        _ => remedy::host("root-filesystem-remedy-check", [check]),
    };
    Judgement::not_met(message)
        .seen([fault.evidence.clone()])
        .cure([cure])
}

fn rebuild() -> Remedy {
    remedy::host(
        "root-filesystem-remedy-rebuild",
        [
            "virt-tar-out -a IMAGE / root.tar",
            "virt-make-fs --type=ext4 --partition=gpt --format=qcow2 --size=+1G root.tar NEW.qcow2",
        ],
    )
}
