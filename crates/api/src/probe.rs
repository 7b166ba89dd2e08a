//! Boot probes: what was seen of an image when it was booted.

use serde::{Deserialize, Serialize};

use crate::{Hardware, Id};

/// Whether a probe has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProbeStatus {
    /// The image is being booted.
    Running,
    /// It was.
    Done,
}

/// A boot of an image, in isolation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Probe {
    /// The image.
    pub image_id: Id,
    /// The action that asked for it.
    pub action_id: Id,
    /// Slug of the region in which it was booted.
    pub region: String,
    /// Whether it has come to its end.
    pub status: ProbeStatus,
    /// RFC 3339, UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub started_at: String,
    /// Null while it runs.
    #[cfg_attr(feature = "openapi", schema(required, format = "date-time"))]
    pub completed_at: Option<String>,
    /// How the guest was executed: `kvm` or `tcg`, which is about ten times slower.
    pub acceleration: String,
    /// What the machine was made of.
    pub hardware: Hardware,
    /// After so many seconds a boot is given up.
    pub time_limit_seconds: u32,
    /// For how long the boot was watched, since power-on.
    pub seconds: f64,
    /// Why the watching ended: `complete`, `trouble`, `powered-off` or `time-limit`. Null while it runs.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub end: Option<String>,
    /// The same in words.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub end_text: Option<String>,
    /// How far the boot came, in the order in which it was seen.
    pub milestones: Vec<ProbeMilestone>,
    /// What it left on the disk. Null while it runs, and if the disk cannot be read.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub traces: Option<ProbeTraces>,
    /// Whether there is a picture of the screen.
    pub screenshot: bool,
}

/// A place that a boot has passed, or where it stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeMilestone {
    /// `firmware`, `boot-loader`, `kernel`, `init`, `cloud-init`, `login`, `cloud-init-finished`, `sshd`; or
    /// where it stopped: `no-bootable-device`, `boot-loader-stopped`, `kernel-panic`, `initramfs-shell`,
    /// `emergency-mode`.
    pub name: String,
    /// The same in words.
    pub title: String,
    /// Since power-on.
    pub seconds: f64,
    /// Whether the boot went no further.
    pub trouble: bool,
    /// Line of the serial log, if it was seen there.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub line: Option<u32>,
    /// What was seen.
    pub text: String,
}

/// What a boot left on the disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeTraces {
    /// Whether cloud-init came to its end.
    pub cloud_init_finished: bool,
    /// Where it got its data, in its own words.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub datasource: Option<String>,
    /// What it says went wrong.
    pub errors: Vec<String>,
    /// The account that has the machine's key, or should have it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub user: Option<String>,
    /// Whether it has the key.
    pub key: bool,
}

/// `{"probe": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeOne {
    /// The probe.
    pub probe: Probe,
}
