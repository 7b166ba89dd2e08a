//! How often a login may be tried.
//!
//! Failures in a row are counted for the e-mail address and for the network address that they come
//! from. Beyond a number of them each further one must wait twice as long as the one before, up to
//! five minutes: enough against guessing, too little to keep the user out for good. An attempt
//! counts as a failure before the password is looked at, so that many at once are no way around it;
//! a success clears the count of its e-mail address. Counts are in the database, because several
//! processes may serve.

use std::net::{IpAddr, Ipv6Addr};

use crate::db::{self, Tx, now, session};
use crate::http::{ApiError, ApiResult};
use crate::{Service, auth};

/// Failures that cost nothing.
const FREE_BY_EMAIL: i64 = 5;
const FREE_BY_ADDRESS: i64 = 20;
/// Seconds that the first of the others has to wait.
const FIRST_WAIT: i64 = 5;
/// Seconds that nobody waits longer than.
const MAX_WAIT: i64 = 300;
/// Seconds after which failures are forgotten.
pub const MEMORY: i64 = 86_400;

/// Counts an attempt.
///
/// # Errors
/// 429 when it comes too early; then it is not counted.
pub async fn attempt(service: &Service, email: &str, address: IpAddr) -> ApiResult<()> {
    let subjects = [
        (by_email(email), FREE_BY_EMAIL),
        (by_address(address), FREE_BY_ADDRESS),
    ];
    let mut tx = service.db.write().await?;
    let mut counts = Vec::new();
    let now = now();
    for (subject, free) in subjects {
        let (failures, blocked_until) = known(&mut tx, &subject, now).await?;
        if blocked_until > now {
            let wait = (blocked_until - now).unsigned_abs();
            let message = format!("Too many logins failed; try again in {wait} s.");
            return Err(ApiError::too_many_requests(message, wait));
        }
        counts.push((subject, failures + 1, free));
    }
    for (subject, failures, free) in counts {
        let until = now + wait(failures, free);
        session::set_attempts(&mut tx, &subject, failures, until).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Failures in a row, and until when the next attempt has to wait.
async fn known(tx: &mut Tx, subject: &str, now: i64) -> db::Result<(i64, i64)> {
    let row = session::attempts(tx, subject).await?;
    Ok(match row {
        Some((failures, last_at, blocked_until)) if last_at + MEMORY > now => {
            (failures, blocked_until)
        }
        _ => (0, 0),
    })
}

/// Clears the count of an e-mail address after a success, and takes back what the attempt counted
/// for the network address.
pub async fn succeeded(tx: &mut Tx, email: &str, address: IpAddr) -> db::Result<()> {
    session::clear_attempts(tx, &by_email(email)).await?;
    let subject = by_address(address);
    if let Some((failures, _, _)) = session::attempts(tx, &subject).await? {
        let failures = (failures - 1).max(0);
        session::set_attempts(tx, &subject, failures, 0).await?;
    }
    Ok(())
}

/// Seconds that the attempt after this failure has to wait.
fn wait(failures: i64, free: i64) -> i64 {
    let beyond = failures - free;
    if beyond < 0 {
        return 0;
    }
    let doublings = u32::try_from(beyond).unwrap_or(u32::MAX);
    (FIRST_WAIT << doublings.min(20)).min(MAX_WAIT)
}

/// Addresses may be long, and are nobody's business in this table.
fn by_email(email: &str) -> String {
    format!("email:{}", auth::hash(email))
}

/// An IPv6 customer has at least a network of 64 bits.
fn by_address(address: IpAddr) -> String {
    let network = match address {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    };
    format!("address:{network}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<_> = (1..=13).map(|failures| wait(failures, 5)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(wait(i64::MAX, 5), 300);
    }
}
