//! What is inside a cloud image, and whether it meets the requirements.
//!
//! Facts ([`Facts`]) say what was found and where; rules turn facts into a [`Report`] of seven
//! findings with evidence and remedies, in German or English.
//!
//! No I/O of its own and no `unsafe`: bytes come from an [`abbild_disk::Disk`], so the same code
//! runs in a service, a command-line tool and a browser. Images are hostile: nothing outside the
//! image is ever opened, memory and time are bounded, and every string of the guest is made
//! printable before it becomes a fact.

mod facts;
mod messages;
mod report;
#[allow(dead_code)]
mod text;

pub use facts::{
    Boot, CloudInit, Container, Enablement, Evidence, Fact, Facts, Fault, Filesystem, Init, Mount,
    Os, Partition, PartitionTable, Root, Sshd,
};
pub use messages::{Lang, UnknownLang, render};
pub use report::{
    Context, Finding, Limits, Message, Outcome, Place, Remedy, Report, RuleId, Severities,
    Severity, UnknownRule, Verdict,
};
