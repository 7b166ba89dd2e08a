//! The machine of a probe: made as those of customers are, but isolated, with a key that nobody has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use abbild_guest::{BootRecord, Facts, Traces};
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use tokio::time::{Instant, sleep};

use super::Record;
use super::signs::Follower;
use crate::Service;
use crate::db::action::ActionRow;
use crate::import::blocking;
use crate::jobs::JobContext;
use crate::machine::{open_disk, power};
use crate::region::Region;
use crate::vm::config_drive::Vendor;
use crate::vm::network::{self, Network};
use crate::vm::qemu::Qemu;
use crate::vm::{Hypervisor, VmError, VmId, VmSpec, platform};

/// What the disk has beyond the image, so that there is something to grow into, as on every machine.
const FREE_BYTES: u64 = 1 << 30;
/// Ports that are tried, should others take them between the choice and the start.
const PORTS: usize = 5;
/// A machine, and what is known of its boot so far.
pub struct Machine<'a> {
    pub(super) driver: &'a Qemu,
    pub(super) id: VmId,
    spec: VmSpec,
    key: String,
    /// The port of this host that leads to its port 22.
    pub(super) port: u16,
    pub(super) expected: Expected,
    /// Since when it runs.
    pub(super) started: Instant,
    pub(super) record: Record,
}

/// What the files of an image lead one to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// An SSH server that starts.
    pub sshd: bool,
}

impl Expected {
    fn of(facts: Option<&Facts>) -> Self {
        let sshd = facts.map(|facts| &facts.sshd);
        let off = |sshd: &abbild_guest::Sshd| {
            let state = sshd.enablement.as_ref().map(|state| state.value);
            sshd.server.is_none() || state == Some(abbild_guest::Enablement::Disabled)
        };
        Self {
            sshd: !sshd.is_some_and(off),
        }
    }
}

impl<'a> Machine<'a> {
    /// A machine for the image in `file`, which is not made yet.
    pub async fn new(
        service: &Service,
        action: &ActionRow,
        region: &'a Region,
        file: PathBuf,
        facts: Option<&Facts>,
    ) -> anyhow::Result<Self> {
        let config = &service.config.probe;
        let hardware = platform::choose(facts);
        let key = public_key()?;
        let virtual_size = {
            let file = file.clone();
            blocking(move || virtual_size(&file)).await?
        };
        let spec = VmSpec {
            id: id_of(action),
            name: "probe".to_owned(),
            vcpus: config.vcpus,
            memory_mib: config.memory_mib(),
            disk_bytes: virtual_size.saturating_add(FREE_BYTES),
            image: file,
            network: Network::Isolated { port: 0 },
            ssh_keys: vec![("probe".to_owned(), key.clone())],
            user_data: None,
            vendor: Vendor::default(),
            hardware: hardware.clone(),
            rescue: None,
            region: region.slug.clone(),
        };
        Ok(Self {
            driver: &region.probes,
            id: id_of(action),
            spec,
            key,
            port: 0,
            expected: Expected::of(facts),
            started: Instant::now(),
            record: Record {
                acceleration: region.probes.acceleration().await.name.to_owned(),
                hardware,
                time_limit_seconds: config.time_limit_seconds,
                boot: BootRecord {
                    end: None,
                    milliseconds: 0,
                    milestones: Vec::new(),
                    traces: None,
                },
            },
        })
    }

    /// Makes it and starts it.
    pub async fn start(&mut self) -> anyhow::Result<Follower> {
        for attempt in 1.. {
            self.port = network::free_port().context("looking for a free port")?;
            self.spec.network = Network::Isolated { port: self.port };
            match self.driver.create(&self.spec).await {
                Err(VmError::Port { .. }) if attempt < PORTS => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        self.started = Instant::now();
        Ok(Follower::default())
    }

    /// The screen as PNG; a picture that cannot be had is not worth more than a warning.
    pub async fn screenshot(&self) -> Option<Vec<u8>> {
        match self.driver.screenshot(self.id).await {
            Ok(png) => Some(png),
            Err(VmError::NotRunning(_)) => None,
            Err(error) => {
                tracing::warn!(%error, "no picture of a probe's screen");
                None
            }
        }
    }

    /// Switches it off, so that its guest writes down what it has to write, if it is one that can.
    pub async fn shut_down(
        &self,
        service: &Service,
        job: &JobContext,
        follower: &mut Follower,
    ) -> anyhow::Result<()> {
        if self.record.boot.is_up() {
            let grace = service.config.vm.shutdown_grace_seconds;
            let grace = Duration::from_secs(grace.into());
            let pause = || async {
                sleep(power::PAUSE).await;
                job.check()
            };
            power::press_power_button(self.driver, self.id, grace, pause).await?;
        }
        self.driver.stop(self.id).await?;
        self.read_log(follower, Follower::note).await
    }

    /// Looks for what the boot left on its disk. A disk that cannot be read leaves nothing.
    pub async fn read_disk(&mut self, facts: Option<&Facts>) {
        let user = facts.and_then(|facts| facts.cloud_init.default_user.as_ref());
        let user = user.map(|user| user.value.clone());
        match self.traces(user).await {
            Ok(traces) => self.record.boot.traces = traces,
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::warn!(reason, "the disk of a probe cannot be read");
            }
        }
    }

    async fn traces(&self, user: Option<String>) -> anyhow::Result<Option<Traces>> {
        let changes = self.driver.snapshot(self.id, &|_, _| true).await?;
        let (image, key) = (self.spec.image.clone(), self.key.clone());
        blocking(move || {
            let disk = Arc::new(open_disk(&changes, &image)?);
            let image = abbild_disk::FileSource::open(&image).context("opening the image")?;
            let limits = abbild_disk::Limits {
                max_virtual_size: u64::MAX,
            };
            let image = abbild_disk::open_with(image, &limits).context("reading the image")?;
            let image = Arc::new(image);
            Ok(abbild_guest::traces(&disk, &image, user.as_deref(), &key))
        })
        .await
    }
}

/// The machine of a probe. Machines get their users and hardware addresses by their ids, so that it is
/// none that a customer's has.
pub fn id_of(action: &ActionRow) -> VmId {
    -action.id
}

fn virtual_size(file: &Path) -> anyhow::Result<u64> {
    let size = crate::vm::qemu::virtual_size(file);
    size.with_context(|| format!("reading {}", file.display()))
}

/// A public key of OpenSSH (RFC 8709, section 4) of which nobody has the other half.
fn public_key() -> anyhow::Result<String> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).context("making a key")?;
    let mut blob = Vec::new();
    for field in [b"ssh-ed25519".as_slice(), pair.der_bytes()] {
        blob.extend(u32::try_from(field.len())?.to_be_bytes());
        blob.extend(field);
    }
    Ok(format!("ssh-ed25519 {} probe", STANDARD.encode(blob)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_openssh_s_and_never_the_same() {
        let (first, second) = (public_key().unwrap(), public_key().unwrap());
        assert_ne!(first, second);
        let blob = first.split(' ').nth(1).unwrap();
        // The beginning is that of every such key, up to the length of its 32 bytes.
        assert!(blob.starts_with("AAAAC3NzaC1lZDI1NTE5AAAAI"), "{blob}");
        assert_eq!(STANDARD.decode(blob).unwrap().len(), 4 + 11 + 4 + 32);
    }
}
