//! The section `[probe]` of the configuration.

use serde::{Deserialize, Serialize};

use crate::config::{Issues, deserialize_bytes};

/// How images are booted to see what becomes of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Whether every image is probed once when its import is done.
    pub automatic: bool,
    /// Seconds after which a boot is given up.
    pub time_limit_seconds: u32,
    /// Memory of the machine in bytes.
    #[serde(deserialize_with = "deserialize_bytes")]
    pub memory: u64,
    /// Its virtual processors.
    pub vcpus: u32,
    /// Probes that run at once.
    pub concurrent: u32,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            automatic: false,
            time_limit_seconds: 600,
            memory: 1 << 30,
            vcpus: 1,
            concurrent: 1,
        }
    }
}

/// What a machine needs at least to load a kernel.
const MIN_MEMORY: u64 = 64 << 20;

impl ProbeConfig {
    /// What TOML's types cannot say.
    pub fn check(&self, issues: &mut Issues) {
        let counts = [
            ("time_limit_seconds", self.time_limit_seconds),
            ("vcpus", self.vcpus),
        ];
        for (name, value) in counts {
            issues.require(value > 0, format!("probe.{name}"), || {
                format!("`probe.{name}` must be at least 1")
            });
        }
        issues.require(self.memory >= MIN_MEMORY, "probe.memory", || {
            "`probe.memory` must be at least 64 MiB".to_owned()
        });
        issues.require(
            !self.automatic || self.concurrent > 0,
            "probe.automatic",
            || "`probe.automatic` needs a `probe.concurrent` of at least 1".to_owned(),
        );
    }

    /// The memory in MiB, as a driver wants it.
    pub fn memory_mib(&self) -> u32 {
        u32::try_from(self.memory >> 20).unwrap_or(u32::MAX)
    }

    /// Whether images can be probed at all.
    pub fn is_enabled(&self) -> bool {
        self.concurrent > 0
    }
}
