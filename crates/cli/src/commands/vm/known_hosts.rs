//! One file of host keys per machine, because addresses are used again and again.

use std::path::{Path, PathBuf};

use abbild_api::Droplet;
use sha2::{Digest as _, Sha256};

use crate::client::Client;
use crate::credentials::directory;

/// Where the host keys of `vm` of the service at `server` are kept.
///
/// # Errors
/// If there is no home directory.
pub fn file(server: &str, vm: &Droplet) -> anyhow::Result<PathBuf> {
    let state = directory("XDG_STATE_HOME", ".local/state")?;
    Ok(path_in(&state, server, vm.id.0, &vm.created_at))
}

/// Forgets the host keys of `vm`. They are there only if someone logged in, and harmless if they stay.
pub fn forget(client: &Client, vm: &Droplet) {
    if let Ok(file) = file(client.url(), vm) {
        let _ = std::fs::remove_file(file);
    }
}

/// A service that was set up anew begins again with number 1, hence the time.
fn path_in(state: &Path, server: &str, id: i64, created_at: &str) -> PathBuf {
    let mut hash = Sha256::new();
    hash.update(server);
    hash.update([0]);
    hash.update(created_at);
    let digest = hex::encode(hash.finalize());
    let short = digest.get(..16).unwrap_or(&digest);
    state.join(format!("abbild/known_hosts/{short}-{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_do_not_share_a_file() {
        let path = |server, id, time| path_in(Path::new("/s"), server, id, time);
        let first = path("http://a", 1, "2026-01-01T00:00:00Z");
        assert_eq!(first, path("http://a", 1, "2026-01-01T00:00:00Z"));
        assert_ne!(first, path("http://b", 1, "2026-01-01T00:00:00Z"));
        assert_ne!(first, path("http://a", 2, "2026-01-01T00:00:00Z"));
        assert_ne!(first, path("http://a", 1, "2026-01-02T00:00:00Z"));
        assert!(path("../../x", 1, "../..").starts_with("/s/abbild/known_hosts"));
    }
}
