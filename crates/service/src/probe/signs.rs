//! What the lines of a serial log say of how far a boot is.
//!
//! [`Follower`] is given what the serial line sent, with the time, and notes the first sign of each
//! [`Step`]. It knows the words of the usual firmwares, boot loaders, kernels and inits; a guest with
//! others, or one that prints nothing, is judged by its disk and by its SSH server. A guest that prints
//! words which are not true deceives its owner alone.

use std::time::Duration;

use abbild_guest::{Evidence, Milestone, Origin, Step};

use super::text::{Log, Plain};

/// How a line shows a step.
enum Sign {
    /// By words anywhere in it.
    Has(&'static str),
    /// By its beginning.
    Begins(&'static str),
    /// By its beginning and its end.
    Frame(&'static str, &'static str),
    /// By words, unless the initramfs says them of itself.
    OfSystem(&'static str),
    /// A prompt, which ends with this and waits: the line goes on when somebody answers.
    Prompt(&'static str),
    /// A line that somebody may log in at: `NAME login:`.
    Login,
}

use Sign::{Begins, Frame, Has, Login, OfSystem, Prompt};

/// The signs, those of trouble first: a line of trouble often quotes what should have been.
const SIGNS: &[(Step, Sign)] = &[
    (Step::KernelPanic, Has("Kernel panic - not syncing")),
    // FreeBSD's, with and without its debugger, and when it is handed no root. Its `panic:` alone does not
    // do: programs end so as well.
    (Step::KernelPanic, Has("KDB: enter: panic")),
    (
        Step::KernelPanic,
        Has("Automatic reboot in 15 seconds - press a key"),
    ),
    (Step::KernelPanic, Prompt("mountroot>")),
    (Step::EmergencyMode, Has("You are in emergency mode")),
    (Step::EmergencyMode, Has("Welcome to emergency mode")),
    (Step::EmergencyMode, Prompt("Press Enter for maintenance")),
    (
        Step::EmergencyMode,
        Has("Give root password for maintenance"),
    ),
    (
        Step::EmergencyMode,
        Has("Enter full pathname of shell or RETURN"),
    ),
    // initramfs-tools, dracut, Alpine's.
    (Step::InitramfsShell, Prompt("(initramfs)")),
    (Step::InitramfsShell, Has("Dropping to a shell!")),
    (Step::InitramfsShell, Has("/run/initramfs/rdsosreport.txt")),
    (
        Step::InitramfsShell,
        Has("initramfs emergency recovery shell launched"),
    ),
    (Step::BootLoaderStopped, Prompt("grub rescue>")),
    (Step::BootLoaderStopped, Prompt("grub>")),
    (
        Step::BootLoaderStopped,
        Has("Minimal BASH-like line editing is supported"),
    ),
    (Step::BootLoaderStopped, Begins("Can't load kernel")),
    (Step::NoBootableDevice, Has("No bootable device")),
    (
        Step::NoBootableDevice,
        Has("No bootable option or device was found"),
    ),
    (
        Step::NoBootableDevice,
        Has("Boot failed: not a bootable disk"),
    ),
    (Step::NoBootableDevice, Prompt("Shell>")),
    (
        Step::CloudInitFinished,
        Frame("Cloud-init v. ", "finished at"),
    ),
    (Step::CloudInit, Has("Cloud-init v. ")),
    (Step::CloudInit, Has("cloud-init[")),
    (Step::CloudInit, Has("ignition[")),
    (Step::Login, Login),
    (Step::Init, OfSystem("Welcome to ")),
    (Step::Init, Has("Hostname set to <")),
    (Step::Init, Begins("INIT: version ")),
    (Step::Init, Has("OpenRC ")),
    (Step::Init, Begins("Entering runlevel: ")),
    (Step::Init, Begins("Setting hostuuid: ")),
    (Step::Kernel, Has("] Linux version ")),
    (Step::Kernel, Begins("Linux version ")),
    (Step::Kernel, Begins("[    0.")),
    (Step::Kernel, Begins("Loading, please wait...")),
    (Step::Kernel, Has("The FreeBSD Project.")),
    (Step::BootLoader, Has("Welcome to GRUB!")),
    (Step::BootLoader, Begins("GRUB loading")),
    (Step::BootLoader, Has("GNU GRUB")),
    (Step::BootLoader, Begins("SYSLINUX ")),
    (Step::BootLoader, Begins("EXTLINUX ")),
    (Step::BootLoader, Begins("BTX loader ")),
    (Step::BootLoader, Begins("Loading Linux ")),
    (Step::BootLoader, Begins("BdsDxe: starting Boot")),
    (Step::Firmware, Begins("SeaBIOS ")),
    (Step::Firmware, Begins("BdsDxe: ")),
    (Step::Firmware, Begins("UEFI Interactive Shell")),
];

impl Sign {
    /// Whether a line that has ended shows it.
    fn in_line(&self, line: &str) -> bool {
        match self {
            Has(words) => line.contains(words),
            Begins(words) => line.trim_start().starts_with(words),
            Frame(first, then) => line
                .split_once(first)
                .is_some_and(|(_, rest)| rest.contains(then)),
            OfSystem(words) => {
                let its_own = ["GRUB", "nitramfs", "dracut", "emergency"];
                line.trim_start().starts_with(words)
                    && !its_own.iter().any(|own| line.contains(own))
            }
            Prompt(words) => line.trim_start().starts_with(words),
            Login => line
                .split_once(" login: ")
                .is_some_and(|(name, _)| is_host_name(name)),
        }
    }

    /// Whether a line that has not ended, and so may be a prompt, shows it.
    fn in_prompt(&self, line: &str) -> bool {
        match self {
            Prompt(words) => line.trim().ends_with(words),
            Has(words) => words.contains("maintenance") && line.contains(words),
            Login => line
                .trim()
                .strip_suffix(" login:")
                .is_some_and(is_host_name),
            _ => false,
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    !name.is_empty() && name.len() <= 253 && name.chars().all(allowed)
}

/// Follows a serial line.
#[derive(Debug, Default)]
pub struct Follower {
    plain: Plain,
    log: Log,
    lines: u32,
    taken: u64,
    milestones: Vec<Milestone>,
}

impl Follower {
    /// Takes what came next, at `time` since power-on.
    pub fn feed(&mut self, bytes: &[u8], time: Duration) {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        let mut ended = Vec::new();
        self.plain.feed(bytes, |line| ended.push(line));
        for line in ended {
            self.lines = self.lines.saturating_add(1);
            self.log.push(&line);
            self.look(&line, time, Sign::in_line);
        }
        let rest = self.plain.rest();
        if !rest.is_empty() {
            self.lines = self.lines.saturating_add(1);
            self.look(&rest, time, Sign::in_prompt);
            self.lines -= 1;
        }
    }

    /// Takes what is of interest for the log alone.
    pub fn note(&mut self, bytes: &[u8]) {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        self.plain.feed(bytes, |line| self.log.push(&line));
    }

    /// Notes something that was not seen on the serial line.
    pub fn add(&mut self, step: Step, evidence: Evidence, time: Duration) {
        if self.has(step) {
            return;
        }
        self.milestones.push(Milestone {
            step,
            milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            evidence,
        });
    }

    /// How many bytes it was given.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// What was seen, in the order in which it was.
    pub fn milestones(&self) -> &[Milestone] {
        &self.milestones
    }

    /// Whether `step` was seen.
    pub fn has(&self, step: Step) -> bool {
        self.milestones
            .iter()
            .any(|milestone| milestone.step == step)
    }

    /// The log so far, with the line that has not ended.
    pub fn log(&self) -> String {
        self.log.text() + &self.plain.rest()
    }

    fn look(&mut self, line: &str, time: Duration, shows: fn(&Sign, &str) -> bool) {
        for (step, sign) in SIGNS {
            if !self.has(*step) && shows(sign, line) {
                let evidence = Evidence {
                    from: Some(Origin::SerialLog),
                    ..Evidence::text(abbild_guest::clean(line)).at_line(self.lines)
                };
                self.add(*step, evidence, time);
            }
        }
    }
}

#[cfg(test)]
mod tests;
