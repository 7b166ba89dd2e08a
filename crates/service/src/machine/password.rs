//! New passwords for the user root of a guest, where the guest takes part: QEMU's guest agent runs in it.
//!
//! The password is chosen when it is asked for, told once in that answer, and kept nowhere. What is kept,
//! with the action, and handed to the guest is its hash as crypt(5) writes it.

use std::sync::Arc;

use abbild_api::{DropletAction, DropletStatus};
use anyhow::Context;
use rand::Rng;
use serde::{Deserialize, Serialize};
use sha_crypt::{Sha512Params, sha512_crypt_b64};

use super::finish;
use crate::Service;
use crate::db::action::ActionRow;
use crate::db::droplet::DropletRow;
use crate::vm::Hypervisor;

/// Whose password it is.
const USER: &str = "root";
/// 16 of 32 characters that nobody takes for another: 80 bits, typed by hand on a console.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 16;

/// A password, and what is kept of it.
#[derive(Debug)]
pub struct NewPassword {
    /// To be told once.
    pub plain: String,
    /// With the action.
    pub parameters: Parameters,
}

/// Of the action `password_reset`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parameters {
    #[serde(flatten)]
    action: DropletAction,
    hash: String,
}

impl NewPassword {
    /// Chooses one.
    ///
    /// # Errors
    /// Never, with the rounds that are the default of SHA-512 in crypt(5).
    pub fn choose() -> anyhow::Result<Self> {
        let (plain, salt) = (random(), random());
        let parameters = Sha512Params::default();
        let digest = sha512_crypt_b64(plain.as_bytes(), salt.as_bytes(), &parameters);
        let digest = digest.map_err(|error| anyhow::anyhow!("hashing a password: {error:?}"))?;
        Ok(Self {
            plain,
            parameters: Parameters {
                action: DropletAction::PasswordReset,
                hash: format!("$6${salt}${digest}"),
            },
        })
    }
}

fn random() -> String {
    let mut random = rand::rng();
    let mut one = || char::from(ALPHABET[random.random_range(0..ALPHABET.len())]);
    (0..LENGTH).map(|_| one()).collect()
}

/// Carries out `password_reset`.
pub async fn reset(
    service: &Arc<Service>,
    action: &ActionRow,
    row: &DropletRow,
) -> anyhow::Result<()> {
    let parameters: Parameters = action
        .parameters()?
        .context("it was not said which password")?;
    let hypervisor = &service.region(&row.region)?.hypervisor;
    hypervisor
        .set_password(row.id, USER, &parameters.hash)
        .await?;
    finish(service, action, DropletStatus::Active, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_action_and_a_hash() {
        let first = NewPassword::choose().unwrap();
        assert_eq!(first.plain.len(), LENGTH);
        let kept = serde_json::to_value(&first.parameters).unwrap();
        assert_eq!(kept["type"], "password_reset");
        let hash = kept["hash"].as_str().unwrap();
        assert!(hash.starts_with("$6$") && !kept.to_string().contains(&first.plain));
        let back: DropletAction = serde_json::from_value(kept.clone()).unwrap();
        assert_eq!(back, DropletAction::PasswordReset);
        assert_ne!(first.plain, NewPassword::choose().unwrap().plain);
        // Made by `openssl passwd -6 -salt abcdefghijkmnpqr secret`.
        let digest = sha512_crypt_b64(b"secret", b"abcdefghijkmnpqr", &Sha512Params::default());
        assert_eq!(
            format!("$6$abcdefghijkmnpqr${}", digest.unwrap()),
            "$6$abcdefghijkmnpqr$RK0q2wncDLaatked2GEATnPVYxB94jJIn0cguQ9B6sPT28EEXXG2TL9T7GyB99f7ZzPt1OOwD5PXv1NeTEX9g."
        );
    }
}
