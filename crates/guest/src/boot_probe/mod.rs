//! What a real boot of an image showed.
//!
//! Everything else in this crate is read from an image that rests. The boot probe of the service starts
//! it, and hands in a [`BootRecord`]: how far it came and when, and what the boot left on the disk
//! ([`traces`]). The rules then judge again where a boot can prove something ([`crate::Report::prove`]).
//! A record is kept apart from the report, so that a report which is made anew loses nothing.

mod traces;

use serde::{Deserialize, Serialize};

use crate::facts::Evidence;
use crate::messages::{Lang, render};
use crate::report::Message;
pub use traces::{RootGrowth, Traces, traces};

/// A place that a booting system passes, in the order in which it passes them; those at the end are
/// where one stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The machine's firmware runs.
    Firmware,
    /// A boot loader of the disk runs.
    BootLoader,
    /// The kernel runs.
    Kernel,
    /// The init of the system itself runs, not only that of an initramfs.
    Init,
    /// cloud-init, or a program that does its work, runs.
    CloudInit,
    /// Somebody could log in on the serial console.
    Login,
    /// cloud-init came to its end.
    CloudInitFinished,
    /// An SSH server answers on port 22.
    Sshd,
    /// The firmware found nothing to start.
    NoBootableDevice,
    /// The boot loader waits for somebody to type.
    BootLoaderStopped,
    /// The kernel gave up.
    KernelPanic,
    /// The initramfs did not find the root filesystem, and waits for somebody to type.
    InitramfsShell,
    /// The system did not come up, and waits for somebody to type.
    EmergencyMode,
}

impl Step {
    /// Those that a boot without trouble passes.
    pub const GOOD: [Self; 8] = [
        Self::Firmware,
        Self::BootLoader,
        Self::Kernel,
        Self::Init,
        Self::CloudInit,
        Self::Login,
        Self::CloudInitFinished,
        Self::Sshd,
    ];

    /// The kebab-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::BootLoader => "boot-loader",
            Self::Kernel => "kernel",
            Self::Init => "init",
            Self::CloudInit => "cloud-init",
            Self::Login => "login",
            Self::CloudInitFinished => "cloud-init-finished",
            Self::Sshd => "sshd",
            Self::NoBootableDevice => "no-bootable-device",
            Self::BootLoaderStopped => "boot-loader-stopped",
            Self::KernelPanic => "kernel-panic",
            Self::InitramfsShell => "initramfs-shell",
            Self::EmergencyMode => "emergency-mode",
        }
    }

    /// Whether the boot went no further than this.
    pub fn is_trouble(self) -> bool {
        !Self::GOOD.contains(&self)
    }

    /// The last good step that must have been passed when this one is seen.
    fn passed(self) -> Self {
        match self {
            Self::NoBootableDevice => Self::Firmware,
            Self::BootLoaderStopped => Self::BootLoader,
            Self::KernelPanic | Self::InitramfsShell => Self::Kernel,
            Self::EmergencyMode => Self::Init,
            good => good,
        }
    }

    /// What was seen, in `lang`.
    pub fn title(self, lang: Lang) -> String {
        render(lang, &Message::new(&format!("step-{}", self.as_str())))
    }
}

/// A step that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestone {
    /// Which.
    pub step: Step,
    /// Since power-on.
    pub milliseconds: u64,
    /// By what it was seen.
    pub evidence: Evidence,
}

/// Why the watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Everything was seen that there is to see.
    Complete,
    /// The boot stopped in one of the ways that [`Step::is_trouble`] names.
    Trouble,
    /// The machine switched itself off.
    PoweredOff,
    /// The time was over.
    TimeLimit,
}

impl End {
    /// The kebab-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Trouble => "trouble",
            Self::PoweredOff => "powered-off",
            Self::TimeLimit => "time-limit",
        }
    }

    /// One phrase in `lang`.
    pub fn text(self, lang: Lang) -> String {
        render(lang, &Message::new(&format!("end-{}", self.as_str())))
    }
}

/// What was seen of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// Why the watching ended; absent while it goes on.
    pub end: Option<End>,
    /// How long it was watched, in milliseconds since power-on.
    pub milliseconds: u64,
    /// What was seen, in the order in which it was.
    pub milestones: Vec<Milestone>,
    /// What it left on the disk; absent if the disk could not be read afterwards.
    pub traces: Option<Traces>,
}

impl BootRecord {
    /// The milestone of exactly `step`.
    pub fn milestone(&self, step: Step) -> Option<&Milestone> {
        self.milestones
            .iter()
            .find(|milestone| milestone.step == step)
    }

    /// The milestone at which the boot stopped.
    pub fn trouble(&self) -> Option<&Milestone> {
        self.milestones
            .iter()
            .find(|milestone| milestone.step.is_trouble())
    }

    /// Whether the system itself runs, which can then be asked to shut down.
    pub fn is_up(&self) -> bool {
        self.trouble().is_none() && self.reached(Step::Init).is_some()
    }

    /// What shows that a boot came as far as `step`, which may be something that comes later: the
    /// earliest such place, exactly `step` if it was seen.
    pub(crate) fn reached(&self, step: Step) -> Option<Evidence> {
        let mut seen: Vec<_> = self
            .milestones
            .iter()
            .filter(|milestone| milestone.step.passed() >= step)
            .collect();
        seen.sort_by_key(|milestone| (milestone.step.passed(), milestone.milliseconds));
        let on_disk = || {
            let traces = self.traces.as_ref()?;
            let written = traces.cloud_init.as_ref().or(traces.key.as_ref());
            written.filter(|_| step <= Step::CloudInit).cloned()
        };
        seen.first()
            .map(|milestone| milestone.evidence.clone())
            .or_else(on_disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_shows_what_came_before() {
        let seen = |step, milliseconds| Milestone {
            step,
            milliseconds,
            evidence: Evidence::text(step.as_str()),
        };
        let record = BootRecord {
            end: Some(End::Trouble),
            milliseconds: 9000,
            milestones: vec![seen(Step::Firmware, 10), seen(Step::InitramfsShell, 8000)],
            traces: None,
        };
        let text = |step| record.reached(step).and_then(|evidence| evidence.text);
        assert_eq!(text(Step::Firmware).as_deref(), Some("firmware"));
        assert_eq!(text(Step::BootLoader).as_deref(), Some("initramfs-shell"));
        assert_eq!(text(Step::Kernel).as_deref(), Some("initramfs-shell"));
        assert_eq!(text(Step::Init), None);
        assert_eq!(record.trouble().unwrap().step, Step::InitramfsShell);
    }

    #[test]
    fn every_step_and_end_has_words() {
        for lang in [Lang::De, Lang::En] {
            for step in Step::GOOD.into_iter().chain([
                Step::NoBootableDevice,
                Step::BootLoaderStopped,
                Step::KernelPanic,
                Step::InitramfsShell,
                Step::EmergencyMode,
            ]) {
                assert!(!step.title(lang).starts_with("step-"), "{step:?}");
                let json = serde_json::to_string(&step).unwrap();
                assert_eq!(json, format!("\"{}\"", step.as_str()));
            }
            for end in [End::Complete, End::Trouble, End::PoweredOff, End::TimeLimit] {
                assert!(!end.text(lang).starts_with("end-"), "{end:?}");
                let json = serde_json::to_string(&end).unwrap();
                assert_eq!(json, format!("\"{}\"", end.as_str()));
            }
        }
    }
}
