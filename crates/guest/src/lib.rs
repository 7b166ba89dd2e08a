//! What is inside a cloud image, and whether it meets the requirements.
//!
//! Facts ([`Facts`]) say what was found and where; rules turn facts into a [`Report`] of
//! findings with evidence and remedies, in German or English.
//!
//! No I/O of its own and no `unsafe`: bytes come from an [`abbild_disk::Disk`], so the same code
//! runs in a service, a command-line tool and a browser. Images are hostile: nothing outside the
//! image is ever opened, memory and time are bounded, and every string of the guest is made
//! printable before it becomes a fact.

mod boot_probe;
mod catalogue;
mod check;
mod cloud_facts;
mod disk_facts;
mod facts;
mod fs;
mod inspect;
mod messages;
mod probe;
mod report;
mod rule_id;
mod rules;
mod text;
mod yaml;

use std::sync::Arc;

use abbild_disk::Disk;

pub use boot_probe::{BootRecord, End, Milestone, RootGrowth, Step, Traces, traces};
pub use catalogue::{Cure, Entry, catalogue};
pub use check::{Checked, check};
pub use facts::{
    Agent, Boot, BootEntry, BootFile, CloudInit, CloudUsers, Container, Content, Device, Drivers,
    Enablement, Evidence, Fact, Facts, Fault, Filesystem, FstabLine, FstabSource, Growth, Identity,
    Init, LogicalVolume, Mount, Origin, Os, Partition, PartitionTable, Pinned, Reason, Renderers,
    Root, RootArgument, Sshd, System, VolumeName,
};
pub use messages::{Lang, UnknownLang, render};
pub use report::{
    Basis, Context, Finding, Limits, Message, Outcome, Place, Remedy, Report, RuleId, Severities,
    Severity, UnknownRule, Verdict,
};
pub use text::clean;

/// Inspects a disk and judges it.
///
/// The disk is shared and not borrowed, because the filesystem reader wants to own its source.
/// This never fails: what cannot be read becomes facts and findings.
pub fn inspect<D: Disk + 'static>(disk: &Arc<D>, context: &Context) -> Report {
    let facts = inspect::gather(disk, context);
    let findings = rules::check(&facts, context);
    Report {
        verdict: Verdict::over(&findings),
        findings,
        facts,
    }
}

/// The report on an image that could not be opened: `image-format` or `virtual-size` fails with
/// the error's reason, and the rest is unknown.
pub fn report_unreadable(error: &abbild_disk::Error, context: &Context) -> Report {
    let facts = Facts {
        container: context.container.clone(),
        ..Facts::default()
    };
    rules::report_refused(error, facts, context)
}
