//! Passwords: argon2id with OWASP's parameters, kept as PHC strings.
//!
//! Hashing takes tens of milliseconds and 19 MiB on purpose. It is done off the threads that serve
//! requests, and by few at a time, so that a flood of logins cannot take the machine.

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::http::{ApiError, ApiResult};

/// Passwords that are hashed at the same time.
static TURNS: Semaphore = Semaphore::const_new(2);

/// What the password of somebody who has none is compared with, so that it takes as long.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| blocking_hash("nobody's").ok());

/// In characters (NIST SP 800-63B demands 8 at least, and no rules on which).
const LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

/// argon2id with 19 MiB, 2 passes, 1 lane (OWASP Password Storage Cheat Sheet).
fn argon2() -> Result<Argon2<'static>, argon2::Error> {
    let params = Params::new(19 * 1024, 2, 1, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn blocking_hash(password: &str) -> anyhow::Result<String> {
    let hasher = argon2().map_err(|e| anyhow::anyhow!("argon2: {e}"))?;
    let hash = hasher
        .hash_password(password.as_bytes())
        .map_err(|e| anyhow::anyhow!("hashing a password: {e}"))?;
    Ok(hash.to_string())
}

/// Whether `password` is one that may be chosen.
///
/// # Errors
/// With what is wrong.
pub fn check(password: &str, email: &str) -> Result<(), String> {
    if !LENGTH.contains(&password.chars().count()) {
        return Err("a password must have 12 to 256 characters".to_owned());
    }
    if password.eq_ignore_ascii_case(email) {
        return Err("a password must not be the e-mail address".to_owned());
    }
    Ok(())
}

/// The PHC string of a password.
///
/// # Errors
/// When the system has no randomness to give.
pub async fn hash(password: String) -> anyhow::Result<String> {
    let _turn = TURNS.acquire().await?;
    tokio::task::spawn_blocking(move || blocking_hash(&password)).await?
}

/// Whether `password` is the one that `phc` was made of. Takes as long when there is none.
///
/// # Errors
/// 500 when hashing is not possible.
pub async fn verify(password: String, phc: Option<String>) -> ApiResult<bool> {
    let _turn = TURNS.acquire().await.map_err(ApiError::internal)?;
    let verified = tokio::task::spawn_blocking(move || {
        let there = phc.is_some();
        let phc = phc.or_else(|| NOBODYS.clone());
        let argon2 = argon2().map_err(|e| anyhow::anyhow!("argon2: {e}"))?;
        let matches = phc.is_some_and(|phc| {
            argon2
                .verify_password(password.as_bytes(), phc.as_str())
                .is_ok()
        });
        Ok::<_, anyhow::Error>(there && matches)
    });
    Ok(verified.await.map_err(ApiError::internal)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hashes_are_phc_strings_with_the_parameters_and_fit_one_password() {
        let phc = hash("correct horse".to_owned()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let verify = |word: &str, phc: Option<String>| verify(word.to_owned(), phc);
        assert!(verify("correct horse", Some(phc.clone())).await.unwrap());
        assert!(!verify("correct hors", Some(phc)).await.unwrap());
        assert!(!verify("nobody's", None).await.unwrap());
        assert!(!verify("x", Some("not a hash".to_owned())).await.unwrap());
    }

    #[test]
    fn passwords_are_long_enough_and_not_the_address() {
        assert!(check("elevenchars", "a@b").is_err());
        assert!(check("twelve chars", "a@b").is_ok());
        assert!(check(&"x".repeat(257), "a@b").is_err());
        assert!(check("Somebody@Example.org", "somebody@example.org").is_err());
    }
}
